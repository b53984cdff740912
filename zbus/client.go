package zbus

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Client uses one server, or several. It has one connection to each, which is made again when it is
// lost. All of its methods may be called by any number of goroutines: their requests share the
// connection and are answered in any order.
type Client struct {
	set    serverSet // that it uses, in place of a connection of its own; nil: it is one connection
	opts   Options   // with defaults
	log    *slog.Logger
	addrs  []address
	prefix string // of all ids that this client makes
	began  time.Time

	expires time.Time // of the token of the connection; owned by the goroutine that connects

	life     context.Context // ends with Close
	end      context.CancelFunc
	ended    chan struct{} // closed when no goroutine of the client is left
	wake     chan struct{} // capacity 1: the writer looks at out
	requests sync.Pool
	handlers sync.WaitGroup // goroutines of subscriptions; added to with mu held and closed false
	pushed   func([]byte)   // takes the tables of a tracker, on the reader; set before the start, nil: not a tracker
	spoken   func()         // called when silent ends, on the reader; set before the start, nil: not wanted

	mu        sync.Mutex
	out       outbox
	encoder   frameWriter              // of what goes to out
	acks      ackRun                   // that are not yet in out
	waiting   map[uint64]*request      // sent or queued, by number
	subs      map[uint64]*intake       // by key
	fetchers  map[string]*Subscription // by placeOf: of Fetch
	intakes   map[string]*intake       // by placeOf; those that leave included
	extending map[uint64]extension     // requests on this connection, by number
	number    uint64                   // of the last request
	keys      uint64                   // of the last subscription
	epoch     uint64                   // of the connection, counted from 1
	connected bool                     // there is one
	present   *link                    // the latest one
	silent    bool                     // one before ended because the server said nothing, and it has said nothing since
	address   string                   // of it
	lastErr   error                    // why there is none
	woken     bool                     // a token for the writer is in wake
	closed    bool                     // by Close
	room      chan struct{}            // closed when there is room; nil if no goroutine waits for it
	quiet     chan struct{}            // closed when no request waits; nil if no goroutine waits for it
}

// Dial connects to one server, or to several. An address is host:port, or host for port 15555, or a
// URL: zbus://host:port, zbuss://host:port for TLS, ws:// and wss:// for a WebSocket. Several are
// separated by commas or semicolons.
//
// With one address the client is one connection to that server, unless Options.AllServers is set.
// With several it uses all servers, and those that they tell of: every server is a tracker, which knows
// at least itself. Servers may know of each other, or not. Then
//
//   - a message is stored on one server that has the topic, and a call made on one: see
//     Options.Select. Another one is tried when it is certain that the first has not done it.
//   - subscriptions, Fetch and services are for all servers, also for those that come later.
//   - topics and groups are declared, removed, emptied and moved on all servers that are connected, and their
//     figures are sums. [Client.Server] leads to a single one. An error names the servers that it comes from;
//     others may have done their part: if one of them has, or may have, the error is ErrUnknownOutcome and
//     not ErrUnavailable.
//
// For addresses of one server, or of servers that stand in for each other, there is [DialServer].
//
// The context bounds only the first connections. Dial returns when all servers were tried. If none was
// reached the error wraps ErrUnavailable and the reasons; ErrUnauthorized, if a server refuses the
// token. Servers that were not reached are tried again. Call Close when done.
func Dial(ctx context.Context, addresses string, opts Options) (*Client, error) {
	addrs, err := dialled(addresses, &opts)
	if err != nil {
		return nil, err
	}
	if len(addrs) > 1 || opts.AllServers {
		return dialSet(ctx, addrs, opts)
	}
	return dialOne(ctx, addresses, addrs, opts)
}

// DialServer connects to the first of the addresses that can be reached, and continues with the
// others when the connection is lost: they are meant to lead to the same server, or to servers that
// stand in for each other. It is like [Dial] for the rest. A program that uses DialServer alone is
// smaller, by 120 KB if all it does is to publish.
func DialServer(ctx context.Context, addresses string, opts Options) (*Client, error) {
	addrs, err := dialled(addresses, &opts)
	if err != nil {
		return nil, err
	}
	return dialOne(ctx, addresses, addrs, opts)
}

// dialled reads the addresses, and checks what is known before.
func dialled(addresses string, opts *Options) ([]address, error) {
	addrs, err := parseAddresses(addresses, opts.TLS != nil)
	if err == nil {
		if bad := checkToken(opts.Token); bad != nil {
			err = invalid("dial", addresses, "%v", bad)
		}
	}
	return addrs, err
}

// dialOne creates a client of one connection.
func dialOne(ctx context.Context, addresses string, addrs []address, opts Options) (*Client, error) {
	c := newClient(addrs, opts)
	t, at, err := c.dialAny(ctx, 0)
	if err != nil {
		return nil, unreachable("no server reached", err).error("dial", addresses)
	}
	started := make(chan struct{})
	go c.run(t, at, started)
	<-started
	return c, nil
}

func newClient(addrs []address, opts Options) *Client {
	c := &Client{
		opts: opts.withDefaults(), addrs: addrs, prefix: strings.ToLower(rand.Text()[:12]),
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		waiting: make(map[uint64]*request),
		subs:    make(map[uint64]*intake), intakes: make(map[string]*intake), extending: make(map[uint64]extension),
		fetchers: make(map[string]*Subscription),
		began:    time.Now(),
	}
	if c.log = c.opts.Log; opts.TokenSource == nil {
		c.encoder.token = opts.Token
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Address returns the address of the server that the client is connected to, as it
// was given to Dial; "" while there is no connection. Of several servers it is one that is connected.
func (c *Client) Address() string {
	if c.set != nil {
		return c.set.address()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected {
		return ""
	}
	return c.address
}

// Servers describes the servers of a client of several, as far as they have been told of, in no order. Of
// a client of one server it is nil: see [Client.QueryServer].
func (c *Client) Servers() []ServerInfo {
	if c.set == nil {
		return nil
	}
	return c.set.servers()
}

// Server returns the client of one of several servers, by the address in its description, for what
// concerns that server alone; nil if there is no such server, or not yet. It must not be closed. A client of
// one server returns itself for its own address.
func (c *Client) Server(address string) *Client {
	switch {
	case c.set != nil:
		return c.set.server(address)
	case address != "" && address == c.Address():
		return c
	}
	return nil
}

// usable reports whether there is a connection, and not one to a server that was silent before
// and has said nothing since: the system accepts connections for a process that is stuck.
func (c *Client) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected && !c.silent
}

// tried reports whether the server was reached, or could not be, and why there is no connection now.
func (c *Client) tried() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected || c.lastErr != nil, c.lastErr
}

// Close ends the client at once. Requests that wait fail: with ErrClosed those that
// were not sent, with ErrUnknownOutcome those that were. The contexts of handlers
// end, and Close returns when the handlers have; it must not be called by one. For a
// graceful shutdown call [Client.Drain]. Close may be called again. It returns nil.
func (c *Client) Close() error {
	if c.set != nil {
		c.set.close()
		return nil
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	<-c.ended
	return nil
}

// Drain ends the client in order: subscriptions get no more messages, what they
// have got is handled and settled, publishes and calls under way are answered; then
// the client is closed. When ctx ends first, the client is closed at once and the
// error is that of ctx.
func (c *Client) Drain(ctx context.Context) error {
	if c.set != nil {
		return c.set.drain(ctx)
	}
	c.mu.Lock()
	subs := make([]*Subscription, 0, len(c.subs))
	for _, in := range c.subs {
		subs = append(subs, in.members...)
	}
	c.mu.Unlock()
	for _, s := range subs {
		s.stop()
	}
	err := func() error {
		for _, s := range subs {
			select {
			case <-s.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return c.flush(ctx)
	}()
	return errors.Join(err, c.Close())
}

// flush waits until the server has read everything that was sent before, and every
// request has its outcome.
func (c *Client) flush(ctx context.Context) error {
	if err := c.barrier(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	quiet := make(chan struct{})
	if len(c.waiting) == 0 {
		close(quiet)
	} else if c.quiet == nil {
		c.quiet = quiet
	} else {
		quiet = c.quiet
	}
	c.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// barrier waits until the server has read everything that was sent before. It asks
// for a topic that can't exist: any answer will do, and servers of every
// generation give one.
func (c *Client) barrier(ctx context.Context) error {
	if c.set != nil {
		return c.set.barrier(ctx)
	}
	_, err := c.ask(ctx, lossResend, "query", "", wire.CmdQuery, field{Name: wire.HeaderTopic, Value: "/"})
	if e := (*Error)(nil); errors.As(err, &e) && e.Status != 0 {
		return nil
	}
	return err
}

// wakeLocked reports whether the caller has to put a token into wake, after it has
// unlocked. Called with c.mu held.
func (c *Client) wakeLocked() bool {
	if c.woken || !c.connected {
		return false
	}
	c.woken = true
	return true
}

// post queues a frame that has no answer. encode is called with c.mu held, as post
// is. The caller then calls nudge without it.
func (c *Client) post(cmd string, epoch uint64, encode func(*frameWriter)) {
	c.putAcks()
	w := &c.encoder
	w.dst = c.out.buf
	w.start(cmd)
	encode(w)
	c.out.add(w.dst, nil, epoch)
}

// nudge lets the writer look at what was posted. Called without c.mu.
func (c *Client) nudge() {
	c.mu.Lock()
	wake := c.unsent() && c.wakeLocked()
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
}

// unsent reports whether there is something for the writer. Called with c.mu held.
func (c *Client) unsent() bool { return len(c.out.frames) > 0 || len(c.acks.offsets) > 0 }
