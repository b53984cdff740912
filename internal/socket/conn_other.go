//go:build !linux

package socket

import (
	"errors"
	"net"
	"syscall"
)

// Conn is a connection that one goroutine reads from and one at a time writes to.
type Conn struct{ net.Conn }

// Plain creates a Conn of a connection.
func Plain(conn net.Conn) *Conn { return &Conn{conn} }

// New creates a Conn of a connection.
func New(conn net.Conn, _ *Hangups) *Conn { return &Conn{conn} }

// Release has nothing to do here.
func (c *Conn) Release() {}

// TryWrite writes nothing here: Write does it all.
func (c *Conn) TryWrite([]byte) int { return 0 }

// SyscallConn gives access to the socket, where there is one.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Hangups has nothing to do here.
type Hangups struct{}

// NewHangups creates one that has to be closed.
func NewHangups() (*Hangups, error) { return &Hangups{}, nil }

// Close ends it.
func (h *Hangups) Close() error { return nil }
