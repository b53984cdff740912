package server

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// followedConn is a connection that net/http reads, which is more lenient than a session: it
// gets nothing of a request that a session would refuse. Such a request is answered here,
// unless its handler has it already: then reading the body fails.
type followedConn struct {
	prefixConn
	log      *slog.Logger
	follower *wire.Follower // owned by the goroutine that reads, like the fields below
	bad      error          // why nothing more is passed on
	answered bool
}

// Read reads what may be passed on.
func (c *followedConn) Read(p []byte) (n int, err error) {
	if c.bad == nil {
		n, err = c.prefixConn.Read(p)
		var passed int
		if passed, c.bad = c.follower.See(p[:n]); c.bad == nil {
			return n, err
		}
		c.log.Debug("request refused", "remote", c.RemoteAddr(), "err", c.bad)
		if passed > 0 {
			return passed, nil
		}
	}
	if !c.follower.InHead() {
		return 0, c.bad
	}
	// While an answer is under way net/http reads one byte at a time, to learn of the end.
	if len(p) > 1 && !c.answered {
		c.answered = true
		c.answer()
	}
	return 0, &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: c.bad} // net/http adds no answer
}

// answer says what is wrong with a head.
func (c *followedConn) answer() {
	var bad *wire.Error
	if !errors.As(c.bad, &bad) {
		return
	}
	dst := append(wire.AppendStatus(nil, bad.Status), "connection: close\r\n"...)
	_ = c.SetWriteDeadline(time.Now().Add(lastWordsTime))
	if _, err := c.Write(wire.AppendBody(dst, []byte(bad.Reason))); err == nil {
		lingerClose(c.Conn)
	}
}
