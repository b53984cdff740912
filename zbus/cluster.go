package zbus

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"
)

// The defaults of Heartbeat and HeartbeatTimeout where there are other servers: after both together, and
// a little more, what is under way to a machine that has vanished goes elsewhere.
const (
	clusterBeat             = 3 * time.Second
	clusterHeartbeatTimeout = 4 * time.Second
)

// serverSet is what a [Client] of several servers asks, in place of a connection of its own. It is an
// interface so that programs which use [DialServer] alone are without what implements it.
type serverSet interface {
	address() string
	servers() []ServerInfo
	server(address string) *Client
	up() []*Client
	close()
	drain(ctx context.Context) error
	barrier(ctx context.Context) error

	publish(ctx context.Context, p *patience, topic string, m Message) (Receipt, error)
	publishAsync(ctx context.Context, topic string, m Message) *Future
	publishBatch(ctx context.Context, topic string, messages []Message) ([]Receipt, error)
	subscribe(ctx context.Context, topic, group string, opts SubscribeOptions, handler Handler) (*Subscription, error)
	messages(ctx context.Context, topic, group string, opts SubscribeOptions) iter.Seq2[*Delivery, error]
	fetch(ctx context.Context, topic, group string, most int, wait time.Duration) ([]*Delivery, error)
	request(ctx context.Context, op, topic, method string, m Message) (*Response, error)

	topic(ctx context.Context, op, topic, cmd string, fields []field) (TopicInfo, error)
	group(ctx context.Context, l loss, op, target, cmd string, fields []field) (GroupInfo, error)
	command(ctx context.Context, op, target, cmd string, fields []field) error
}

// cluster is a set of servers, with one connection to each. Trackers tell which
// servers there are: every server is a tracker, at least of itself. A single server is
// a set of one, and several servers that do not know of each other are a set, too.
// All methods may be called by any number of goroutines.
type cluster struct {
	c    *Client // whose set it is
	opts Options
	life context.Context // ends with Close
	end  context.CancelFunc
	all  sync.WaitGroup // goroutines; added to with mu held and closed false
	room chan struct{}  // capacity: how many messages of PublishAsync may be under way

	mu       sync.Mutex
	trackers []*tracker
	members  map[string]*member // by address
	subs     map[*setSubscription]struct{}
	lanes    map[string]*turn // the last message of each; see turn
	changed  chan struct{}    // closed and made anew when something above, or a connection, changes
	turn     uint64           // for servers that are as good
	held     int              // bytes of bodies that PublishAsync holds
	less     chan struct{}    // closed when there are less; nil if no goroutine waits for that
	working  int              // publishes and calls under way
	idle     chan struct{}    // closed when there are none; nil if no goroutine waits for that
	closed   bool
}

// tracker is a server that was named to Dial.
type tracker struct {
	c        *Client
	text     string                // its address as it was given
	own      string                // what it calls itself, once that is known
	table    map[string]serverJSON // what it has told last
	revision int64                 // of that
}

// member is a server of the set.
type member struct {
	c       *Client
	info    ServerInfo
	tracker bool // c is a tracker's, and stays when the member goes
	gone    context.CancelFunc
	life    context.Context // ends when it is no longer a member
}

// dialSet connects to servers, and to those that they tell of.
func dialSet(ctx context.Context, addrs []address, opts Options) (*Client, error) {
	opts.Heartbeat = cmp.Or(opts.Heartbeat, clusterBeat)
	opts.HeartbeatTimeout = cmp.Or(opts.HeartbeatTimeout, clusterHeartbeatTimeout)
	opts = opts.withDefaults()
	cl := &cluster{
		c: newClient(addrs, opts), opts: opts, members: make(map[string]*member), subs: make(map[*setSubscription]struct{}),
		lanes:   make(map[string]*turn),
		changed: make(chan struct{}), room: make(chan struct{}, opts.MaxPending),
	}
	cl.life, cl.end, cl.c.set = cl.c.life, cl.c.end, cl
	for _, a := range addrs {
		cl.track(a)
	}
	if err := cl.settle(ctx); err != nil {
		cl.close()
		return nil, err
	}
	return cl.c, nil
}

// track begins to follow a tracker.
func (cl *cluster) track(a address) {
	t := &tracker{text: a.text}
	t.c = newClient([]address{a}, cl.memberOptions(func(s State) { cl.trackerState(t, s) }))
	t.c.encoder.alone, t.c.spoken = true, cl.news
	t.c.pushed = func(table []byte) { cl.told(t, table) }
	cl.mu.Lock()
	cl.trackers = append(cl.trackers, t)
	cl.mu.Unlock()
	go t.c.run(nil, 0, nil)
}

// memberOptions are those of one connection: it does not wait for itself, since
// there may be others.
func (cl *cluster) memberOptions(tell func(State)) Options {
	opts := cl.opts
	opts.repeat, opts.ReconnectTimeout = max(opts.ReconnectTimeout, 0), -1
	opts.OnState = func(s State) {
		tell(s)
		if cl.opts.OnState != nil {
			cl.opts.OnState(s)
		}
	}
	return opts
}

// settle waits until every tracker was tried, and has told of its servers if it was
// reached.
func (cl *cluster) settle(ctx context.Context) error {
	for {
		cl.mu.Lock()
		reached, waiting := false, false
		var cause error
		for _, t := range cl.trackers {
			tried, err := t.c.tried()
			reached = reached || t.table != nil
			waiting = waiting || !tried || err == nil && t.table == nil
			cause = errors.Join(cause, err)
		}
		for _, m := range cl.members { // so that a topic is declared on all of them
			tried, _ := m.c.tried()
			waiting = waiting || !tried && !m.tracker
		}
		changed := cl.changed
		cl.mu.Unlock()
		if !waiting && !reached {
			return unreachable("no server reached", cause).error("dial", cl.trackers[0].text)
		}
		if !waiting {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if reached {
				return nil
			}
			return stopped(ctx, false).error("dial", cl.trackers[0].text)
		}
	}
}

// address is that of a server with a connection, the first by name; "": there is none.
func (cl *cluster) address() (first string) {
	for _, c := range cl.up() {
		if a := c.Address(); a != "" && (first == "" || a < first) {
			first = a
		}
	}
	return first
}

func (cl *cluster) servers() []ServerInfo {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	all := make([]ServerInfo, 0, len(cl.members))
	for _, m := range cl.members {
		all = append(all, m.info.clone())
	}
	return all
}

func (cl *cluster) server(address string) *Client {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if m := cl.members[address]; m != nil {
		return m.c
	}
	return nil
}

// up are the servers with a connection.
func (cl *cluster) up() (all []*Client) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, m := range cl.members {
		if m.c.Address() != "" {
			all = append(all, m.c)
		}
	}
	return all
}

// barrier asks all servers that have a connection. One that has lost it has nothing to answer, but there has
// to be one that does.
func (cl *cluster) barrier(ctx context.Context) error {
	clients := cl.up()
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { errs[i] = c.barrier(ctx) })
	}
	all.Wait()
	switch {
	case ctx.Err() != nil:
		return stopped(ctx, false).error("query", "")
	case len(clients) == 0:
		return noServer("query", "")
	case slices.Contains(errs, nil):
		return nil
	}
	return errors.Join(errs...)
}

// noServer is the outcome of what no server could be asked for.
func noServer(op, target string) error {
	return (&failure{text: "no server", kinds: []error{ErrUnavailable}}).error(op, target)
}

// publish stores a message on one server that has the topic, as long as there is patience. The
// next is tried when it is certain that the one before has not stored it.
func (cl *cluster) publish(ctx context.Context, p *patience, topic string, m Message) (r Receipt, err error) {
	if p == nil {
		p = cl.patience()
	}
	err = cl.try(ctx, p, "publish", topic, m.Key, func(c *Client) error {
		r, err = c.Publish(ctx, topic, m)
		return err
	})
	return r, err
}

// request calls a service on one server. The next is tried when it is certain that nothing was run.
func (cl *cluster) request(ctx context.Context, op, topic, method string, m Message) (resp *Response, err error) {
	err = cl.try(ctx, cl.patience(), op, topic, "", func(c *Client) error {
		resp, err = c.request(ctx, op, topic, method, m)
		return err
	})
	return resp, err
}

// patience is how long requests wait for servers, all that share it together.
type patience struct {
	most  time.Duration
	since time.Time // when the first of them began to wait
}

func (cl *cluster) patience() *patience { return &patience{most: max(cl.opts.ReconnectTimeout, 0)} }

// timer fires when there is no more. It is called by one goroutine at a time.
func (p *patience) timer() *time.Timer {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.NewTimer(p.most - time.Since(p.since))
}

// try has servers do something until one has, or may have. Without any it waits.
func (cl *cluster) try(ctx context.Context, p *patience, op, topic, key string, do func(*Client) error) error {
	cl.begun()
	defer cl.ended()
	for {
		clients, changed := cl.choose(topic, key)
		var err error
		for _, c := range clients {
			if err = do(c); err == nil || !cl.elsewhere(err) {
				return err
			}
		}
		if e := (*Error)(nil); errors.As(err, &e) && e.Status != 0 {
			return err // a server is there, and has said so
		}
		if err == nil {
			err = noServer(op, topic)
		}
		timer := p.timer()
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return err
		case <-ctx.Done():
			return stopped(ctx, false).error(op, topic)
		case <-cl.life.Done():
			return closed().error(op, topic)
		}
	}
}

// elsewhere reports whether an error is one of a single server, which has not done what was
// asked for: another one may.
func (cl *cluster) elsewhere(err error) bool {
	switch {
	case errors.As(err, new(*CallError)) || errors.Is(err, ErrUnknownOutcome):
		return false
	case errors.Is(err, ErrClosed): // the server is no longer one of the set
		return cl.life.Err() == nil
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound)
}

// foremost is the error of a request that none of some servers has carried out, the same whichever answers
// first: that of one that refuses it; or else that of one that can't be asked now, since it may have what
// the rest do not have.
func (cl *cluster) foremost(errs []error) (most error) {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case errors.Is(err, ErrNotFound):
			return 1
		case cl.elsewhere(err):
			return 2
		}
		return 3
	}
	for _, err := range errs {
		if rank(err) > rank(most) {
			most = err
		}
	}
	return most
}
