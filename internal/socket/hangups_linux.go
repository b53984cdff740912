package socket

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hangups tells connections that their peers have hung up: an instance of epoll of
// its own, asked for nothing else, so that it has nothing to do as long as a
// connection lives. Its methods may be called by any number of goroutines.
type Hangups struct {
	file *os.File // the instance
	raw  syscall.RawConn
	done chan struct{} // closed when watch has ended

	mu    sync.Mutex
	conns map[int64]*Conn // guarded by mu
	last  int64           // guarded by mu: the latest id
}

// NewHangups creates one that has to be closed.
func NewHangups() (*Hangups, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that os waits for it like for a socket
		_ = unix.Close(fd)
		return nil, fmt.Errorf("fcntl: %w", err)
	}
	h := &Hangups{file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), conns: make(map[int64]*Conn)}
	if h.raw, err = h.file.SyscallConn(); err != nil {
		_ = h.file.Close()
		return nil, err
	}
	go h.watch()
	return h, nil
}

// Close ends it. Connections that are not released yet don't hear of their end any
// more.
func (h *Hangups) Close() error {
	err := h.file.Close()
	<-h.done
	return err
}

// add begins to watch a connection. It reports false if that is not possible.
func (h *Hangups) add(c *Conn) bool {
	h.mu.Lock()
	h.last++
	c.id = h.last
	h.conns[c.id] = c
	h.mu.Unlock()
	// A peer that has hung up already is reported at once.
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(c.id), Pad: int32(c.id >> 32)}
	if err := h.control(c, unix.EPOLL_CTL_ADD, &event); err != nil {
		h.forget(c)
		return false
	}
	return true
}

// remove ends watching a connection. After it hangUp is not called.
func (h *Hangups) remove(c *Conn) {
	_ = h.control(c, unix.EPOLL_CTL_DEL, nil) // a closed connection is out of it anyway
	h.forget(c)
}

func (h *Hangups) forget(c *Conn) {
	h.mu.Lock()
	delete(h.conns, c.id)
	h.mu.Unlock()
}

// control changes what the instance watches. Both files stay open until it returns.
func (h *Hangups) control(c *Conn, op int, event *unix.EpollEvent) error {
	var inner, err error
	outer := h.raw.Control(func(epoll uintptr) {
		inner = c.raw.Control(func(fd uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), event) })
	})
	return errors.Join(outer, inner, err)
}

// watch passes on what the instance says until that is closed.
func (h *Hangups) watch() {
	defer close(h.done)
	var events [64]unix.EpollEvent
	_ = h.raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events[:], 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return err != nil
			}
			h.report(events[:n])
		}
	})
}

func (h *Hangups) report(events []unix.EpollEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if c := h.conns[int64(uint32(e.Fd))|int64(e.Pad)<<32]; c != nil {
			c.hangUp()
		}
	}
}
