package broker

import (
	"crypto/rand"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Sink is the receiving end of subscriptions: a connection. Its methods must not
// block.
type Sink interface {
	// Name identifies the consumer to people, such as a remote address.
	Name() string
	// Session identifies the connection; subscriptions of one session to an
	// exclusive group do not exclude each other.
	Session() string
	// Deliver takes a batch over, one call at a time per subscription. All other
	// consumers of the group wait for it, so sending is for Flush. Batch.Done has
	// to be called for the batch exactly once, on any goroutine.
	Deliver(*Batch)
	// Flush begins to send what was delivered. It is called after Deliver, maybe by
	// several goroutines at a time.
	Flush()
	// Ended tells that the subscription is over because its group is gone.
	Ended(*Subscription)
}

// Limited is a Sink whose account has limits of what it gets.
type Limited interface {
	Sink
	// Quota is what it may use; nil: as much as it wants. It must not block.
	Quota() *access.Quota
}

// Provider is a Sink that can bring answers to callers. No other gets calls: they
// would have nobody to answer them.
type Provider interface {
	Sink
	Provides()
}

// Delivery is one message handed to a consumer.
type Delivery struct {
	Record *storage.Record
	Count  int64 // 1 for the first attempt
	Credit int64 // what is left of the consumer's credit after it
	Call   Call  // the caller that waits for an answer; nil: none
}

// Batch is some messages for one subscription, in the order of delivery.
type Batch struct {
	Sub    *Subscription
	ID     string // of the consume request that gave the credit
	Window int64  // how much credit that request gave
	Auto   bool   // settled by being written; otherwise each message needs its ack
	Items  []Delivery

	lo, hi int64 // the span of the log the batch covers, filtered messages included
	epoch  int64
	bytes  int64
	spare  bool // it is of the reserve for small messages: see Group.squeezed
}

// Bytes is about how much memory the batch holds.
func (b *Batch) Bytes() int64 { return b.bytes }

// Subscription is one consumer in a group. Its methods may be called by any
// number of goroutines.
type Subscription struct {
	g       *Group
	sink    Sink
	limited Limited // the sink, if it is one

	// All below is guarded by g.mu.
	id        string // of the latest consume request
	token     string // secret part of this subscription's handles
	credit    int64
	window    int64 // credit given by that request
	unwritten int64 // bytes delivered and not yet reported by Batch.Done
	held      int   // messages in flight (explicit groups)
	busy      int64 // calls that it was given and did not release
	seq       int64 // order of those as busy, see ready
	place     int   // in g.ready, if it is there
	closed    bool
	left      bool // closed, and what it holds stays in flight
}

// Subscribe adds a consumer to the group. It gets nothing until it gives credit.
func (g *Group) Subscribe(sink Sink) (*Subscription, error) {
	if _, ok := sink.(Provider); g.t.Calls() && !ok {
		return nil, errorf(Invalid, "Topic(%s) is for calls: only a provider that speaks the native protocol can answer them", g.t.name)
	}
	if err := g.t.Refused(); err != nil {
		return nil, err
	}
	if err := g.t.consumable(); err != nil {
		return nil, err
	}
	s := &Subscription{g: g, sink: sink, token: rand.Text()}
	s.limited, _ = sink.(Limited)
	g.mu.Lock()
	if g.gone {
		g.mu.Unlock()
		return nil, groupNotFound(g.name)
	}
	if g.def.Exclusive {
		for _, other := range g.subs {
			if other.sink.Session() != sink.Session() {
				g.mu.Unlock()
				return nil, errorf(Conflict, "ConsumeGroup(%s) is exclusive: %w", g.name, ErrExclusive)
			}
		}
	}
	g.subs, g.left = append(g.subs, s), false
	start := !g.pumping
	g.pumping = true
	g.t.subs.Add(1)
	if start {
		g.b.pumps.Add(1)
		g.t.setActive(g, true)
	}
	g.mu.Unlock()
	if start {
		go g.pump()
	}
	g.b.opts.Changed()
	return s, nil
}

// quota is what the consumer may use.
func (s *Subscription) quota() *access.Quota {
	if s.limited == nil {
		return nil
	}
	return s.limited.Quota()
}

// Group is the group subscribed to.
func (s *Subscription) Group() *Group { return s.g }

// SetCredit allows n more deliveries, replacing what was left, and names the
// consume request that they answer. It reports false when the subscription is
// over, and then does nothing.
func (s *Subscription) SetCredit(id string, n int64) bool {
	g := s.g
	g.mu.Lock()
	if s.closed {
		g.mu.Unlock()
		return false
	}
	s.id, s.credit, s.window = id, n, n
	g.enqueue(s)
	g.mu.Unlock()
	g.serve()
	return true
}

// Waiting is the consume request that has credit left, if there is one. It can
// be asked when the subscription is over, too.
func (s *Subscription) Waiting() (id string, ok bool) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	return s.id, s.credit > 0
}

// Quit takes all credit back, so that nothing more is delivered, and reports whether all that
// was is settled.
func (s *Subscription) Quit() (idle bool) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.credit = 0
	return s.closed || s.held == 0 && s.unwritten == 0 && s.busy == 0
}

// Load is how many messages the subscription still takes, and how many it holds
// unacked.
func (s *Subscription) Load() (credit, inFlight int64) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	return s.credit, int64(s.held)
}

// Withdraw takes the credit back if it is still that of the given consume
// request and unused, and reports whether it did. After true, nothing is
// delivered for that request.
func (s *Subscription) Withdraw(id string) bool {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if s.closed || s.id != id || s.credit == 0 {
		return false
	}
	s.credit = 0
	return true
}

// enqueue puts a subscription among those that can be served. Called with g.mu
// held.
func (g *Group) enqueue(s *Subscription) {
	if !g.ready.has(s) && !s.closed && s.credit > 0 && s.room() > 0 {
		g.ready.push(s)
	}
}

// room is how many more bytes may be under way to the consumer. When all of them
// together hold half of what they may, each gets little at a time: those who
// take what they get continue with it, and it takes a crowd of stuck ones to fill
// the other half. Called with g.mu held.
func (s *Subscription) room() int64 {
	o := &s.g.b.opts
	share := o.PrefetchBytes
	if s.g.b.outbound.Load() > o.OutboundBytes/2 {
		share /= 64
	}
	return share - s.unwritten
}

// Close ends the subscription. What it holds unacked goes back to the group at
// once; batches not yet reported are returned by their Done. A group that is
// deleted on exit goes with its last subscription.
func (s *Subscription) Close() { s.close(false) }

// Leave ends the subscription of a consumer that settles what it was given later,
// by its handles: that stays in flight until then or until the ack timeout.
func (s *Subscription) Leave() { s.close(true) }

func (s *Subscription) close(left bool) {
	g := s.g
	g.mu.Lock()
	if s.closed {
		g.mu.Unlock()
		return
	}
	s.left = left
	g.drop(s)
	last := len(g.subs) == 0
	g.left = last && g.def.Ephemeral && !g.gone
	remove := g.left
	g.mu.Unlock()
	g.wakeUp()
	if remove {
		g.tidy()
	}
	g.toSave(false)
	g.b.opts.Changed()
}

// Abandon says that the connection that created the group for one consumer is gone. An ephemeral
// group without consumers goes then, as it goes with its last consumer.
func (g *Group) Abandon() {
	g.mu.Lock()
	remove := len(g.subs) == 0 && !g.gone && g.ephemeral()
	g.left = g.left || remove
	g.mu.Unlock()
	if remove {
		g.tidy()
	}
}

// ephemeral reports whether the group is one consumer's. Called with g.mu held.
func (g *Group) ephemeral() bool {
	return g.def.Ephemeral && strings.HasPrefix(g.name, Ephemeral)
}

// drop takes a subscription out of the group. Called with g.mu held.
func (g *Group) drop(s *Subscription) {
	s.closed = true
	g.subs = without(g.subs, s)
	if g.ready.has(s) {
		g.ready.remove(s)
	}
	g.t.subs.Add(-1)
	if s.held == 0 || s.left {
		return
	}
	for _, f := range append(flightHeap(nil), g.flying.queue...) {
		if f.sub == s && f.sent {
			g.land(f)
			g.requeue(f, 0, "connection lost")
		}
	}
}

// without is a new list, since part of the old one would keep what was taken out in memory: the
// connection, with all that it has.
func without(list []*Subscription, s *Subscription) []*Subscription {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Concat(list[:i], list[i+1:])
	}
	return list
}

// Done reports that the first n messages of the batch were written to the
// consumer and the others were not, because the connection is gone. In an auto
// group those n are settled now; the others go to another consumer.
func (b *Batch) Done(n int) {
	s := b.Sub
	g := s.g
	g.b.outbound.Add(-b.bytes)
	if b.spare {
		g.b.spare.Add(-b.bytes)
	}
	g.mu.Lock()
	s.unwritten -= b.bytes
	g.enqueue(s)
	if b.epoch == g.def.Epoch && !g.gone {
		if b.Auto {
			g.written(b, n)
		} else {
			g.sent(b, n)
		}
	}
	more := g.ready.len() > 0 && (g.next < g.t.Next() || g.returned.len() > 0)
	g.mu.Unlock()
	if more {
		g.wakeUp()
	}
	g.toSave(false)
}

// written settles the first n messages of an auto group's batch, and everything
// that was filtered out around them. A call is settled in any case: nobody knows what
// of it has reached the consumer, and it must not run twice. Called with g.mu held.
func (g *Group) written(b *Batch, n int) {
	if len(b.Items) > 0 && b.Calls() {
		n = len(b.Items)
	}
	lo := b.lo
	for _, item := range b.Items[n:] {
		offset := item.Record.Offset
		g.settle(lo, offset)
		f := &flight{offset: offset, count: item.Count - 1, cause: "connection lost"}
		g.note(f)
		g.returned.put(f)
		lo = offset + 1
	}
	g.settle(lo, b.hi)
}

// sent notes which messages of an explicit group's batch left the broker. The
// others come back, and this delivery does not count for them; so does what was
// written to a connection that has ended. Called with g.mu held.
func (g *Group) sent(b *Batch, n int) {
	for i, item := range b.Items {
		f := g.flying.get(item.Record.Offset)
		if f == nil || f.sub != b.Sub || f.count != item.Count {
			continue // answered or timed out already
		}
		if i < n && (!b.Sub.closed || b.Sub.left) {
			f.sent = true
			g.noteSent(f)
			continue
		}
		g.land(f)
		if i >= n {
			f.count--
		}
		g.requeue(f, 0, "connection lost")
	}
}
