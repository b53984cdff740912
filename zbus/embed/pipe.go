package embed

import (
	"context"
	"net"
	"sync"
)

// pipes is a listener whose connections never leave the process.
type pipes struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

// Accept is part of net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// inProcess is the address of both ends. The broker takes it for one of the loopback interface.
var inProcess = net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// Addr is part of net.Listener.
func (*pipes) Addr() net.Addr { return &inProcess }

// dial connects.
func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accept <- end{server}:
		return end{client}, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// end is one end of a pipe.
type end struct{ net.Conn }

// LocalAddr is part of net.Conn.
func (end) LocalAddr() net.Addr { return &inProcess }

// RemoteAddr is part of net.Conn.
func (end) RemoteAddr() net.Addr { return &inProcess }
