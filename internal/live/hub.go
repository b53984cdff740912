package live

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
)

// Options are what a Hub needs. Broker, Calls, Stats, Log, Server and Sessions are required;
// a zero field of the others takes its default.
type Options struct {
	Broker *broker.Broker
	Calls  *rpc.Table
	Stats  *stats.Sampler
	Log    *slog.Logger

	// Server describes this server, see [apiconv.ServerInfo]. It is called twice a second
	// while its figures and what needs attention are watched.
	Server func() apiconv.ServerInfo
	// Sessions lists all connections of this server, the Hub's own included. It is
	// called once a second while a client watches them.
	Sessions func() []apiconv.SessionInfo

	// Cluster knows the other servers; nil: there are none.
	Cluster *cluster.Cluster

	// Accounts are those of the clients. Nil: they have no limits.
	Accounts Accounts

	ReadLimit  int64 // bytes of a frame; 16 MiB
	MaxSockets int   // 1000

	WriteTimeout time.Duration // for one frame; 1 minute
	PingInterval time.Duration // between pings to a client that says nothing; 30 seconds
	PingTimeout  time.Duration // until the answer to one; 20 seconds
	DrainTime    time.Duration // to take the last answers when a socket is ended; 5 seconds
}

// Accounts of clients, by the contexts of their requests.
type Accounts interface {
	// Reserve accounts for frames being read or published: what it returns is called with
	// how many bytes more or less there are, and refuses more with an error.
	Reserve(ctx context.Context) func(delta int) error
	// Socket counts a socket until release.
	Socket(ctx context.Context) (release func(), err error)
	// Exempt reports that the client can have the sockets that are kept for an operator.
	Exempt(ctx context.Context) bool
}

// unlimited are the accounts of clients without limits.
type unlimited struct{}

func (unlimited) Reserve(context.Context) func(int) error { return func(int) error { return nil } }
func (unlimited) Socket(context.Context) (func(), error)  { return func() {}, nil }
func (unlimited) Exempt(context.Context) bool             { return true }

// mostKept is how many sockets at most are kept for an operator.
const mostKept = 16

// What one socket may have.
const (
	maxSubscriptions = 100
	maxWatches       = 50
	maxWindow        = 10_000
)

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.WriteTimeout, time.Minute)
	set(&o.PingInterval, 30*time.Second)
	set(&o.PingTimeout, 20*time.Second)
	set(&o.DrainTime, 5*time.Second)
	if o.ReadLimit == 0 {
		o.ReadLimit = 16 << 20
	}
	if o.Accounts == nil {
		o.Accounts = unlimited{}
	}
	if o.MaxSockets == 0 {
		o.MaxSockets = 1000
	}
	return o
}

// Hub holds the sockets and makes figures for them. Its methods may be called by any
// number of goroutines.
type Hub struct {
	opts Options

	made    atomic.Int64  // figures encoded so far
	fresh   chan struct{} // capacity 1: a channel has no figures yet
	rights  chan struct{} // capacity 1: what an account may do has changed
	tailing chan struct{} // capacity 1: a client tails a log

	mu       sync.Mutex
	closing  bool                      // guarded by mu: no more sockets
	count    int                       // guarded by mu: sockets, and those being accepted
	sockets  map[string]*socket        // guarded by mu; key is the id
	channels map[channelKey]*channel   // guarded by mu: those that are watched
	tails    map[*broker.Topic]*tailed // guarded by mu: those that are tailed
	conns    sync.WaitGroup            // sockets and pings; added to under mu, while not closing
}

// New creates a Hub. It serves at once; figures come when Run runs.
func New(opts Options) *Hub {
	return &Hub{
		opts:  opts.withDefaults(),
		fresh: make(chan struct{}, 1), rights: make(chan struct{}, 1), tailing: make(chan struct{}, 1),
		sockets: map[string]*socket{}, channels: map[channelKey]*channel{}, tails: map[*broker.Topic]*tailed{},
	}
}

// Run makes figures until ctx ends, and then ends all sockets as Close does. The
// broker has to be running until it returns.
func (h *Hub) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { h.followTails(ctx) })
	parts.Go(func() { h.pingIdle(ctx) })
	parts.Go(func() { h.recheck(ctx) })
	f := newFigures(h)
	next := h.opts.Stats.Next()
	for ctx.Err() == nil {
		select {
		case <-next:
			next = h.opts.Stats.Next()
			f.round(ctx)
		case <-h.fresh:
			f.begin(ctx)
		case <-ctx.Done():
		}
	}
	h.Close()
	parts.Wait()
	return nil
}

// Close ends all sockets, with status 1012 (service restart), and lets no more in. It
// returns when all are gone: those that take their last answers too slowly are cut
// after the drain time.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	for _, s := range h.all() {
		s.end(websocket.StatusServiceRestart, "the server is stopping")
	}
	h.conns.Wait()
}

// all lists the sockets there are.
func (h *Hub) all() []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*socket, 0, len(h.sockets))
	for _, s := range h.sockets {
		all = append(all, s)
	}
	return all
}

// Sessions describes the sockets, in no order.
func (h *Hub) Sessions() []apiconv.SessionInfo {
	all := h.all()
	list := make([]apiconv.SessionInfo, len(all))
	for i, s := range all {
		list[i] = s.info()
	}
	return list
}

// Disconnect ends the socket with an id: it reports false when there is none. It does
// not wait for the client. The reason is for the client; about 120 bytes of it fit.
func (h *Hub) Disconnect(id, reason string) bool {
	h.mu.Lock()
	s := h.sockets[id]
	h.mu.Unlock()
	if s == nil {
		return false
	}
	if reason == "" {
		reason = "disconnected by an administrator"
	}
	s.end(websocket.StatusPolicyViolation, reason)
	return true
}

// add takes a socket in, and reports false when the server is stopping.
func (h *Hub) add(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.sockets[s.id] = s
	}
	return !h.closing
}

func (h *Hub) remove(s *socket) {
	h.mu.Lock()
	delete(h.sockets, s.id)
	h.mu.Unlock()
}

// pingIdle finds out about clients that are gone without a word, and keeps proxies
// from ending connections that say nothing.
func (h *Hub) pingIdle(ctx context.Context) {
	tick := time.NewTicker(h.opts.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, s := range h.all() {
			idle := time.Since(s.since) - time.Duration(s.active.Load())
			if idle < h.opts.PingInterval || !s.pinging.CompareAndSwap(false, true) {
				continue
			}
			h.mu.Lock()
			if !h.closing {
				h.conns.Go(s.ping) // lasts until the answer is there
			}
			h.mu.Unlock()
		}
	}
}

// signal puts a token into a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail is an error with a text for the client.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func fail(code broker.Code, format string, args ...any) error {
	return &broker.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}
