package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// admit counts a connection, or says by which limit it is refused.
func (s *Server) admit(conn net.Conn) (c *countedConn, limit string) {
	acc, limit := s.addresses.admit(conn.RemoteAddr(), time.Now())
	if acc == nil {
		return nil, limit
	}
	c = &countedConn{Conn: conn, srv: s, account: acc, peer: socket.NewPeer(conn)}
	s.mu.Lock()
	full := s.opts.MaxConnections > 0 && len(s.conns) >= s.room(acc)
	if !full {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		acc.leave()
		return nil, refusedConnections
	}
	return c, ""
}

// mostKept is how many connections at most are kept for the operator.
const mostKept = 16

// room is how many connections there may be for another one to be let in. Clients with the
// limits of an address leave some to those without, so that an operator can see what
// is happening, and end it.
func (s *Server) room(acc *account) int {
	most := s.opts.MaxConnections
	if acc.of.exempt || s.opts.Addresses.Loopback {
		return most
	}
	return most - min(most/16, mostKept)
}

// forget no longer counts a connection.
func (s *Server) forget(c *countedConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.account.leave()
}

// mostLingering is how many refused connections are read from at a time. Each takes a file
// beyond those of the connections that are let in: with many there would be none left for the
// next connection, which would get no answer.
const mostLingering = 16

// refuse answers a connection that is not let in, in words that both the native protocol
// and HTTP know. It does not wait for it.
func (s *Server) refuse(conn net.Conn, limit string) {
	s.addresses.refuse(limit)
	status, text := http.StatusTooManyRequests, ""
	switch limit {
	case refusedAddressRate:
		text = fmt.Sprintf("this address opens more than %d connections a second: try again later", s.opts.Addresses.Rate)
	case refusedAddressConnections:
		text = fmt.Sprintf("this address has %d connections, which is the most: close some", s.opts.Addresses.Connections)
	default:
		status = http.StatusServiceUnavailable
		text = fmt.Sprintf("the server is at its limit of %d connections: try again later", s.opts.MaxConnections)
	}
	dst := wire.AppendField(wire.AppendStatus(nil, status), "retry-after", retryAfter)
	dst = append(dst, "connection: close\r\n"...)
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, err := conn.Write(wire.AppendBody(dst, []byte(text)))
	select {
	case s.lingering <- struct{}{}:
		s.greeting.Go(func() {
			defer func() { <-s.lingering }()
			if err == nil {
				s.listenOut(conn)
			}
			_ = conn.Close()
		})
	default:
		_ = conn.Close()
	}
}

// listenOut reads what a refused client sends, for a moment: closing with bytes unread makes
// the system throw away the answer.
func (s *Server) listenOut(conn net.Conn) {
	if closeWrite(conn) == nil {
		_ = conn.SetReadDeadline(time.Now().Add(refusedTime))
		_, _ = io.CopyN(io.Discard, conn, refusedBytes)
	}
}

// How long, and for how many bytes, a connection that is not let in is read from.
const (
	refusedTime  = 500 * time.Millisecond
	refusedBytes = 64 << 10
)
