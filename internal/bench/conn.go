package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	"github.com/rushmore/zbus-go/internal/wire"
)

// conn is one connection to the broker. One goroutine sends, one receives.
type conn struct {
	net.Conn
	index int // among the connections of a run
	r     *wire.Reader
	w     *bufio.Writer
	buf   []byte // owned by the sender
}

func dial(ctx context.Context, o *Options) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", o.Server)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(o.Server) // it was dialled
		}
		c = tls.Client(c, config)
	}
	b := &conn{
		Conn: c,
		r:    wire.NewReader(c, wire.Limits{Body: 1 << 30}),
		w:    bufio.NewWriterSize(c, 64<<10),
	}
	if o.Token != "" { // holds for all that follows
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
		if _, err := b.ask(wire.HeaderCmd, wire.CmdPing, wire.HeaderToken, o.Token); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return b, nil
}

// send queues one request; fields are names and values in turn.
func (c *conn) send(body []byte, fields ...string) error {
	c.buf = wire.AppendRequestLine(c.buf[:0], "GET", "/")
	for i := 0; i < len(fields); i += 2 {
		c.buf = wire.AppendField(c.buf, fields[i], fields[i+1])
	}
	// Not AppendBody: that would copy the body once more.
	c.buf = append(c.buf, "content-length: "...)
	c.buf = strconv.AppendInt(c.buf, int64(len(body)), 10)
	c.buf = append(c.buf, "\r\n\r\n"...)
	if _, err := c.w.Write(c.buf); err != nil {
		return err
	}
	_, err := c.w.Write(body)
	return err
}

// ask sends one request and waits for its reply, which has to be a 200.
func (c *conn) ask(fields ...string) (*wire.Message, error) {
	if err := c.send(nil, fields...); err != nil {
		return nil, err
	}
	return c.finish()
}

// finish sends what is buffered and waits for one reply.
func (c *conn) finish() (*wire.Message, error) {
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	m, err := c.r.Read()
	if err != nil {
		return nil, err
	}
	return m, check(m)
}

// check makes an error of a reply that is not a 200.
func check(m *wire.Message) error {
	if m.Status == 200 {
		return nil
	}
	return &Refusal{m.Status, string(m.Body)}
}

// Refusal is an answer that is not a 200.
type Refusal struct {
	Status int
	Text   string
}

func (r *Refusal) Error() string { return fmt.Sprintf("the broker answered %d: %s", r.Status, r.Text) }
