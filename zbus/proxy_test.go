package zbus_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
)

// proxy stands between clients and a broker and does harm to their connections. Its
// methods may be called by any number of goroutines.
type proxy struct {
	addr string

	mu     sync.Mutex
	target string
	slice  int           // longest piece that is passed on at a time; 0 is any
	cut    int           // each connection is cut after about so many bytes; 0 is never
	stall  chan struct{} // while it is open nothing is passed on; nil: all is
	conns  map[net.Conn]bool
	made   int
	ln     net.Listener // nil when it is down
	all    sync.WaitGroup
}

// through puts a proxy in front of a broker, until the test ends.
func through(t testing.TB, target string) *proxy {
	t.Helper()
	p := &proxy{addr: zbustest.FreeAddr(t), target: target, conns: map[net.Conn]bool{}}
	p.up(t)
	t.Cleanup(func() {
		p.down()
		p.goOn()
		p.all.Wait()
	})
	return p
}

// up makes the proxy accept connections.
func (p *proxy) up(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.ln, p.addr = ln, ln.Addr().String() })
	p.all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.pass(conn) })
		}
	})
}

// down cuts all connections and refuses new ones.
func (p *proxy) down() {
	p.set(func() {
		if p.ln != nil {
			_ = p.ln.Close()
			p.ln = nil
		}
	})
	p.cutAll()
}

// set changes what the proxy does.
func (p *proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// stallAll holds everything up, until goOn.
func (p *proxy) stallAll() { p.set(func() { p.stall = make(chan struct{}) }) }

func (p *proxy) goOn() {
	p.set(func() {
		if p.stall != nil {
			close(p.stall)
			p.stall = nil
		}
	})
}

// cutAll cuts all connections, with what is under way in them.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as from a cable that was pulled and a host that noticed
		}
		_ = conn.Close()
	}
}

// connections is how many there were.
func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	left := -1
	p.mu.Lock()
	if p.ln == nil {
		p.mu.Unlock()
		return
	}
	if p.cut > 0 {
		left = rand.IntN(2*p.cut) + 1
	}
	p.made++
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		ways.Go(func() {
			p.copy(way[1], way[0], left)
			_ = client.Close()
			_ = server.Close()
		})
	}
	ways.Wait()
	p.set(func() { delete(p.conns, client); delete(p.conns, server) })
}

// copy passes on one direction, until left bytes have gone through, if that is not
// negative.
func (p *proxy) copy(dst io.Writer, src io.Reader, left int) {
	buf := make([]byte, 16<<10)
	for left != 0 {
		n, err := src.Read(buf)
		for piece := buf[:n]; len(piece) > 0 && left != 0; {
			p.mu.Lock()
			size, stall := len(piece), p.stall
			if p.slice > 0 {
				size = min(size, rand.IntN(p.slice)+1)
			}
			p.mu.Unlock()
			if stall != nil {
				<-stall
			}
			if left > 0 {
				size = min(size, left)
				left -= size
			}
			if _, err := dst.Write(piece[:size]); err != nil {
				return
			}
			piece = piece[size:]
		}
		if err != nil {
			return
		}
	}
}
