package rpc

import (
	"encoding/json"
	"slices"
)

// Peer is one connection: it may call, provide, or both. Init comes first, Leave
// last; its methods may be called by any number of goroutines.
type Peer struct {
	table  *Table
	id     string
	remote string
	sink   Sink

	// All below is guarded by Table.mu.
	left      bool
	calls     map[string]*Call // its own; made with the first
	given     list             // calls that it got and has not answered
	overdue   []Load           // of calls that ended without its answer
	providers []*Provider      // one a service; few
	described map[*Service]*Description
}

// Init names the peer: id is what answers to its calls are addressed to, remote is
// for people. It costs nothing in the table until the peer calls or provides.
func (p *Peer) Init(t *Table, id, remote string, sink Sink) {
	p.table, p.id, p.remote, p.sink = t, id, remote, sink
}

// ID is what answers to the peer's calls are addressed to.
func (p *Peer) ID() string { return p.id }

// Waits reports whether calls of the peer's own are under way.
func (p *Peer) Waits() bool {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return len(p.calls) > 0
}

// Leave ends the peer's part: calls that it got fail, since no other provider may answer
// them, and its own are forgotten.
func (p *Peer) Leave() {
	t := p.table
	now := t.Now()
	t.mu.Lock()
	if p.left {
		t.mu.Unlock()
		return
	}
	p.left = true
	delete(t.peers, p.id)
	for _, c := range p.calls {
		for c != nil {
			next := c.same
			t.end(c, Abandoned, now)
			c = next
		}
	}
	var lost, unserved *Call
	for c := p.given.first; c != nil; c = p.given.first {
		t.end(c, ProviderGone, now)
		c.later, lost = lost, c
	}
	for _, q := range p.providers {
		unserved = t.stop(q, now, unserved)
	}
	p.overdue, p.described = nil, nil
	t.mu.Unlock()
	report(lost, ProviderGone)
	report(unserved, Unavailable)
}

// forget removes one of the peer's own calls. Called with the lock held.
func (p *Peer) forget(c *Call) {
	first := p.calls[c.id]
	if first == c {
		if c.same == nil {
			delete(p.calls, c.id)
		} else {
			p.calls[c.id] = c.same
		}
	} else {
		for first.same != c {
			first = first.same
		}
		first.same = c.same
	}
	c.same = nil
}

// late notes that the peer was given a call whose answer is no longer waited for. It counts
// as busy with it until it answers something. Called with the lock held.
func (p *Peer) late(load Load) {
	if !p.left && load != nil {
		p.overdue = append(p.overdue, load)
	}
}

// Provide notes that the peer takes calls to a service.
func (p *Peer) Provide(s *Service) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if q := p.provider(s); !p.left && !q.active {
		q.active, q.since = true, t.Now()
		s.providers = append(s.providers, q)
	}
}

// provider finds the peer's part in a service, or makes one. Called with the lock
// held.
func (p *Peer) provider(s *Service) *Provider {
	for _, q := range p.providers {
		if q.service == s {
			return q
		}
	}
	q := &Provider{peer: p, service: s}
	p.providers = append(p.providers, q)
	return q
}

// Withdraw notes that the peer takes no more calls to a service. It may still answer
// those that it got. When it was the last provider, the calls that wait fail.
func (p *Peer) Withdraw(s *Service) {
	t := p.table
	now := t.Now()
	t.mu.Lock()
	unserved := t.stop(p.provider(s), now, nil)
	t.mu.Unlock()
	report(unserved, Unavailable)
}

// stop takes a provider out of its service, and adds the calls that have no provider left
// to take them to a chain. Called with the lock held.
func (t *Table) stop(q *Provider, now Instant, chain *Call) *Call {
	s := q.service
	if !q.active {
		return chain
	}
	q.active = false
	if i := slices.Index(s.providers, q); i >= 0 {
		s.providers = slices.Concat(s.providers[:i], s.providers[i+1:]) // part of the old list would keep q in memory
	}
	if len(s.providers) > 0 {
		return chain
	}
	for c := s.waiting.first; c != nil; c = s.waiting.first {
		t.end(c, Unavailable, now)
		c.later, chain = chain, c
	}
	return chain
}

// Provider is a peer's part in one service. Guarded by Table.mu.
type Provider struct {
	peer     *Peer
	service  *Service
	active   bool // it takes calls
	since    Instant
	given    uint64
	answered uint64
	inFlight int
}

// Description is what a provider says of itself.
type Description struct {
	Name        string
	Version     string
	Description string
	Methods     []MethodDescription
}

// MethodDescription is what a provider says of a method.
type MethodDescription struct {
	Name        string
	Module      string
	Description string
	Params      json.RawMessage // JSON Schema of the array of parameters; nil: not said
	Result      json.RawMessage // JSON Schema of the result; nil: not said
}

// Describe replaces what the peer says of itself as a provider of a service. nil
// takes it back.
func (p *Peer) Describe(s *Service, d *Description) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case p.left:
	case d == nil:
		delete(p.described, s)
	default:
		if p.described == nil {
			p.described = make(map[*Service]*Description)
		}
		p.described[s] = d
	}
}
