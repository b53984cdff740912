package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/wire"
)

// plainVariable has all brokers here run with plain sockets and files: see make plain.
const plainVariable = "ZBUS_TEST_PLAIN"

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instance is a broker that runs as it does in production: a real file, a real
// port.
type instance struct {
	addr string
	cfg  config.Config

	cancel context.CancelFunc
	done   chan struct{}
	err    error // of daemon.Run; set before done is closed
}

// start runs a broker until the test ends, in an empty directory.
func start(t testing.TB, set ...func(*config.Config)) *instance {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = []string{"127.0.0.1:0"}
	cfg.Data = t.TempDir()
	cfg.PlainSockets = os.Getenv(plainVariable) != ""
	cfg.PlainIO = cfg.PlainSockets
	for _, f := range set {
		f(&cfg)
	}
	return run(t, cfg)
}

func run(t testing.TB, cfg config.Config) *instance {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &instance{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	ready := make(chan daemon.Ready, 1)
	go func() {
		defer close(b.done)
		b.err = daemon.Run(ctx, cfg, "test", slog.New(slog.DiscardHandler), func(r daemon.Ready) { ready <- r })
	}()
	select {
	case r := <-ready:
		b.addr = r.Addrs[0].String()
	case <-b.done:
		cancel()
		t.Fatalf("broker did not start: %v", b.err)
	}
	t.Cleanup(func() { b.stop(t) })
	return b
}

// stop ends the broker gracefully and waits for it.
func (b *instance) stop(t testing.TB) {
	t.Helper()
	b.cancel()
	select {
	case <-b.done:
	case <-time.After(3 * patience):
		t.Fatal("the broker does not stop")
	}
	if b.err != nil {
		t.Fatalf("broker ended with %v", b.err)
	}
}

// restart stops the broker and runs another one on the same data.
func (b *instance) restart(t testing.TB) *instance {
	t.Helper()
	b.stop(t)
	return run(t, b.cfg)
}

// client is one connection that speaks raw bytes.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *wire.Reader
	ids  int
}

// answer is a message from the broker.
type answer struct {
	*wire.Message
	head string // as it arrived
}

func (b *instance) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, r: wire.NewReader(conn, wire.Limits{Head: 1 << 20, Fields: 1000, Body: 64 << 20})}
}

// request encodes "command name=value ..." with a body. Values have no spaces.
func request(line, body string) string {
	var b strings.Builder
	words := strings.Fields(line)
	b.WriteString("GET / HTTP/1.1\r\ncmd: " + words[0] + "\r\n")
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		b.WriteString(name + ": " + value + "\r\n")
	}
	fmt.Fprintf(&b, "content-length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

func (c *client) write(raw string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write([]byte(raw)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
}

// send sends requests without waiting for replies.
func (c *client) send(line string, body ...string) {
	c.t.Helper()
	c.write(request(line, strings.Join(body, "")))
}

// next waits for the next message.
func (c *client) next() (answer, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		if head, ok := c.r.Peek(); ok {
			a := answer{head: string(head)}
			m, err := c.r.Next()
			if a.Message = m; m != nil || err != nil {
				return a, err
			}
		}
		if err := c.r.Fill(); err != nil {
			return answer{}, err
		}
	}
}

// recv waits for the next message and checks what all messages have in common.
func (c *client) recv() answer {
	c.t.Helper()
	a, err := c.next()
	if err != nil {
		c.t.Fatalf("no message from the broker: %v", err)
	}
	checkHead(c.t, a)
	return a
}

// checkHead checks that header names are in lower case and that there is a
// content-length.
func checkHead(t testing.TB, a answer) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(a.head, "\r\n\r\n"), "\r\n")
	if !strings.HasPrefix(lines[0], "HTTP/1.1 ") {
		t.Errorf("start line %q", lines[0])
	}
	lengths := 0
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(line, ":")
		if name != strings.ToLower(name) {
			t.Errorf("header %q is not in lower case", line)
		}
		if name == "content-length" {
			lengths++
		}
	}
	if lengths != 1 && a.Status != 100 {
		t.Errorf("%d content-length headers in %q", lengths, a.head)
	}
}

// call sends a request with an id of its own and returns its reply, which has to
// be the next message.
func (c *client) call(line string, body ...string) answer {
	c.t.Helper()
	c.ids++
	id := "call-" + strconv.Itoa(c.ids)
	c.send(line+" id="+id, body...)
	a := c.recv()
	if a.Get("id") != id {
		c.t.Fatalf("%s: got a message with id %q: %d %q", line, a.Get("id"), a.Status, a.Body)
	}
	return a
}

// ok is call for what has to succeed.
func (c *client) ok(line string, body ...string) answer {
	c.t.Helper()
	a := c.call(line, body...)
	if a.Status != 200 {
		c.t.Fatalf("%s: %d %q", line, a.Status, a.Body)
	}
	return a
}

// quiet checks that nothing else was sent: the reply to a command that runs when
// all before it is done is the next message.
func (c *client) quiet() {
	c.t.Helper()
	c.ok("server")
}

// closed waits for the end of the connection.
func (c *client) closed() {
	c.t.Helper()
	if a, err := c.next(); err == nil {
		c.t.Fatalf("want the end of the connection, got %d %q", a.Status, a.Body)
	} else if isTimeout(err) {
		c.t.Fatal("the connection stays open")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// want checks status and body of an answer.
func (a answer) want(t testing.TB, status int, body string) answer {
	t.Helper()
	if a.Status != status || string(a.Body) != body {
		t.Errorf("got %d %q, want %d %q", a.Status, a.Body, status, body)
	}
	return a
}

// header checks headers: name and value in turn.
func (a answer) header(t testing.TB, pairs ...string) answer {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := a.Get(pairs[i]); got != pairs[i+1] {
			t.Errorf("%s: got %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
	return a
}

// without checks that headers are absent.
func (a answer) without(t testing.TB, names ...string) answer {
	t.Helper()
	for _, name := range names {
		if v, ok := a.Lookup(name); ok {
			t.Errorf("%s: got %q, want no such header", name, v)
		}
	}
	return a
}

// eventually waits until a condition on the broker holds, asking it over and
// over: each question is a round trip.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// provider answers calls of an RPC topic with their own body until the test ends.
func (b *instance) provider(t testing.TB, topic string) {
	c := b.dial(t)
	c.ok("declare topic=" + topic + " topic_mask=2")
	c.send("consume id=c topic=" + topic)
	eventually(t, "the provider consumes", func() bool {
		return strings.Contains(string(b.dialOnce(t, "query topic="+topic).Body), `"consumerCount":1`)
	})
	var g sync.WaitGroup
	g.Go(func() {
		for {
			a, err := c.next()
			if err != nil {
				return
			}
			line := "route recver=" + a.Get("sender") + " id=" + a.Get("origin_id") + " content-type=application/json"
			if _, err := c.conn.Write([]byte(request(line, string(a.Body)) + request("consume id=c topic="+topic, ""))); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = c.conn.Close(); g.Wait() })
}

// dialOnce makes one call on a connection of its own.
func (b *instance) dialOnce(t testing.TB, line string) answer {
	t.Helper()
	c := b.dial(t)
	defer c.conn.Close()
	return c.call(line)
}
