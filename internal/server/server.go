package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Options configure a Server. A zero field takes its default.
type Options struct {
	Broker *broker.Broker
	Calls  *rpc.Table // runs longer than the server
	Log    *slog.Logger

	// Address is host:port as clients reach this server; it is announced to them.
	Address string
	Version string

	Limits         wire.Limits
	MaxInflight    int           // unanswered publishes of one connection; 4096
	MaxConnections int           // 0: no limit
	RequestBytes   int64         // receive buffers of all connections; 128 MiB
	IdleTimeout    time.Duration // a connection that sends nothing is closed; 0: never

	// Origins are patterns of hosts whose pages may open a WebSocket and use the URLs
	// of commands, besides this server's own; "*" is any.
	Origins []string
	// Hosts are names of this server besides IP addresses and localhost; nil: any. See
	// auth.KnownHost.
	Hosts []string

	// Handlers serve what is not the protocol's, by path: a path that ends in a
	// slash is everything below it. Bodies are limited and accounted for. A handler
	// may serve WebSockets.
	Handlers map[string]http.Handler
	// Home is where GET / brings browsers, relative to it; "": to a short page.
	Home string
	// Ready reports why the server can't take work, apart from stopping; nil: it
	// can.
	Ready func() error
	// Conditions are told by /readyz, which answers 503 while one of them says so.
	Conditions *condition.Board

	TLS     *tls.Config // nil: no TLS
	CertPEM string      // what the ssl command hands out
}

// Server serves the listeners. Its goroutines all end before Serve returns.
type Server struct {
	opts    Options
	log     *slog.Logger
	broker  *broker.Broker
	calls   *rpc.Table
	tracker *tracker
	verbs   map[string]verb
	http    *http.Server
	handed  handover        // connections that the HTTP side serves
	hangups *socket.Hangups // of the connections with sessions; set by Serve

	answered sync.Pool    // of *produced
	buffers  atomic.Int64 // bytes of receive buffers
	conns    atomic.Int64
	draining atomic.Bool
	ids      idSource

	mu       sync.RWMutex
	sessions map[string]*session // guarded by mu; by session id
	serving  sync.WaitGroup      // connections being looked at, and sessions
}

// New makes a Server.
func New(opts Options) *Server {
	if opts.MaxInflight == 0 {
		opts.MaxInflight = 4096
	}
	if opts.RequestBytes == 0 {
		opts.RequestBytes = 128 << 20
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, log: opts.Log, broker: opts.Broker, calls: opts.Calls,
		sessions: make(map[string]*session),
		handed:   newHandover(),
	}
	s.verbs = s.commands()
	s.tracker = newTracker(s)
	s.http = s.newHTTP()
	return s
}

// Changed tells the server that topics, groups or consumers changed, so that it
// informs those who subscribed to that. It does not block.
func (s *Server) Changed() { s.tracker.changed() }

// Serve accepts connections until ctx ends. Then it stops accepting, lets every
// session finish what it has taken on, closes the connections and returns; after
// grace it no longer waits for them.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener, grace time.Duration) (err error) {
	if s.hangups, err = socket.NewHangups(); err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	defer func() { err = errors.Join(err, s.hangups.Close()) }()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var parts, accepting sync.WaitGroup
	failed := make(chan error, len(listeners)+1) // one each, so nobody blocks
	welcome, endWelcome := context.WithCancel(life)
	defer endWelcome()
	for _, ln := range listeners {
		accepting.Go(func() { failed <- s.accept(welcome, ln) })
	}
	parts.Go(func() {
		if err := s.http.Serve(s.handed); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	parts.Go(func() { s.tracker.run(life) })

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.draining.Store(true)
	for _, ln := range listeners {
		_ = ln.Close()
	}
	endWelcome()
	accepting.Wait()
	s.drain(grace)
	end()
	parts.Wait()
	return err
}

// drain ends all sessions and HTTP requests in an orderly way, by force after
// grace.
func (s *Server) drain(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, c := range s.live() {
		s.serving.Go(c.finish)
	}
	done := make(chan struct{})
	go func() { s.serving.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	_ = s.http.Shutdown(ctx)
	_ = s.http.Close()
	_ = s.handed.Close()
	for _, c := range s.live() {
		c.abort()
	}
	<-done
}

// accept takes connections from one listener.
func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if s.draining.Load() {
				return nil
			}
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() || isOutOfFiles(err) {
				s.log.Warn("accept failed, trying again", "err", err)
				select {
				case <-time.After(50 * time.Millisecond):
					continue
				case <-ctx.Done():
					return nil
				}
			}
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
		if limit := s.opts.MaxConnections; limit > 0 && s.conns.Load() >= int64(limit) {
			s.refuse(conn)
			continue
		}
		s.conns.Add(1)
		s.serving.Go(func() { s.serve(ctx, &countedConn{Conn: conn, count: &s.conns}) })
	}
}

// refuse answers a connection over the limit without waiting for it.
func (s *Server) refuse(conn net.Conn) {
	text := fmt.Sprintf("the server is at its limit of %d connections: try again later", s.opts.MaxConnections)
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = conn.Write(wire.AppendBody(wire.AppendStatus(nil, http.StatusServiceUnavailable), []byte(text)))
	_ = conn.Close()
}

// session finds a live session by its id.
func (s *Server) session(id string) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sessions[id]
}

// addSession registers a session. It reports false when the server stops: then
// the session must not begin.
func (s *Server) addSession(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.sessions[c.id] = c
	c.counted = true
	s.serving.Add(1)
	return true
}

// live lists the sessions there are. Once the server is draining no more come.
func (s *Server) live() []*session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*session, 0, len(s.sessions))
	for _, c := range s.sessions {
		all = append(all, c)
	}
	return all
}

func (s *Server) removeSession(c *session) {
	s.mu.Lock()
	delete(s.sessions, c.id)
	s.mu.Unlock()
}
