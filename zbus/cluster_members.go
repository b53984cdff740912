package zbus

import (
	"cmp"
	"context"
	"encoding/json"
	"hash/fnv"
	"math/bits"
	"slices"
	"time"
)

// leaveTime is how long a server that is no longer a member may take for its last answers.
const leaveTime = 5 * time.Second

// littleLag is how many messages a group may be behind, for its server to be as good as those
// that are not. What servers tell is some seconds old: with less, all would publish to one for
// that long.
const littleLag = 1000

// MostConsumers is the [Selector] that prefers the server on which the topic has the
// most consumers, and then the one where its groups are less behind: where one is by more than
// 1000 messages, by half as much at least. Servers that are as good take turns; those that do not
// have the topic, as far as is known, come last, and among them those that are being drained.
func MostConsumers(topic string, servers []ServerInfo) []string {
	sorted := slices.Clone(servers)
	slices.SortStableFunc(sorted, func(a, b ServerInfo) int {
		x, y := rankOf(&a, topic), rankOf(&b, topic)
		return cmp.Or(cmp.Compare(y.class, x.class), cmp.Compare(y.consumers, x.consumers), cmp.Compare(x.lag, y.lag))
	})
	return addressesOf(sorted)
}

// rank is how good a server is for a topic.
type rank struct{ class, consumers, lag int }

func rankOf(s *ServerInfo, topic string) (r rank) {
	t, ok := s.Topics[topic]
	switch {
	case ok:
		r.class = 2
	case !s.Draining:
		r.class = 1
	}
	most := int64(0)
	for i := range t.Groups {
		most = max(most, t.Groups[i].Lag)
	}
	r.consumers, r.lag = t.Consumers, bits.Len64(uint64(most/littleLag))
	return r
}

// byKey prefers the same server for each key, among those that have the topic: when one comes
// or goes, only the keys move that are its own.
func byKey(topic, key string, servers []ServerInfo) []string {
	sorted := slices.Clone(servers)
	score := func(s *ServerInfo) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.Address + " " + key))
		x := h.Sum64() // which differs little for addresses that do
		x ^= x >> 32
		x *= 0xd6e8feb86659fd93
		return x ^ x>>32
	}
	slices.SortStableFunc(sorted, func(a, b ServerInfo) int {
		return cmp.Or(cmp.Compare(rankOf(&b, topic).class, rankOf(&a, topic).class), cmp.Compare(score(&b), score(&a)))
	})
	return addressesOf(sorted)
}

func addressesOf(sorted []ServerInfo) []string {
	addresses := make([]string, len(sorted))
	for i, s := range sorted {
		addresses[i] = s.Address
	}
	return addresses
}

// choose is which servers to try, and a channel that is closed when there may be
// others.
func (cl *Cluster) choose(topic, key string) ([]*Client, <-chan struct{}) {
	cl.mu.Lock()
	changed := cl.changed
	servers, connected := cl.connected((*Client).usable)
	if len(servers) == 0 {
		servers, connected = cl.connected(func(c *Client) bool { return c.Address() != "" })
	}
	cl.turn++
	turn := cl.turn
	cl.mu.Unlock()
	slices.SortFunc(servers, func(x, y ServerInfo) int { return cmp.Compare(x.Address, y.Address) })
	if n := uint64(len(servers)); n > 1 {
		servers = slices.Concat(servers[turn%n:], servers[:turn%n])
	}
	var clients []*Client
	for _, address := range cl.selected(topic, key, servers) {
		if c := connected[address]; c != nil {
			clients = append(clients, c)
		}
	}
	return clients, changed
}

// connected are the servers with a good connection. Called with cl.mu held.
func (cl *Cluster) connected(good func(*Client) bool) (servers []ServerInfo, clients map[string]*Client) {
	clients = make(map[string]*Client, len(cl.members))
	for address, m := range cl.members {
		if good(m.c) {
			clients[address] = m.c
			servers = append(servers, m.info)
		}
	}
	return servers, clients
}

// selected are the addresses of servers, best first.
func (cl *Cluster) selected(topic, key string, servers []ServerInfo) []string {
	switch {
	case cl.opts.Select != nil:
		return cl.opts.Select(topic, servers)
	case key != "":
		return byKey(topic, key, servers)
	}
	return MostConsumers(topic, servers)
}

// touch tells those who wait that something has changed. Called with cl.mu held.
func (cl *Cluster) touch() {
	close(cl.changed)
	cl.changed = make(chan struct{})
}

// trackerState hears of a tracker's connection.
func (cl *Cluster) trackerState(t *tracker, s State) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	t.tried, t.up = true, s.Connected
	if s.Connected {
		t.revision = 0 // it may be another run of it
	} else if !cl.closed {
		cl.arrange() // the others know better what there is
	}
	cl.touch()
}

// told takes what a tracker says of its servers.
func (cl *Cluster) told(t *tracker, body []byte) {
	var table trackerJSON
	if err := json.Unmarshal(body, &table); err != nil {
		cl.opts.Log.Warn("zbus tracker not understood", "address", t.text, "err", err)
		return
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed || table.InfoVersion != 0 && table.InfoVersion <= t.revision {
		return
	}
	t.revision, t.own, t.table = table.InfoVersion, table.ServerAddress.Address, table.ServerTable
	cl.arrange()
	cl.touch()
}

// arrange makes members those servers that any tracker tells of. One that is not connected
// counts only if none is: what it has told may no longer be so. Called with cl.mu held.
func (cl *Cluster) arrange() {
	wanted := make(map[string]serverJSON)
	some := slices.ContainsFunc(cl.trackers, func(t *tracker) bool { return t.up && t.table != nil })
	for _, t := range cl.trackers {
		if some && !t.up {
			continue
		}
		for _, s := range t.table {
			address := s.ServerAddress.Address
			if old, ok := wanted[address]; !ok || s.InfoVersion > old.InfoVersion {
				wanted[address] = s
			}
		}
	}
	for address, m := range cl.members {
		if _, ok := wanted[address]; !ok {
			delete(cl.members, address)
			m.gone()
			if !m.tracker {
				cl.all.Go(func() { m.leave(cl.life) })
			}
		}
	}
	for address, s := range wanted {
		m := cl.members[address]
		if m == nil {
			if m = cl.join(address, s.ServerAddress.SSLEnabled); m == nil {
				continue
			}
		}
		m.info = s.info()
	}
}

// leave ends the connection to a server that is no longer a member, in order: it may be one that
// is being drained, and has what it was asked for before.
func (m *member) leave(life context.Context) {
	ctx, cancel := context.WithTimeout(life, leaveTime)
	defer cancel()
	_ = m.c.Drain(ctx) // or it is closed
}

// join adds a server. One that is a tracker has a connection already, by an address
// that is known to be good. Called with cl.mu held.
func (cl *Cluster) join(name string, secure bool) *member {
	m := new(member)
	for _, t := range cl.trackers {
		if t.own == name || t.own == "" && t.text == name { // it has not said yet what it calls itself
			m.c, m.tracker = t.c, true
		}
	}
	if m.c == nil {
		a, err := parseAddress(name, secure)
		if err != nil {
			cl.opts.Log.Warn("zbus server left out", "address", name, "err", err)
			return nil
		}
		m.c = newClient([]address{a}, cl.memberOptions(func(State) {
			cl.mu.Lock()
			m.tried = true
			cl.touch()
			cl.mu.Unlock()
		}))
		m.c.encoder.alone = true
		go m.c.run(nil, 0, nil)
	}
	m.life, m.gone = context.WithCancel(cl.life)
	cl.members[name] = m
	for s := range cl.subs {
		s.follow(m)
	}
	return m
}

// ClusterSubscription is a consumer of a group on every server of a set, from
// [Cluster.Subscribe] until its context ends or it is closed.
type ClusterSubscription struct {
	cluster *Cluster
	topic   string
	group   string
	opts    SubscribeOptions
	handler Handler
	life    context.Context
	cancel  context.CancelFunc
	first   chan error    // of each server, how the first attempt went, while somebody listens
	heard   chan struct{} // closed when nobody does
	done    chan struct{}
	running int   // guarded by cl.mu: goroutines
	err     error // guarded by cl.mu: why it is over, if there is a reason
}

// Subscribe has messages of a group handled from all servers of the set, and from
// those that come to it later, as [Client.Subscribe] does for one. The window and the
// concurrency are those of each server. It returns an error if it works for none.
func (cl *Cluster) Subscribe(ctx context.Context, topic, group string, opts SubscribeOptions, handler Handler) (*ClusterSubscription, error) {
	if handler == nil {
		return nil, invalid("subscribe", topic+"/"+group, "no handler")
	}
	s := &ClusterSubscription{
		cluster: cl, topic: topic, group: group, opts: opts, handler: handler,
		first: make(chan error), heard: make(chan struct{}), done: make(chan struct{}),
	}
	s.life, s.cancel = context.WithCancel(ctx)
	cl.mu.Lock()
	if cl.closed {
		cl.mu.Unlock()
		s.cancel()
		return nil, closed().error("subscribe", topic+"/"+group)
	}
	cl.subs[s] = struct{}{}
	n := len(cl.members)
	s.running++ // ends with life
	cl.all.Go(s.keep)
	for _, m := range cl.members {
		s.follow(m)
	}
	cl.mu.Unlock()
	err, good := error(nil), n == 0
	for range n {
		e := <-s.first
		if e == nil {
			good = true
		} else if err == nil {
			err = e
		}
	}
	close(s.heard)
	if !good {
		s.cancel()
		<-s.done
		return nil, err
	}
	return s, nil
}

// Close ends the subscription in order and returns when it is over, on all servers:
// see [Subscription.Close].
func (s *ClusterSubscription) Close() error {
	s.cancel()
	<-s.done
	return nil
}

// Topic returns the name of the topic.
func (s *ClusterSubscription) Topic() string { return s.topic }

// Group returns the name of the group.
func (s *ClusterSubscription) Group() string { return cmp.Or(s.group, s.topic) }

// Err says why the subscription is over: nil after Close or the end of its context, ErrClosed when
// the set was closed. It is nil as long as Done is open. That a server is lost, or has no such group,
// is no end of it.
func (s *ClusterSubscription) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return s.err
}

// Done is closed when the subscription is over.
func (s *ClusterSubscription) Done() <-chan struct{} { return s.done }

// keep waits for the end.
func (s *ClusterSubscription) keep() {
	select {
	case <-s.life.Done():
	case <-s.cluster.life.Done():
		s.cancel()
		s.cluster.mu.Lock()
		s.err = closed().error("subscribe", s.topic+"/"+s.Group())
		s.cluster.mu.Unlock()
	}
	s.cluster.mu.Lock()
	delete(s.cluster.subs, s)
	s.cluster.mu.Unlock()
	s.left()
}

func (s *ClusterSubscription) left() {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	if s.running--; s.running == 0 {
		close(s.done)
	}
}

// follow subscribes on one server. Called with cl.mu held.
func (s *ClusterSubscription) follow(m *member) {
	s.running++
	s.cluster.all.Go(func() {
		defer s.left()
		ctx, cancel := context.WithCancel(s.life)
		defer cancel()
		defer context.AfterFunc(m.life, cancel)()
		for first := true; ; first = false {
			s.cluster.mu.Lock()
			changed := s.cluster.changed
			s.cluster.mu.Unlock()
			sub, err := m.c.Subscribe(ctx, s.topic, s.group, s.opts, s.handler)
			if first {
				select {
				case s.first <- err:
				case <-s.heard:
				}
			}
			if err == nil {
				<-sub.Done()
			}
			if ctx.Err() != nil {
				return
			}
			select {
			case <-changed: // the topic may have come, or the connection
			case <-ctx.Done():
				return
			}
		}
	})
}
