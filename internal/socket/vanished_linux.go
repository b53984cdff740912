package socket

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// A peer has vanished when nothing has come from it for silentTime, and what it
	// should have acknowledged was sent unansweredTime ago, again and again.
	silentTime     = 20 * time.Second
	unansweredTime = 10 * time.Second

	// retryTime is the longest time between two tries to send again, where the kernel
	// can be told (Linux 6.15). Otherwise it grows to two minutes.
	retryTime   = 5 * time.Second
	tcpRTOMaxMS = 44 // TCP_RTO_MAX_MS
)

// Peer is the other end of a connection: see Watcher.
type Peer struct {
	raw   syscall.RawConn // nil: it cannot be watched
	since time.Time       // nothing was acknowledged since then, although it should; owned by the Watcher
}

// NewPeer is the peer of a connection, which it prepares to be watched.
func NewPeer(conn net.Conn) Peer {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return Peer{}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}
	}
	_ = raw.Control(func(fd uintptr) {
		// Without it a peer that is back after a while is found later, no more.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMS, int(retryTime.Milliseconds()))
	})
	return Peer{raw: raw}
}

// Watcher finds out which peers have vanished: whose machine or network has gone without
// a word. One goroutine uses it, for any number of peers, and asks about each every
// WatchInterval.
//
// Keepalive finds those only to which there is nothing to send. TCP_USER_TIMEOUT finds
// the others, but takes a peer for vanished, too, that is alive and does not read for
// a while. So the kernel is asked when it last heard of a peer.
type Watcher struct {
	info  unix.TCPInfo
	errno syscall.Errno
	ask   func(fd uintptr) // created once: a closure a call would be an allocation a call
}

// NewWatcher creates a Watcher.
func NewWatcher() *Watcher {
	w := new(Watcher)
	w.ask = func(fd uintptr) {
		size := uint32(unsafe.Sizeof(w.info))
		_, _, w.errno = syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&w.info)), uintptr(unsafe.Pointer(&size)), 0)
	}
	return w
}

// Vanished reports whether a peer has vanished.
func (w *Watcher) Vanished(p *Peer, now time.Time) bool {
	if p.raw == nil || p.raw.Control(w.ask) != nil || w.errno != 0 {
		return false
	}
	// Of probes, of an idle connection or one whose peer does not read, a single one
	// may be on its way.
	if w.info.Unacked == 0 && w.info.Probes < 2 {
		p.since = time.Time{}
		return false
	}
	silent := time.Duration(w.info.Last_ack_recv) * time.Millisecond
	if p.since.IsZero() || now.Sub(p.since) > silent {
		p.since = now
	}
	return silent >= silentTime && now.Sub(p.since) >= unansweredTime
}
