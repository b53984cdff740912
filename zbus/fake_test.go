package zbus_test

import (
	"iter"
	"net"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/wire"
)

// silentConn is one connection to a server that a test plays.
type silentConn struct {
	net.Conn
	requests *wire.Reader
}

// all yields the requests until the connection ends.
func (c *silentConn) all() iter.Seq[*wire.Message] {
	return func(yield func(*wire.Message) bool) {
		for m, err := c.requests.Read(); err == nil && yield(m); {
			m, err = c.requests.Read()
		}
	}
}

// answer sends a reply to a request.
func (c *silentConn) answer(m *wire.Message, status int, body string, fields ...wire.Field) {
	reply := wire.Message{Status: status, Body: []byte(body)}
	reply.Fields = append(fields, wire.Field{Name: wire.HeaderID, Value: m.Get(wire.HeaderID)})
	_, _ = c.Write(reply.Append(nil)) // a client that is gone misses nothing
}

// listen plays a server until the test ends: serve is called for every connection,
// which stays open, and reads nothing by itself.
func listen(t testing.TB, serve func(*silentConn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() { serve(&silentConn{conn, wire.NewReader(conn, wire.Limits{})}) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}
