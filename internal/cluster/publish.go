package cluster

import (
	"context"
	"slices"
	"sort"
	"time"
)

// Joins reports whether this server joins trackers, which are told of it.
func (c *Cluster) Joins() bool { return c != nil && len(c.links) > 0 }

// Publish takes what this server says of itself, as JSON that does not change, and has the
// trackers told. It does not block.
func (c *Cluster) Publish(own []byte) {
	c.mu.Lock()
	c.own = own
	c.published++
	urgent := c.urgent
	c.urgent = false
	c.mu.Unlock()
	for _, l := range c.links {
		if wake(l.dirty); urgent {
			wake(l.urgent)
		}
	}
}

// progress says that a link has come further. Called with mu held.
func (c *Cluster) progress() {
	close(c.progressed)
	c.progressed = make(chan struct{})
}

// Joined reports whether a tracker knows this server.
func (c *Cluster) Joined() bool {
	if !c.Joins() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.links, func(l *link) bool { return l.joined })
}

// await waits until something is so, which is asked with mu held, or ctx ends.
func (c *Cluster) await(ctx context.Context, so func() bool) bool {
	for {
		c.mu.Lock()
		done, further := so(), c.progressed
		c.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-further:
		case <-ctx.Done():
			return false
		}
	}
}

// State is how a server is known.
type State string

// The states of a server.
const (
	Up          State = "up"
	Draining    State = "draining"
	Unreachable State = "unreachable"
)

// Server is one that is known.
type Server struct {
	Address Address
	State   State
	Version string    // "" if it is not known
	Topics  int       // -1: not known
	Since   time.Time // of the state
	Heard   time.Time // when it was heard of last; zero: never

	Trackers []Address // that it joins
	Figures  *Figures  // as it has told last; nil: not known
}

// hear adds what a server that is reached has told.
func (s *Server) hear(t told) {
	if t.Figures == nil {
		return
	}
	f := *t.Figures
	f.Uptime += time.Since(t.at).Milliseconds()
	s.Figures = &f
	if t.at.After(s.Heard) {
		s.Heard = t.at
	}
}

// server describes a member. Called with Cluster.mu held.
func (m *member) server() Server {
	s := Server{Address: m.address, State: Unreachable, Version: m.info.Version, Topics: m.info.Topics(), Since: m.since, Heard: m.heard, Trackers: m.info.Trackers}
	if m.up {
		s.State = m.info.Phase.state()
		s.hear(m.figures)
	}
	return s
}

// EachTopic goes through the topics of the servers that have joined, as they have told of them,
// and of those that only trackers know.
func (c *Cluster) EachTopic(do func(*Server, *Topic)) {
	if c == nil {
		return
	}
	type known struct {
		Server
		*Info
	}
	var all []known
	c.mu.Lock()
	for _, m := range c.members {
		if m.proved {
			all = append(all, known{m.server(), m.info})
		}
	}
	for i := range c.hearsay {
		all = append(all, known{c.hearsay[i].server(), c.hearsay[i].Info})
	}
	c.mu.Unlock()
	for _, k := range all {
		for i := range k.topics {
			do(&k.Server, &k.topics[i].Topic)
		}
	}
}

// Servers are those that are known, by address, but for this one: those that have joined, and
// the trackers.
func (c *Cluster) Servers() (all []Server) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.proved {
			all = append(all, m.server())
		}
	}
	for i := range c.hearsay {
		all = append(all, c.hearsay[i].server())
	}
	for _, l := range c.links {
		name := l.name
		if name.Address == "" {
			name = l.at
		}
		known := slices.ContainsFunc(all, func(s Server) bool { return s.Address.Address == name.Address })
		if l.self || !l.tried || known {
			continue
		}
		s := Server{Address: name, State: Unreachable, Topics: -1, Since: l.since, Heard: l.heard}
		if l.joined {
			s.State = Up
			s.hear(l.figures)
		}
		all = append(all, s)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Address.Address < all[j].Address.Address })
	return all
}
