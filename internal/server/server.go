package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/socket"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Options configure a Server. A zero field takes its default.
type Options struct {
	Broker *broker.Broker
	Calls  *rpc.Table       // runs longer than the server
	Access *access.Registry // nil: all clients may do everything
	Log    *slog.Logger

	// Address is host:port as clients reach this server; it is announced to them.
	Address string
	Version string
	// Cluster knows the other servers; nil: there are none.
	Cluster *cluster.Cluster
	// BroadcastInterval is how often the table of all servers is sent without a change; 30 s.
	BroadcastInterval time.Duration

	Limits         wire.Limits
	MaxInflight    int           // unanswered publishes of one connection; 4096
	MaxConnections int           // 0: no limit
	RequestBytes   int64         // large bodies being received; 128 MiB
	SmallBytes     int64         // heads and small messages being received; 32 MiB
	Addresses      AddressLimits // what the clients of one address may have
	AnswerBytes    int64         // answers of handlers that clients are slow to read; 32 MiB
	IdleTimeout    time.Duration // a connection that sends nothing is closed; 0: never

	// Site says which names are this server's, and whose pages may open a WebSocket and use
	// the URLs of commands.
	Site origin.Site
	// Proxies are the addresses of proxies that are believed what they say of their clients.
	Proxies []netip.Prefix

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

	TLS          *tls.Config   // nil: no TLS
	CertPEM      func() string // what the ssl command hands out, "" for none; nil: none
	AllowPlain   bool          // with TLS, lets others than loopback connect without it
	PlainSockets bool          // sessions read and write as package net does: see package socket
}

// Server serves the listeners. Its goroutines all end before Serve returns.
type Server struct {
	opts    Options
	log     *slog.Logger
	broker  *broker.Broker
	calls   *rpc.Table
	access  *access.Registry
	tracker *tracker
	verbs   map[string]verb
	http    *http.Server
	handed  handover        // connections that the HTTP side serves
	hangups *socket.Hangups // of the connections with sessions; set by Serve

	answered sync.Pool    // of *produced
	buffers  sync.Pool    // of *[]byte: what sessions write by, between ownBytes and keepBytes
	answers  atomic.Int64 // bytes of answers of handlers
	draining atomic.Bool
	ids      idSource
	handling gate // HTTP requests
	asked    confirmations

	changedRights chan struct{} // capacity 1: what an account may do has changed

	addresses addresses
	lingering chan struct{} // a token for each refused connection that is still read from

	mu       sync.RWMutex
	conns    map[*countedConn]struct{} // guarded by mu; all that are open
	sessions map[string]*session       // guarded by mu; by session id
	serving  sync.WaitGroup            // sessions, until their connections are closed
	greeting sync.WaitGroup            // goroutines of serve
}

// New creates a Server.
func New(opts Options) *Server {
	if opts.MaxInflight == 0 {
		opts.MaxInflight = 4096
	}
	if opts.RequestBytes == 0 {
		opts.RequestBytes = 128 << 20
	}
	if opts.SmallBytes == 0 {
		opts.SmallBytes = 32 << 20
	}
	if opts.AnswerBytes == 0 {
		opts.AnswerBytes = 32 << 20
	}
	if opts.BroadcastInterval == 0 {
		opts.BroadcastInterval = 30 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, log: opts.Log, broker: opts.Broker, calls: opts.Calls,
		conns:    make(map[*countedConn]struct{}),
		sessions: make(map[string]*session),
		handed:   newHandover(),

		lingering: make(chan struct{}, mostLingering), changedRights: make(chan struct{}, 1),
	}
	if s.access = opts.Access; s.access == nil {
		s.access = access.Open()
	}
	s.access.Watch(func() {
		select {
		case s.changedRights <- struct{}{}:
		default:
		}
	})
	s.addresses.init(opts.Addresses, opts.SmallBytes, opts.RequestBytes)
	s.handling.init()
	s.verbs = s.commands()
	s.tracker = newTracker(s)
	s.http = s.newHTTP()
	return s
}

// Changed tells the server that topics, groups or consumers changed, so that it
// informs those who subscribed to that. It does not block.
func (s *Server) Changed() { s.tracker.changed() }

// Serve accepts connections until ctx ends. Then it closes the listeners, so that clients
// try again or elsewhere, and lets every session and HTTP request finish what it has taken
// on. A connection that has not asked for anything yet is told, if it does, that nothing
// was done. When all are done, and at the latest after grace, it closes the connections
// and returns: whatever clients do, within grace and handlerTime.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener, grace time.Duration) (err error) {
	if s.hangups, err = socket.NewHangups(); err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	defer func() { err = errors.Join(err, s.hangups.Close()) }()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var parts, accepting sync.WaitGroup
	failed := make(chan error, len(listeners)+1) // one each, so none blocks
	for _, ln := range listeners {
		accepting.Go(func() { failed <- s.accept(life, ln) })
	}
	parts.Go(func() {
		if err := s.http.Serve(s.handed); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	parts.Go(func() { s.tracker.run(life) })
	parts.Go(func() { s.watchPeers(life) })
	parts.Go(func() { s.recheck(life) })

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.draining.Store(true)
	closeSoon(listeners)
	accepting.Wait()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	s.drain(grace)
	end()
	s.greeting.Wait()
	parts.Wait()
	return err
}

// closeSoon has listeners accept the connections that are established already: closing
// cuts those, and their clients may have sent something.
func closeSoon(listeners []net.Listener) {
	for _, ln := range listeners {
		if l, ok := ln.(interface{ SetDeadline(time.Time) error }); !ok || l.SetDeadline(time.Now().Add(20*time.Millisecond)) != nil {
			_ = ln.Close()
		}
	}
}

// handlerTime is how long HTTP handlers may run on when their connections are closed.
const handlerTime = 2 * time.Second

// drain ends all sessions and HTTP requests gracefully, and by force after grace.
func (s *Server) drain(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, c := range s.live() {
		s.serving.Go(c.finish)
	}
	sessions, requests := make(chan struct{}), make(chan struct{})
	go func() { s.serving.Wait(); close(sessions) }()
	go func() { _ = s.http.Shutdown(ctx); s.handling.wait(0); s.addresses.open.wait(0); close(requests) }()
	await(ctx, sessions)
	await(ctx, requests)
	_ = s.http.Close()
	_ = s.handed.Close()
	s.cut()
	<-sessions // nothing waits for a client now, only for the broker
	ctx, cancel = context.WithTimeout(context.Background(), handlerTime)
	defer cancel()
	if !await(ctx, requests) {
		s.log.Warn("HTTP requests are still being handled after their connections were closed")
	}
}

// await waits until done is closed, and reports false when ctx ends first.
func await(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// cut closes all connections under what uses them: reads and writes that wait for a
// client fail at once, which closing a TLS connection or a WebSocket does not ensure.
func (s *Server) cut() {
	for _, c := range s.connections(nil) {
		_ = c.Close()
	}
}

// connections appends all that are open to conns.
func (s *Server) connections(conns []*countedConn) []*countedConn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// watchPeers closes the connections of peers that have vanished, so that what they hold
// goes to others.
func (s *Server) watchPeers(ctx context.Context) {
	watcher := socket.NewWatcher()
	tick := time.NewTicker(socket.WatchInterval)
	defer tick.Stop()
	var conns []*countedConn
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.addresses.sweep(time.Now())
		conns = s.connections(conns[:0])
		for _, c := range conns {
			if watcher.Vanished(&c.peer, time.Now()) {
				s.log.Info("peer has vanished, closing its connection", "remote", c.RemoteAddr())
				_ = c.Close()
			}
		}
		clear(conns)
	}
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
		if c, limit := s.admit(conn); c != nil {
			s.greeting.Go(func() { s.serve(c) })
		} else {
			s.refuse(conn, limit)
		}
	}
}

// session finds a live session by its id.
func (s *Server) session(id string) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sessions[id]
}

// addSession registers a session, whose end has to be told to serving. It reports false
// when the server stops: then the session must not begin.
func (s *Server) addSession(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.sessions[c.id] = c
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
