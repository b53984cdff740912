package socket

import (
	"errors"
	"io"
	"iter"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Conn is a connection that one goroutine reads from and one at a time writes to.
// Closing it and setting deadlines may be done by any goroutine; what waits then
// returns as it does for any net.Conn.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil: there is no socket to be had, and Conn does all

	hangups *Hangups
	id      int64 // of this connection in hangups
	gone    atomic.Bool

	// Of the goroutine that reads. The loop is suspended while that does anything
	// else, in the middle of a call of raw.Read: only so nothing that is ready to
	// be read is forgotten between two reads.
	resume func() (struct{}, bool) // nil when the loop does not run
	end    func()
	in     []byte // where to read to
	n      int    // what was read, with err
	err    error

	// Of the goroutine that writes.
	out     []byte
	written int
	try     func(fd uintptr) // made once: a closure a call would be an allocation a call; nil: Conn writes all
}

// Plain creates a Conn that does what package net does, and nothing else.
func Plain(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	if s, ok := conn.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	return c
}

// New creates a Conn that owns conn until Release: no other code may read from it.
func New(conn net.Conn, hangups *Hangups) *Conn {
	c := Plain(conn)
	if c.hangups = hangups; c.raw == nil {
		return c
	}
	c.try = func(fd uintptr) { c.written, _ = write(fd, c.out) }
	if hangups.add(c) {
		c.resume, c.end = iter.Pull(c.loop)
	}
	return c
}

// Release ends what New has begun: the connection reads like any other then, also
// by other goroutines. It is for the goroutine that reads, and does not close the
// connection.
func (c *Conn) Release() {
	if c.resume == nil {
		return
	}
	c.hangups.remove(c)
	c.end()
	c.resume = nil
	if c.gone.Load() {
		_ = c.Conn.SetReadDeadline(time.Time{}) // it was used to wake us
	}
}

// Read is like that of net.Conn, but only the first read after a failed one notices
// a deadline that has passed if there is something to read.
func (c *Conn) Read(p []byte) (int, error) {
	if c.resume == nil {
		return c.Conn.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.in = p
	c.resume()
	c.in = nil
	return c.n, c.err
}

// loop reads whenever it is resumed.
func (c *Conn) loop(yield func(struct{}) bool) {
	for wanted := true; wanted; {
		drained := false
		err := c.raw.Read(func(fd uintptr) bool {
			for wanted {
				if drained && !c.gone.Load() {
					drained = false
					return false // to be called again when there is something
				}
				if c.n, c.err = read(fd, c.in); errors.Is(c.err, syscall.EAGAIN) {
					return false
				}
				drained = c.n < len(c.in)
				wanted = yield(struct{}{})
			}
			return true
		})
		if !wanted {
			return
		}
		if c.n, c.err = 0, err; c.gone.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			c.readRest()
		}
		wanted = yield(struct{}{})
	}
}

// readRest reads what has come before the peer hung up, or the end of it. There is
// nothing to wait for, and deadlines are no longer of use.
func (c *Conn) readRest() {
	err := c.raw.Control(func(fd uintptr) { c.n, c.err = read(fd, c.in) })
	switch {
	case err != nil:
		c.n, c.err = 0, err
	case errors.Is(c.err, syscall.EAGAIN):
		c.err = syscall.ECONNRESET
	}
}

// hangUp has the end of the stream read, now or by the next Read.
func (c *Conn) hangUp() {
	c.gone.Store(true)
	// Who reads has looked at gone after it set its own deadline, or is woken.
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// TryWrite writes what the connection takes without waiting, and returns how much
// that was. Why it was not more is found out by who writes the rest with Write.
func (c *Conn) TryWrite(p []byte) int {
	if c.try == nil || len(p) == 0 {
		return 0
	}
	c.out, c.written = p, 0
	_ = c.raw.Control(c.try)
	c.out = nil
	return c.written
}

// SyscallConn gives access to the socket, where there is one.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return c.raw, nil
}

// read reads from a socket that does not block. Its error is io.EOF at the end.
func read(fd uintptr, p []byte) (int, error) {
	n, err := call(syscall.SYS_READ, fd, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// write writes to a socket that does not block.
func write(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

// call is a system call that does not wait. That is why the runtime need not know.
func call(number, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}
