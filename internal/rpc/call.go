package rpc

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Outcome is how a call ended.
type Outcome int

// The outcomes.
const (
	Answered     Outcome = iota
	Unavailable          // no provider was there, or too many calls waited; it did not run
	TimedOut             // not answered in time; it may have run
	ProviderGone         // the provider went away after it got the call; it may have run
	Abandoned            // the caller went away

	outcomes // how many there are
)

// String is the outcome's name, as in figures.
func (o Outcome) String() string {
	return [...]string{"answered", "unavailable", "timeout", "provider_gone", "abandoned"}[o]
}

// Verdict says what becomes of an answer.
type Verdict int

// The verdicts.
const (
	Accepted Verdict = iota
	Late             // no such call is pending: it timed out, or was answered
	Foreign          // the call is with another provider, or with none yet
	Orphaned         // no caller with that id has ever called, or it is gone
)

// Sink is where a caller learns what became of its calls. Its methods must not
// block.
type Sink interface {
	// CallFailed tells that a call ended without an answer.
	CallFailed(c *Call, o Outcome)
}

// Receiver is a Sink that takes answers as values. Who carries answers to sinks of
// another kind knows these.
type Receiver interface {
	Sink
	CallAnswered(c *Call, a Answer)
}

// Answer is what a provider has answered.
type Answer struct {
	Status      int
	Failed      int // the status of the error that it tells of; 0: none. Status may be 200 all the same.
	ContentType string
	Body        []byte // the receiver's
}

// Load is what a call is for the provider that works on it. Release is called once
// for each call that was taken with it, when the provider is done with it; not when
// the provider is gone. It must not block.
type Load interface{ Release() }

// Tally counts calls in flight: it learns when one is over, however it ended. It must not
// block.
type Tally interface{ Answered() }

// Call is one call. Its exported methods may be called by any number of goroutines.
type Call struct {
	id      string
	service *Service
	method  *method
	caller  *Peer
	over    atomic.Bool // written with Table.mu held

	began   Instant
	timeout time.Duration
	tally   Tally
	// Set by Take.
	taken    Instant
	provider *Provider // nil while the call waits
	load     Load
	ended    Instant

	// Guarded by Table.mu: links of the list of its service or provider's peer, of
	// its slot in the wheel, and of the caller's calls with the same id.
	prev, next     *Call
	due            int64 // tick; 0: in no slot
	earlier, later *Call
	same           *Call
}

// ID is the caller's id of the call.
func (c *Call) ID() string { return c.id }

// Caller is the id of the peer that made the call, with which its answer is addressed.
func (c *Call) Caller() string { return c.caller.id }

// Provider is the id of the peer that has answered it. Only good when that is so.
func (c *Call) Provider() string { return c.provider.peer.id }

// Sink is where the caller learns about it.
func (c *Call) Sink() Sink { return c.caller.sink }

// Waiting reports whether anybody still waits for an answer. It takes no lock.
func (c *Call) Waiting() bool { return !c.over.Load() }

// Times are how long the call waited for a provider, and how long that took. Only
// good when the call is over.
func (c *Call) Times() (queue, provider time.Duration) {
	if c.provider == nil {
		return time.Duration(c.ended - c.began), 0
	}
	return time.Duration(c.taken - c.began), time.Duration(c.ended - c.taken)
}

// Given reports whether a provider got the call. Only good when the call is over.
func (c *Call) Given() bool { return c.provider != nil }

// Text tells people about an outcome that is not an answer.
func (c *Call) Text(o Outcome) string {
	topic := "Topic(" + c.service.name + ")"
	switch o {
	case TimedOut:
		return fmt.Sprintf("%s did not answer within %d ms: the call may have run", topic, c.timeout.Milliseconds())
	case ProviderGone:
		return topic + " lost the provider that got the call before it answered: the call may have run"
	case Unavailable:
		return topic + " has no provider: start one that consumes it"
	case Answered, Abandoned:
	}
	return topic + ": " + o.String()
}

// Begin notes a call to a service, as of now. It waits until a provider takes it. The
// timeout is one that Table.Timeout gave. A peer that has left makes a call that is
// over.
func (p *Peer) Begin(now Instant, s *Service, name, id string, timeout time.Duration, tally Tally) *Call {
	t := p.table
	c := &Call{id: id, service: s, caller: p, began: now, timeout: timeout, tally: tally}
	t.mu.Lock()
	if p.left {
		c.over.Store(true)
		t.mu.Unlock()
		tally.Answered()
		return c
	}
	if p.calls == nil {
		p.calls = make(map[string]*Call)
		t.peers[p.id] = p
	}
	if first := p.calls[id]; first != nil {
		for first.same != nil {
			first = first.same
		}
		first.same = c
	} else {
		p.calls[id] = c
	}
	c.method = s.methodOf(name)
	c.method.begin(now)
	s.waiting.push(c)
	c.due = max((now+Instant(timeout)).tick(), t.wheel.now) + 1
	t.wheel.add(c)
	early := c.due < t.sleeping
	t.mu.Unlock()
	if early {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
	return c
}

// Take notes that the peer is given some calls, each with the given load. Its answers,
// and no other's, will be accepted. A call that no caller still waits for stays
// over; one that is given to a peer which has left fails with that.
func (p *Peer) Take(load Load, calls ...*Call) {
	t := p.table
	now := t.Now()
	var lost *Call
	t.mu.Lock()
	for _, c := range calls {
		if c.over.Load() {
			p.late(load)
			continue
		}
		q := p.provider(c.service)
		c.service.waiting.remove(c)
		c.taken, c.provider, c.load = now, q, load
		p.given.push(c)
		q.given++
		q.inFlight++
		c.service.inFlight++
		if p.left {
			t.end(c, ProviderGone, now)
			c.later, lost = lost, c
		}
	}
	t.mu.Unlock()
	report(lost, ProviderGone)
}

// Answer is called when a peer answers, as of now, the call with the given id of the
// caller with the given id. When it is Accepted, the call is over and the answer has to be
// brought to its sink; otherwise there is no call, and Table.Drop is to be told. failed is the
// status of the error that the answer tells of; 0: none.
func (p *Peer) Answer(now Instant, caller, id string, failed int) (*Call, Verdict) {
	t := p.table
	t.mu.Lock()
	// Whatever it answers, it is alive: what it owed by then counts no longer.
	overdue := p.overdue
	p.overdue = nil
	c, verdict := t.find(p, caller, id)
	if c != nil {
		if failed >= 400 {
			c.method.fault(now, failed)
			c.service.taken.Failed++
		}
		t.end(c, Answered, now)
	}
	t.mu.Unlock()
	if c != nil {
		c.load.Release()
	}
	for _, load := range overdue {
		load.Release()
	}
	return c, verdict
}

// nearby is how many calls a provider may have got before one that it answers, for
// that to be found without a look into maps: most providers answer in order.
const nearby = 4

// find looks for the call that p may answer. Called with the lock held.
func (t *Table) find(p *Peer, caller, id string) (*Call, Verdict) {
	for c, n := p.given.first, 0; c != nil && n < nearby; c, n = c.next, n+1 {
		if c.id == id && c.caller.id == caller {
			return c, Accepted
		}
	}
	from := t.peers[caller]
	if from == nil {
		return nil, Orphaned
	}
	first := from.calls[id]
	for c := first; c != nil; c = c.same {
		if c.provider != nil && c.provider.peer == p {
			return c, Accepted
		}
	}
	if first == nil {
		return nil, Late
	}
	return nil, Foreign
}

// Refuse ends a call that could not be handed to a provider. It reports false if the
// call was over already; otherwise its caller has to be told by the one that refused it.
func (c *Call) Refuse() bool {
	t := c.caller.table
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.over.Load() {
		return false
	}
	t.end(c, Unavailable, now)
	return true
}

// Unserved ends a call that no provider got, and tells its caller.
func (c *Call) Unserved() {
	if c.Refuse() {
		c.caller.sink.CallFailed(c, Unavailable)
	}
}

// end takes a call out of everything and counts its outcome. Called with the lock
// held, once a call.
func (t *Table) end(c *Call, o Outcome, now Instant) {
	c.over.Store(true)
	c.ended = now
	c.tally.Answered()
	c.caller.forget(c)
	if c.due != 0 {
		t.wheel.remove(c)
		c.due = 0
	}
	s := c.service
	if q := c.provider; q == nil {
		s.waiting.remove(c)
	} else {
		q.peer.given.remove(c)
		q.inFlight--
		s.inFlight--
		switch o {
		case Answered:
			q.answered++
		case TimedOut, Abandoned:
			q.peer.late(c.load) // it may still be at it
		case ProviderGone, Unavailable, outcomes:
		}
	}
	c.method.end(c, o, now)
	s.ended(o, time.Duration(now-c.began))
}

// list is calls in the order in which they were pushed. Guarded by Table.mu.
type list struct {
	first, last *Call
	n           int
}

func (l *list) push(c *Call) {
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *list) remove(c *Call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}
