package zbustest

import (
	"net"
	"sync"
)

// network is what the connections of a Server go through.
type network struct {
	mu    sync.Mutex
	moved *sync.Cond         // of mu: frozen or conns have changed
	conns map[*link]struct{} // guarded by mu
	// Guarded by mu.
	frozen bool // nothing passes
	lossy  bool // what the broker answers is lost, and the connection with it
}

func newNetwork() *network {
	n := &network{conns: make(map[*link]struct{})}
	n.moved = sync.NewCond(&n.mu)
	return n
}

// link is a client's connection.
type link struct {
	net.Conn
	n      *network
	closed bool // guarded by n.mu
}

func (n *network) add(conn net.Conn) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &link{Conn: conn, n: n}
	n.conns[l] = struct{}{}
	return l
}

// Read is part of net.Conn.
func (l *link) Read(p []byte) (int, error) {
	k, err := l.Conn.Read(p)
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if k > 0 && l.n.lossy {
		_ = l.close()
		return 0, net.ErrClosed
	}
	for l.n.frozen && !l.closed {
		l.n.moved.Wait()
	}
	if l.closed {
		return 0, net.ErrClosed
	}
	return k, err
}

// Write is part of net.Conn.
func (l *link) Write(p []byte) (int, error) {
	l.n.mu.Lock()
	for l.n.frozen && !l.closed {
		l.n.moved.Wait()
	}
	l.n.mu.Unlock()
	return l.Conn.Write(p)
}

// Close is part of net.Conn.
func (l *link) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	return l.close()
}

// close is called with n.mu held.
func (l *link) close() error {
	l.closed = true
	delete(l.n.conns, l)
	l.n.moved.Broadcast()
	return l.Conn.Close()
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.conns {
		_ = l.close()
	}
}

func (n *network) set(frozen, lossy bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen, n.lossy = frozen, lossy
	n.moved.Broadcast()
}
