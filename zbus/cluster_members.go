package zbus

import (
	"cmp"
	"context"
	"encoding/json"
	"hash/fnv"
	"math/bits"
	"slices"
	"sort"
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
	ranks := ranksOf(servers, topic, "")
	sort.SliceStable(ranks, func(i, j int) bool {
		a, b := &ranks[i], &ranks[j]
		return cmp.Or(cmp.Compare(b.class, a.class), cmp.Compare(b.consumers, a.consumers), cmp.Compare(a.lag, b.lag)) < 0
	})
	return addressesOf(ranks)
}

// rank is how good a server is for a topic.
type rank struct {
	address               string
	class, consumers, lag int
	score                 uint64 // for a key
}

// ranksOf are the ranks of servers, in their order.
func ranksOf(servers []ServerInfo, topic, key string) []rank {
	ranks := make([]rank, len(servers))
	for i := range servers {
		ranks[i] = rankOf(&servers[i], topic)
		if key != "" {
			ranks[i].score = scoreOf(servers[i].Address, key)
		}
	}
	return ranks
}

func rankOf(s *ServerInfo, topic string) rank {
	r := rank{address: s.Address}
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
	ranks := ranksOf(servers, topic, key)
	sort.SliceStable(ranks, func(i, j int) bool {
		a, b := &ranks[i], &ranks[j]
		return cmp.Or(cmp.Compare(b.class, a.class), cmp.Compare(b.score, a.score)) < 0
	})
	return addressesOf(ranks)
}

// scoreOf orders servers for a key.
func scoreOf(address, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(address + " " + key))
	x := h.Sum64() // which differs little for addresses that do
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

func addressesOf(sorted []rank) []string {
	addresses := make([]string, len(sorted))
	for i := range sorted {
		addresses[i] = sorted[i].address
	}
	return addresses
}

// choose is which servers to try, and a channel that is closed when there may be
// others.
func (cl *cluster) choose(topic, key string) ([]*Client, <-chan struct{}) {
	cl.mu.Lock()
	changed := cl.changed
	servers, connected := cl.connected((*Client).usable)
	if len(servers) == 0 {
		servers, connected = cl.connected(func(c *Client) bool { return c.Address() != "" })
	}
	cl.turn++
	turn := cl.turn
	cl.mu.Unlock()
	sort.Slice(servers, func(i, j int) bool { return servers[i].Address < servers[j].Address })
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
func (cl *cluster) connected(good func(*Client) bool) (servers []ServerInfo, clients map[string]*Client) {
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
func (cl *cluster) selected(topic, key string, servers []ServerInfo) []string {
	switch {
	case cl.opts.Select != nil:
		return cl.opts.Select(topic, servers)
	case key != "":
		return byKey(topic, key, servers)
	}
	return MostConsumers(topic, servers)
}

// touch tells those who wait that something has changed. Called with cl.mu held.
func (cl *cluster) touch() {
	close(cl.changed)
	cl.changed = make(chan struct{})
}

// news is touch for what the set hears of a connection.
func (cl *cluster) news() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.touch()
}

// trackerState hears of a tracker's connection.
func (cl *cluster) trackerState(t *tracker, s State) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if s.Connected {
		t.revision = 0 // it may be another run of it
	} else if !cl.closed {
		cl.arrange() // the others know better what there is
	}
	cl.touch()
}

// told takes what a tracker says of its servers.
func (cl *cluster) told(t *tracker, body []byte) {
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
func (cl *cluster) arrange() {
	wanted := make(map[string]serverJSON)
	some := slices.ContainsFunc(cl.trackers, func(t *tracker) bool { return t.c.Address() != "" && t.table != nil })
	for _, t := range cl.trackers {
		if some && t.c.Address() == "" {
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
func (cl *cluster) join(name string, secure bool) *member {
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
		m.c = newClient([]address{a}, cl.memberOptions(func(State) { cl.news() }))
		m.c.encoder.alone, m.c.spoken = true, cl.news
		go m.c.run(nil, 0, nil)
	}
	m.life, m.gone = context.WithCancel(cl.life)
	cl.members[name] = m
	for s := range cl.subs {
		s.follow(m, false)
	}
	return m
}
