package zbus

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// ClusterOptions say how a set of servers is used. The zero value is ready to use.
type ClusterOptions struct {
	// Options are those of each connection. MaxWait is how long a request waits for
	// any server; OnState is told of all connections. Heartbeat is 3s and HeartbeatTimeout 4s
	// unless they are set: other servers can take over from one that says nothing.
	Options
	// Select chooses the servers for a publish or a call, best first. Those after the
	// first are for the case that it has no such topic, or can't take it now. Default:
	// [MostConsumers], and for messages with a [Message.Key] the same server for each key,
	// as long as the servers that have the topic stay the same.
	Select Selector
}

// The defaults of Heartbeat and HeartbeatTimeout where there are other servers: after both together, and
// a little more, what is under way to a machine that has vanished goes elsewhere.
const (
	clusterBeat             = 3 * time.Second
	clusterHeartbeatTimeout = 4 * time.Second
)

// Selector chooses from the servers that are connected, for one request to a topic,
// and returns their addresses, best first. It may be called by several goroutines at a
// time and must neither block nor keep or change what it gets.
type Selector func(topic string, servers []ServerInfo) []string

// Cluster is a set of servers, with one connection to each. Trackers tell which
// servers there are: every server is a tracker, at least of itself. A single server is
// a set of one, and several servers that do not know of each other are a set, too.
// All methods may be called by any number of goroutines.
type Cluster struct {
	opts ClusterOptions
	life context.Context // ends with Close
	end  context.CancelFunc
	all  sync.WaitGroup // goroutines; added to with mu held and closed false
	room chan struct{}  // capacity: how many messages of PublishAsync may be under way

	mu       sync.Mutex
	trackers []*tracker
	members  map[string]*member // by address
	subs     map[*ClusterSubscription]struct{}
	changed  chan struct{} // closed and made anew when something above, or a connection, changes
	turn     uint64        // for servers that are as good
	closed   bool
}

// tracker is a server that was named to DialCluster.
type tracker struct {
	c        *Client
	text     string                // its address as it was given
	own      string                // what it calls itself, once that is known
	table    map[string]serverJSON // what it has told last
	revision int64                 // of that
	up       bool                  // it is connected
	tried    bool                  // it was reached, or could not be
}

// member is a server of the set.
type member struct {
	c       *Client
	info    ServerInfo
	tracker bool // c is a tracker's, and stays when the member goes
	tried   bool // it was reached, or could not be
	gone    context.CancelFunc
	life    context.Context // ends when it is no longer a member
}

// DialCluster connects to trackers, and to the servers that they tell of. The addresses
// are as for [Dial]. It returns when all of them and those servers were tried, with an error
// that is ErrUnavailable if no tracker was reached. Trackers that were not are tried again.
func DialCluster(ctx context.Context, trackers string, opts ClusterOptions) (*Cluster, error) {
	addrs, err := parseAddresses(trackers, opts.TLS != nil)
	if err != nil {
		return nil, err
	}
	if err := checkToken(opts.Token); err != nil {
		return nil, invalid("dial", trackers, "%v", err)
	}
	opts.Heartbeat = cmp.Or(opts.Heartbeat, clusterBeat)
	opts.HeartbeatTimeout = cmp.Or(opts.HeartbeatTimeout, clusterHeartbeatTimeout)
	opts.Options = opts.Options.withDefaults()
	cl := &Cluster{
		opts: opts, members: make(map[string]*member), subs: make(map[*ClusterSubscription]struct{}),
		changed: make(chan struct{}), room: make(chan struct{}, opts.MaxPending),
	}
	cl.life, cl.end = context.WithCancel(context.Background())
	for _, a := range addrs {
		cl.track(a)
	}
	if err := cl.settle(ctx); err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	return cl, nil
}

// track begins to follow a tracker.
func (cl *Cluster) track(a address) {
	t := &tracker{text: a.text}
	t.c = newClient([]address{a}, cl.memberOptions(func(s State) { cl.trackerState(t, s) }))
	t.c.encoder.alone = true
	t.c.pushed = func(table []byte) { cl.told(t, table) }
	cl.mu.Lock()
	cl.trackers = append(cl.trackers, t)
	cl.mu.Unlock()
	go t.c.run(nil, 0, nil)
}

// memberOptions are those of one connection: it does not wait for itself, since
// there may be others.
func (cl *Cluster) memberOptions(tell func(State)) Options {
	opts := cl.opts.Options
	opts.repeat, opts.MaxWait = max(opts.MaxWait, 0), -1
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
func (cl *Cluster) settle(ctx context.Context) error {
	for {
		cl.mu.Lock()
		reached, waiting := false, false
		var cause error
		for _, t := range cl.trackers {
			connected := t.c.Address() != ""
			reached = reached || t.table != nil
			waiting = waiting || !t.tried || connected && t.table == nil
			if !connected {
				t.c.mu.Lock()
				cause = errors.Join(cause, t.c.lastErr)
				t.c.mu.Unlock()
			}
		}
		for _, m := range cl.members { // so that a topic is declared on all of them
			waiting = waiting || !m.tried && !m.tracker
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

// Servers describes the servers of the set, as far as they have been told of, in no
// order.
func (cl *Cluster) Servers() []ServerInfo {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	all := make([]ServerInfo, 0, len(cl.members))
	for _, m := range cl.members {
		all = append(all, m.info)
	}
	return all
}

// Client returns the connection to one server of the set, by the address in its
// description, for what concerns one server; nil if it is not in the set. It must not
// be closed.
func (cl *Cluster) Client(address string) *Client {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if m := cl.members[address]; m != nil {
		return m.c
	}
	return nil
}

// Close ends all connections at once, as [Client.Close] does.
func (cl *Cluster) Close() error {
	cl.mu.Lock()
	cl.closed = true
	clients := cl.clients()
	cl.mu.Unlock()
	cl.end()
	for _, c := range clients {
		_ = c.Close() // always nil
	}
	cl.all.Wait()
	return nil
}

// clients are all connections, of members and of trackers. Called with cl.mu held.
func (cl *Cluster) clients() []*Client {
	var all []*Client
	for _, t := range cl.trackers {
		all = append(all, t.c)
	}
	for _, m := range cl.members {
		if !m.tracker {
			all = append(all, m.c)
		}
	}
	return all
}

// Drain ends all connections in order, as [Client.Drain] does.
func (cl *Cluster) Drain(ctx context.Context) error {
	cl.mu.Lock()
	clients := cl.clients()
	for s := range cl.subs {
		s.cancel()
	}
	cl.mu.Unlock()
	errs := make([]error, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { errs[i] = c.Drain(ctx) })
	}
	all.Wait()
	return errors.Join(append(errs, cl.Close())...)
}

// Publish stores a message on one server that has the topic: see [Client.Publish]. The
// next is tried when it is certain that the one before has not stored it.
func (cl *Cluster) Publish(ctx context.Context, topic string, m Message) (r Receipt, err error) {
	return cl.publish(ctx, cl.patience(), topic, m)
}

// publish is Publish as long as there is patience.
func (cl *Cluster) publish(ctx context.Context, p *patience, topic string, m Message) (r Receipt, err error) {
	err = cl.try(ctx, p, "publish", topic, m.Key, func(c *Client) error {
		r, err = c.Publish(ctx, topic, m)
		return err
	})
	return r, err
}

// Call calls a method of a service on one server: see [Client.Call]. The next server is
// tried when it is certain that the method was not run.
func (cl *Cluster) Call(ctx context.Context, topic, method string, result any, params ...any) error {
	return call(ctx, cl, topic, method, result, params)
}

// Request is [Client.Request], on a server as for Call.
func (cl *Cluster) Request(ctx context.Context, topic string, m Message) (*Response, error) {
	return cl.request(ctx, "request", topic, "", m)
}

func (cl *Cluster) request(ctx context.Context, op, topic, method string, m Message) (resp *Response, err error) {
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

func (cl *Cluster) patience() *patience { return &patience{most: max(cl.opts.MaxWait, 0)} }

// timer fires when there is no more. It is called by one goroutine at a time.
func (p *patience) timer() *time.Timer {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.NewTimer(p.most - time.Since(p.since))
}

// try has servers do something until one has, or may have. Without any it waits.
func (cl *Cluster) try(ctx context.Context, p *patience, op, topic, key string, do func(*Client) error) error {
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
			err = (&failure{text: "no server", kinds: []error{ErrUnavailable}}).error(op, topic)
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
func (cl *Cluster) elsewhere(err error) bool {
	switch {
	case errors.As(err, new(*CallError)) || errors.Is(err, ErrUnknownOutcome):
		return false
	case errors.Is(err, ErrClosed): // the server is no longer one of the set
		return cl.life.Err() == nil
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound)
}

// DeclareTopic makes sure of a topic on every server that is connected: see
// [Client.DeclareTopic].
func (cl *Cluster) DeclareTopic(ctx context.Context, t TopicSpec) error {
	return cl.everywhere("declare", t.Name, func(c *Client) error {
		_, err := c.DeclareTopic(ctx, t)
		return err
	})
}

// DeclareGroup makes sure of a group on every server that is connected: see
// [Client.DeclareGroup].
func (cl *Cluster) DeclareGroup(ctx context.Context, topic string, g GroupSpec) error {
	return cl.everywhere("declare", topic+"/"+g.Name, func(c *Client) error {
		_, err := c.DeclareGroup(ctx, topic, g)
		return err
	})
}

// everywhere does something on each server that is connected.
func (cl *Cluster) everywhere(op, target string, do func(*Client) error) error {
	cl.mu.Lock()
	var clients []*Client
	for _, m := range cl.members {
		if m.c.Address() != "" {
			clients = append(clients, m.c)
		}
	}
	cl.mu.Unlock()
	if len(clients) == 0 {
		return (&failure{text: "no server", kinds: []error{ErrUnavailable}}).error(op, target)
	}
	var errs []error
	for _, c := range clients {
		errs = append(errs, do(c))
	}
	return errors.Join(errs...)
}
