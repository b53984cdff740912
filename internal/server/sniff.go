package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// serve finds out what a new connection speaks and serves it. Nothing waits for a
// connection that has not asked for anything: see Serve.
func (s *Server) serve(c *countedConn) {
	var conn net.Conn = c
	first := &prefixConn{Conn: conn, prefix: make([]byte, 1)}
	s.idle(conn)
	if _, err := io.ReadFull(conn, first.prefix); err != nil {
		_ = conn.Close()
		return
	}
	if first.prefix[0] != 0x16 && !s.plainAllowed(conn) {
		refusePlain(first)
		return
	}
	if conn = first; first.prefix[0] == 0x16 && s.opts.TLS != nil {
		secure := tls.Server(conn, s.opts.TLS)
		_ = conn.SetDeadline(time.Now().Add(socket.HeadTimeout))
		if err := secure.Handshake(); err != nil {
			s.log.Debug("tls handshake failed", "remote", conn.RemoteAddr(), "err", err)
			_ = conn.Close()
			return
		}
		_ = conn.SetDeadline(time.Time{})
		conn = secure
	}
	r := wire.NewReader(conn, s.opts.Limits)
	r.Reserve(c.account.reserve)
	switch {
	case !s.fillHead(conn, r):
		r.Release()
		_ = conn.Close()
		return
	case s.draining.Load():
		turnAway(conn, r)
		return
	case s.forHTTP(conn, r):
		s.handOver(conn, c.account, r.Buffered(), r)
		return
	}
	var stream *socket.Conn
	if conn == first {
		if s.opts.PlainSockets {
			stream = socket.Plain(first.Conn)
		} else {
			stream = socket.New(first.Conn, s.hangups)
		}
		first.Conn = stream
	}
	one := newSession(s, access.Caller{Principal: s.access.Anonymous(), Address: conn.RemoteAddr().String()}, c.account)
	one.proxied = len(s.opts.Proxies) > 0 && s.trusts(conn.RemoteAddr())
	one.certified = s.certified(conn)
	one.serveStream(conn, stream, r)
}

// fillHead reads until the head of a message is there or can't be one (which the
// session then answers). It reports false when the connection is over.
func (s *Server) fillHead(conn net.Conn, r *wire.Reader) bool {
	s.idle(conn)
	for n := 0; ; n++ {
		if _, ok := r.Peek(); ok {
			return true
		}
		if n > 0 {
			if m, err := r.Next(); m != nil || err != nil {
				return err != nil
			}
		}
		if n == 1 {
			_ = conn.SetReadDeadline(time.Now().Add(socket.HeadTimeout))
		}
		if err := r.Fill(); err != nil {
			var bad *wire.Error
			return errors.As(err, &bad)
		}
	}
}

// idle sets the deadline for the next bytes of a connection.
func (s *Server) idle(conn net.Conn) {
	if d := s.opts.IdleTimeout; d > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(d))
	} else {
		_ = conn.SetReadDeadline(time.Time{})
	}
}

// forHTTP decides from the head that the reader holds.
func (s *Server) forHTTP(conn net.Conn, r *wire.Reader) bool {
	if _, ok := r.Peek(); !ok {
		return false // a bad frame: the session answers it
	}
	if v, ok := r.PeekField(wire.HeaderUpgrade); ok && strings.EqualFold(string(v), "websocket") {
		return true
	}
	_, command := r.PeekField(wire.HeaderCmd)
	_, host := r.PeekField(wire.HeaderHost)
	path, _, _ := strings.Cut(string(r.PeekURL()), "?")
	switch {
	case !host:
		return !command && probe(path, r.PeekMinor())
	case s.elsewhere(path) != nil:
		return true // whatever else its headers say: they are another program's
	case byBrowser(peek(r)), len(s.opts.Proxies) > 0 && s.trusts(conn.RemoteAddr()) && isForwarded(peek(r)):
		return true
	case command:
		return false
	}
	return !s.isVerbURL(path) || !plain(string(r.PeekMethod()))
}

// peek looks up headers of the request that the reader holds.
func peek(r *wire.Reader) func(name string) (string, bool) {
	return func(name string) (string, bool) { v, ok := r.PeekField(name); return string(v), ok }
}

// plain reports whether a method may run a command that only the URL names.
func plain(method string) bool {
	return method == http.MethodGet || method == http.MethodPost || method == http.MethodPut
}

// probe reports whether a request without a host is one of HTTP/1.0 for the health of the
// server, as simple monitors send it.
func probe(url string, minor int) bool {
	path, _, _ := strings.Cut(url, "?")
	return minor == 0 && (path == "/healthz" || path == "/readyz")
}

// isVerbURL reports whether the first segment of a path is a command.
func (s *Server) isVerbURL(url string) bool {
	path, _, _ := strings.Cut(url, "?")
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	_, ok := s.verbs[strings.ToLower(first)]
	return ok
}

// handOver gives a connection to the HTTP side, which first sees the bytes that
// were read from it.
func (s *Server) handOver(conn net.Conn, acc *account, buffered []byte, r *wire.Reader) {
	prefix := append([]byte(nil), buffered...)
	_ = conn.SetDeadline(time.Time{})
	if s.handed.give(&followedConn{prefixConn: prefixConn{Conn: conn, prefix: prefix, account: acc}, log: s.log, follower: wire.NewFollower(s.opts.Limits)}) {
		r.Release()
	} else {
		turnAway(conn, r)
	}
}

// turnAway answers the request that the reader holds, the first of a connection that the
// shutdown overtook, in words that both the native protocol and HTTP know: nothing was
// done. A consume is not answered: it would end a subscription that the end of the
// connection only interrupts.
func turnAway(conn net.Conn, r *wire.Reader) {
	cmd, _ := r.PeekField(wire.HeaderCmd)
	id, _ := r.PeekField(wire.HeaderID)
	if string(cmd) != wire.CmdConsume {
		dst := wire.AppendField(wire.AppendStatus(nil, http.StatusServiceUnavailable), wire.HeaderID, string(id))
		dst = append(dst, "connection: close\r\n"...)
		dst = wire.AppendBody(dst, []byte("shutting down: nothing was done, try again later"))
		_ = conn.SetWriteDeadline(time.Now().Add(lastWordsTime))
		if _, err := conn.Write(dst); err == nil {
			lingerClose(conn)
		}
	}
	r.Release()
	_ = conn.Close()
}

// prefixConn is a connection some of whose bytes were read already.
type prefixConn struct {
	net.Conn
	prefix  []byte   // owned by the goroutine that reads
	account *account // of the connection; nil before it is handed over
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		if c.prefix = c.prefix[n:]; len(c.prefix) == 0 {
			c.prefix = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// SyscallConn gives access to the socket, where there is one.
func (c *prefixConn) SyscallConn() (syscall.RawConn, error) { return rawConn(c.Conn) }

func rawConn(conn net.Conn) (syscall.RawConn, error) {
	if c, ok := conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite ends what is sent and leaves what is received, where the
// connection can do that.
func (c *prefixConn) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// countedConn is one of the connections of a server, until it is closed: by the goroutine that
// serves it then, or by cut.
type countedConn struct {
	net.Conn
	srv     *Server
	account *account
	peer    socket.Peer // owned by Server.watchPeers
	once    sync.Once
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.srv.forget(c) })
	return c.Conn.Close()
}

// SyscallConn is like that of prefixConn.
func (c *countedConn) SyscallConn() (syscall.RawConn, error) { return rawConn(c.Conn) }

// CloseWrite is like that of prefixConn.
func (c *countedConn) CloseWrite() error { return closeWrite(c.Conn) }

// handover is the listener of the HTTP side: what it accepts was accepted and
// looked at before.
type handover struct {
	conns chan net.Conn // unbuffered: a connection is somebody's at any time
	done  chan struct{}
	close *sync.Once
}

func newHandover() handover {
	return handover{conns: make(chan net.Conn), done: make(chan struct{}), close: new(sync.Once)}
}

// give reports false when nothing more is accepted.
func (h handover) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept returns the next connection handed over.
func (h handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h handover) Close() error {
	h.close.Do(func() { close(h.done) })
	return nil
}

// Addr is there because a net.Listener has one.
func (h handover) Addr() net.Addr { return &net.TCPAddr{} }

func isOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED)
}
