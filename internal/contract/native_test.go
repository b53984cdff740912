package contract

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// native is a connection in the broker's own protocol: frames over TCP.
type native struct {
	net.Conn
	t testing.TB
	r *wire.Reader
}

func (b *instance) native(t testing.TB) *native {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &native{conn, t, wire.NewReader(conn, wire.Limits{})}
}

// send sends a command: "command name=value …".
func (n *native) send(line string) {
	n.t.Helper()
	words := strings.Fields(line)
	raw := "GET / HTTP/1.1\r\ncmd: " + words[0] + "\r\n"
	for _, w := range words[1:] {
		raw += strings.Replace(w, "=", ": ", 1) + "\r\n"
	}
	if _, err := n.Write([]byte(raw + "\r\n")); err != nil {
		n.t.Fatal(err)
	}
}

// next waits for the next frame.
func (n *native) next() *wire.Message {
	n.t.Helper()
	_ = n.SetReadDeadline(time.Now().Add(patience))
	m, err := n.r.Read()
	if err != nil {
		n.t.Fatalf("no message from the broker: %v", err)
	}
	if m.Status != 200 {
		n.t.Fatalf("got %d %s", m.Status, m.Body)
	}
	return m
}

// delivered waits for some deliveries and checks their offsets.
func (n *native) delivered(offsets ...int64) (last *wire.Message) {
	n.t.Helper()
	for _, want := range offsets {
		last = n.next()
		if got := last.Get("offset"); got != strconv.FormatInt(want, 10) {
			n.t.Fatalf("got the message at offset %q, want %d", got, want)
		}
	}
	return last
}

// quiet checks that nothing else came: the answer to a command that runs after all
// before it is the next frame.
func (n *native) quiet() {
	n.t.Helper()
	n.send("server id=quiet")
	if m := n.next(); m.Get("id") != "quiet" {
		n.t.Fatalf("got the message at offset %q, want none", m.Get("offset"))
	}
}

// cut waits for the end of the connection.
func (n *native) cut() {
	n.t.Helper()
	_ = n.SetReadDeadline(time.Now().Add(patience))
	m, err := n.r.Read()
	var timeout net.Error
	if err == nil {
		n.t.Fatalf("want the end of the connection, got %d %s", m.Status, m.Body)
	} else if errors.As(err, &timeout) && timeout.Timeout() {
		n.t.Fatal("the connection stays open")
	}
}
