package crashtest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// conn is a client's connection in the broker's own protocol. It is for one
// goroutine that reads and one that writes.
type conn struct {
	net.Conn
	t *testing.T
	r *wire.Reader
	w *bufio.Writer
}

// patience is how long a client waits for what must come. It only bounds how
// long a failing test takes.
const patience = 30 * time.Second

func (p *process) dial() *conn {
	p.t.Helper()
	c, err := connect(p.t, p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func connect(t *testing.T, address string) (*conn, error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, t: t, r: wire.NewReader(nc, wire.Limits{}), w: bufio.NewWriterSize(nc, 32<<10)}
	c.wait()
	return c, nil
}

// wait gives the connection its patience anew.
func (c *conn) wait() { _ = c.SetDeadline(time.Now().Add(patience)) }

func field(name, value string) wire.Field { return wire.Field{Name: name, Value: value} }

// put adds a request to what the next flush sends. An error shows at the flush.
func (c *conn) put(body []byte, fields ...wire.Field) {
	dst := wire.AppendRequestLine(c.w.AvailableBuffer(), http.MethodGet, "/")
	for _, f := range fields {
		dst = wire.AppendField(dst, f.Name, f.Value)
	}
	_, _ = c.w.Write(wire.AppendBody(dst, body))
}

// must sends one request and returns its answer, which has to be 200.
func (c *conn) must(fields ...wire.Field) *wire.Message {
	c.t.Helper()
	m, err := c.ask(fields...)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// ask sends one request and returns its answer. Any but 200 is an error.
func (c *conn) ask(fields ...wire.Field) (*wire.Message, error) {
	c.put(nil, fields...)
	m, err := c.answer()
	if err != nil {
		err = fmt.Errorf("%v: %w", fields, err)
	}
	return m, err
}

// answer sends what was put and returns the answer to it. Any but 200 is an error.
func (c *conn) answer() (*wire.Message, error) {
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	m, err := c.r.Read()
	if err == nil && m.Status != http.StatusOK {
		err = fmt.Errorf("%d %s", m.Status, m.Body)
	}
	return m, err
}

// window is the credit of our consumers. Its messages fit into the buffers of a
// loopback connection, and the next is asked for when the last has arrived. So
// what the broker has written does arrive: an auto group calls a message consumed
// when it was written, and the broker is not to blame for what the kernel drops.
const window = 64

// fill publishes messages, 4 MiB at a time, so that no disk is too slow for them.
func (c *conn) fill(topic string, body []byte, messages int) {
	c.t.Helper()
	for left := messages; left > 0; {
		some := min(left, max(1, 4<<20/len(body)))
		for range some {
			c.put(body, field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic))
		}
		for range some {
			if _, err := c.answer(); err != nil {
				c.t.Fatal(err)
			}
		}
		left -= some
	}
}

// consume asks for the next messages of a group.
func (c *conn) consume(group string) error { return c.consumeFrom(topic, group, window) }

// consumeFrom asks for so many messages of a group of any topic.
func (c *conn) consumeFrom(topic, group string, window int) error {
	c.wait()
	c.put(nil, field(wire.HeaderCmd, wire.CmdConsume), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, group),
		field(wire.HeaderID, "c"), field(wire.HeaderWindow, strconv.Itoa(window)))
	return c.w.Flush()
}

// next reads the next delivery of a group, and asks for more after the last one it
// asked for. Answers to other requests go to other.
func (c *conn) next(group string, other func(*wire.Message)) (*wire.Message, int64, error) {
	for {
		m, err := c.r.Read()
		if err != nil {
			return nil, 0, err
		}
		if m.Get(wire.HeaderID) != "c" {
			other(m)
			continue
		}
		offset, err := strconv.ParseInt(m.Get(wire.HeaderOffset), 10, 64)
		if err != nil || m.Status != http.StatusOK {
			c.t.Errorf("consume of %s: %d %s", group, m.Status, m.Body)
			return nil, 0, net.ErrClosed
		}
		if m.Get(wire.HeaderWindow) == "0" {
			err = c.consume(group)
		}
		return m, offset, err
	}
}
