package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// How long others may take. A server whose machine has vanished is noticed after beat and
// answerTime.
const (
	dialTime   = 3 * time.Second
	answerTime = 10 * time.Second
	beat       = 5 * time.Second
)

// replyLimits are for the answers of other servers.
var replyLimits = wire.Limits{Head: 32 << 10, Fields: 64, Body: 1 << 20}

// conn is a connection to another server, which answers one request at a time. It is for one
// goroutine.
type conn struct {
	net.Conn
	answers chan *wire.Message // closed when the connection ends
	err     error              // why; set before answers is closed
	done    chan struct{}      // closed when no caller waits for answers
	last    int                // id of a request
}

// dial connects to a server. local allows this machine.
func dial(ctx context.Context, a Address, secrets *tls.Config, local bool, limits wire.Limits) (*conn, error) {
	stream, err := dialStream(ctx, a, secrets, local)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: stream, answers: make(chan *wire.Message), done: make(chan struct{})}
	go c.read(limits)
	return c, nil
}

// dialStream connects to a server, for requests that are not of this package.
func dialStream(ctx context.Context, a Address, secrets *tls.Config, local bool) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: socket.KeepAlive(), Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return reachable(at.Addr(), local)
	}}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if a.SSLEnabled {
		return (&tls.Dialer{NetDialer: &d, Config: secrets}).DialContext(ctx, "tcp", a.Address)
	}
	return d.DialContext(ctx, "tcp", a.Address)
}

// close ends the connection, and waits for its reader.
func (c *conn) close() {
	close(c.done)
	_ = c.Close()
	for range c.answers { // until it is closed
	}
}

func (c *conn) read(limits wire.Limits) {
	defer close(c.answers)
	r := wire.NewReader(c.Conn, limits)
	defer r.Release()
	for {
		m, err := r.Read()
		if err != nil {
			if c.err = err; errors.Is(err, io.EOF) {
				c.err = errors.New("it has closed the connection")
			}
			return
		}
		select {
		case c.answers <- m:
		case <-c.done:
			return
		}
	}
}

// ask sends a request and waits for its answer. The body is sent part by part. An error that
// is no *refused leaves the connection without use.
func (c *conn) ask(ctx context.Context, limit time.Duration, fields []wire.Field, body ...[]byte) (*wire.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	id, err := c.send(ctx, fields, body...)
	if err != nil && ctx.Err() != nil {
		return nil, timedOut(ctx, limit)
	}
	if err != nil {
		return nil, err
	}
	for {
		select {
		case m, ok := <-c.answers:
			if !ok {
				return nil, c.err
			}
			if m.Get(wire.HeaderID) != id {
				continue
			}
			if m.Status != http.StatusOK {
				return nil, &refused{m.Status, excerptText(m.Body)}
			}
			return m, nil
		case <-ctx.Done():
			return nil, timedOut(ctx, limit)
		}
	}
}

// send sends a request, and returns its id. What is cut by the end of ctx leaves the
// connection without use.
func (c *conn) send(ctx context.Context, fields []wire.Field, body ...[]byte) (id string, err error) {
	c.last++
	id = strconv.Itoa(c.last)
	head := wire.AppendRequestLine(nil, http.MethodGet, "/")
	for _, f := range fields {
		head = wire.AppendField(head, f.Name, f.Value)
	}
	head = wire.AppendField(head, wire.HeaderID, id)
	size := 0
	for _, b := range body {
		size += len(b)
	}
	if size > 0 {
		head = wire.AppendField(head, wire.HeaderContentType, "application/json")
	}
	parts := append(net.Buffers{wire.AppendLength(head, size)}, body...)
	late := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	_, err = parts.WriteTo(c.Conn)
	if !late() { // it may have been cut in the middle
		return "", ctx.Err()
	}
	return id, err
}

func timedOut(ctx context.Context, limit time.Duration) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", limit)
	}
	return ctx.Err()
}

// excerptText is what an error says, in one short line.
func excerptText(body []byte) string {
	const most = 300
	text := string(body[:min(len(body), most)])
	if !wire.ValidValue(text) {
		return strconv.Quote(text)
	}
	return text
}

func command(name string) []wire.Field { return []wire.Field{{Name: wire.HeaderCmd, Value: name}} }
