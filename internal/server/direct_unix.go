//go:build unix

package server

import (
	"errors"
	"net"
	"syscall"
)

// direct writes to a socket without waiting. It belongs to whoever sends.
type direct struct {
	raw syscall.RawConn
	buf []byte
	n   int
	try func(fd uintptr) bool // made once: a closure a call would be an allocation a call
}

// newDirect makes one for a connection, or nil if that has no socket of its own.
func newDirect(conn net.Conn) *direct {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{raw: raw}
	d.try = func(fd uintptr) bool {
		var err error
		for d.n, err = syscall.Write(int(fd), d.buf); errors.Is(err, syscall.EINTR); {
			d.n, err = syscall.Write(int(fd), d.buf)
		}
		return true // also when it would block: then nothing was written
	}
	return d
}

// write returns how many bytes the socket took. Why it did not take more is found
// out by who writes the rest.
func (d *direct) write(buf []byte) int {
	d.buf, d.n = buf, 0
	_ = d.raw.Write(d.try)
	d.buf = nil
	return max(d.n, 0)
}
