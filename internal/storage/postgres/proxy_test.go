package postgres

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy is between a store and its server, and loses what it is told to lose.
type proxy struct {
	url      string
	requests atomic.Bool // what the store sends is lost
	answers  atomic.Bool // what the server sends is lost
	lost     atomic.Int64

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	const file = ".s.PGSQL.5432"
	to := filepath.Join(u.Query().Get("host"), file)
	dir, err := os.MkdirTemp("", "zbus-proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = url.Values{"host": {dir}}.Encode()
	p := &proxy{url: u.String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			running.Go(func() { p.pass(in, out, &p.requests) })
			running.Go(func() { p.pass(out, in, &p.answers) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		running.Wait()
	})
	return p
}

// pass copies what one sends to the other, unless it is to be lost.
func (p *proxy) pass(from, to net.Conn, lose *atomic.Bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if lose.Load() {
			p.lost.Add(int64(n))
		} else if n > 0 {
			_, _ = to.Write(b[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
