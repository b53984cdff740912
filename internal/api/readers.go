package api

import (
	"cmp"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
)

// Readers are the requests that consume for a while: streams of events, and pulls that
// wait. In the list of connections they are sessions as all others. The zero
// value is ready; its methods may be called by any number of goroutines.
type Readers struct {
	mu  sync.Mutex
	all map[string]*inbox // guarded by mu; key is the id
}

// Sessions describes them, in no order.
func (r *Readers) Sessions() []apiconv.SessionInfo {
	r.mu.Lock()
	readers := make([]*inbox, 0, len(r.all))
	for _, p := range r.all {
		readers = append(readers, p)
	}
	r.mu.Unlock()
	list := make([]apiconv.SessionInfo, len(readers))
	for i, p := range readers {
		list[i] = p.info()
	}
	return list
}

// Disconnect ends the one with an id: it reports false when there is none. The reason
// is for the client.
func (r *Readers) Disconnect(id, reason string) bool {
	p := r.claim(id)
	if p == nil {
		return false
	}
	reason = cmp.Or(strings.Join(strings.Fields(reason), " "), "disconnected by an administrator")
	p.cut <- &broker.Error{Code: broker.Unavailable, Text: reason}
	return true
}

// claim takes one out, for who ends it: it is ended once. Nil: there is none.
func (r *Readers) claim(id string) *inbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.all[id]
	delete(r.all, id)
	return p
}

// Recheck ends those that may no longer consume what they do.
func (r *Readers) Recheck(b *broker.Broker) {
	r.mu.Lock()
	readers := make([]*inbox, 0, len(r.all))
	for _, p := range r.all {
		readers = append(readers, p)
	}
	r.mu.Unlock()
	for _, p := range readers {
		r.recheck(p, b)
	}
}

// recheck ends one that may not, or no longer, consume what it does, with the error that says why.
func (r *Readers) recheck(p *inbox, b *broker.Broker) {
	if err := b.As(p.by, access.Consume).MayConsume(p.sub.Group()); err != nil && r.claim(p.id) != nil {
		p.cut <- err
	}
}

// add adds one. Recheck may have looked at the others after this one was permitted, and before
// it was among them: so it is judged once more.
func (r *Readers) add(p *inbox, b *broker.Broker) {
	r.mu.Lock()
	if r.all == nil {
		r.all = map[string]*inbox{}
	}
	r.all[p.id] = p
	r.mu.Unlock()
	r.recheck(p, b)
}

func (r *Readers) remove(p *inbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, p.id)
}

// info describes the request. It has sent something once: itself.
func (p *inbox) info() apiconv.SessionInfo {
	g := p.sub.Group()
	credit, inFlight := p.sub.Load()
	return apiconv.SessionInfo{
		ID: p.id, Remote: p.name, Protocol: "api", Since: p.since, Active: p.since, In: 1, Out: p.out.Load(),
		Subscriptions: []apiconv.SubscriptionInfo{{Topic: g.Topic().Name(), Group: g.Name(), Credit: credit, InFlight: inFlight}},
	}
}
