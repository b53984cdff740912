package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Group is one consume group: a cursor into its topic's log, the messages that
// are under way, and the consumers that share them. Its methods may be called by
// any number of goroutines.
type Group struct {
	t    *Topic
	b    *Broker
	id   storage.GroupID
	name string // as first declared

	loaded bool // it was there when the broker was opened

	wake chan struct{} // capacity 1: one token says "there may be something to deliver"
	turn sync.Mutex    // held by who looks and delivers; taken before mu

	// settledTo is the cursor, readable without the lock.
	settledTo atomic.Int64
	counters  groupCounters
	// deliveries are how old messages were when they went out for the first time.
	deliveries durations

	alarm atomic.Pointer[alarm] // when timers looks at the group; written under timers.mu

	mu     sync.Mutex
	def    storage.Group  // guarded by mu; its Progress is what was last saved
	filter *filter.Filter // guarded by mu; compiled from def.Filter
	gone   bool           // removed
	left   bool           // to be removed, unless a session comes first
	moving bool           // a relocation is being committed; nothing is delivered or saved

	cursor  int64          // every offset below is settled
	next    int64          // offset the pump reads next; cursor ≤ next
	seen    int64          // offsets below were handed out before the broker started
	settled storage.Ranges // settled offsets in [cursor, next)

	flying         flights                  // explicit groups: in flight, due = ack timeout
	returned       flights                  // came back, due = not before
	dead           []*flight                // delivered too often; stay until their letters are stored
	deadRetry      deadRetry                // of these
	storingLetters bool                     // letters are being committed; nothing is saved
	parked         map[int64]storage.Parked // what the parked table has, by offset
	noted          map[int64]*flight        // those that may need another row there
	acks           []func(error)            // waiting for the next save
	page           []storage.Record         // read and not delivered yet; see pages

	subs    []*Subscription // all, in the order they came
	ready   ready           // those with credit
	resting resting         // those with credit whose accounts have had as much as they may
	pumping bool            // a pump goroutine lives
}

// groupCounters count what happened since the broker started.
type groupCounters struct {
	delivered, redelivered, dead, timeouts, damaged atomic.Int64
}

// GroupCounts are totals of a group since the broker started.
type GroupCounts struct {
	Delivered   int64 // deliveries, repeated ones included
	Redelivered int64 // of these, the repeated ones
	Dead        int64 // messages given up after too many deliveries
	Timeouts    int64 // deliveries that were not acked in time
	Damaged     int64 // messages that were not delivered because they are damaged or missing
}

// Counts are the group's totals.
func (g *Group) Counts() GroupCounts {
	c := &g.counters
	return GroupCounts{
		Delivered: c.delivered.Load(), Redelivered: c.redelivered.Load(),
		Dead: c.dead.Load(), Timeouts: c.timeouts.Load(), Damaged: c.damaged.Load(),
	}
}

func newGroup(t *Topic, def storage.Group) (*Group, error) {
	f, err := filter.Parse(def.Filter)
	if err != nil && t.Refused() != nil {
		f, err = filter.Parse("")
	}
	if err != nil {
		return nil, err
	}
	if t.Memory() {
		def.Progress = storage.Progress{Cursor: t.First(), Read: t.First()}
	}
	g := &Group{
		t: t, b: t.b, id: def.ID, name: def.Name, def: def, filter: f,
		wake:   make(chan struct{}, 1),
		parked: make(map[int64]storage.Parked),
	}
	g.moveTo(def.Progress)
	return g, nil
}

// moveTo puts the group where a stored Progress says. What was handed out but not
// settled is read again from the log.
func (g *Group) moveTo(p storage.Progress) {
	g.cursor, g.next, g.seen = p.Cursor, p.Cursor, p.Read
	g.settled = slices.Clone(p.Settled)
	g.settledTo.Store(g.cursor)
	g.dropPage()
	if g.cursor < g.t.First() {
		g.b.timers.at(g, g.b.clock())
	}
}

// Name is the group's name as it was first declared.
func (g *Group) Name() string { return g.name }

// Topic is the topic the group reads.
func (g *Group) Topic() *Topic { return g.t }

// ID is the group's number in the store.
func (g *Group) ID() storage.GroupID { return g.id }

// GroupInfo is a snapshot of a group.
type GroupInfo struct {
	storage.Group     // the definition, with the present Progress
	InFlight      int // delivered, waiting for an ack
	Returned      int // waiting for another attempt
	DeadLetters   DeadLetters
	Consumers     []string // names of the subscribers
}

// Info is a snapshot of the group.
func (g *Group) Info() GroupInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	info := GroupInfo{Group: g.def, InFlight: g.flying.len(), Returned: g.returned.len()}
	info.Progress = g.standing()
	info.DeadLetters = DeadLetters{Waiting: len(g.dead), Cause: g.deadRetry.cause}
	if g.deadRetry.due > 0 {
		info.DeadLetters.Retry = max(0, g.deadRetry.due-g.b.clock())
	}
	info.Consumers = make([]string, len(g.subs))
	for i, s := range g.subs {
		info.Consumers[i] = s.sink.Name()
	}
	return info
}

// progress is the group's position as it would be stored. Called with g.mu held.
func (g *Group) progress() storage.Progress {
	return storage.Progress{Cursor: g.cursor, Read: max(g.next, g.seen), Settled: slices.Clone(g.settled)}
}

// progressWith is progress with some more messages settled. Called with g.mu held.
func (g *Group) progressWith(over []*flight) storage.Progress {
	p := g.progress()
	for _, f := range over {
		if f.offset >= p.Cursor {
			p.Settled.Add(f.offset, f.offset+1)
		}
	}
	p.Cursor = p.Settled.Advance(p.Cursor)
	return p
}

// standing is the group's position in the log as it is now: what the topic has just
// dropped needs no settling. Called with g.mu held.
func (g *Group) standing() storage.Progress {
	p := g.progress()
	p.Cursor = p.Settled.Advance(max(p.Cursor, g.t.First()))
	p.Read = max(p.Read, p.Cursor)
	return p
}

// Cursor is the offset below which every message is settled or dropped.
func (g *Group) Cursor() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.standing().Cursor
}

// explicit reports whether messages are settled by acks. Calls never are: one that
// came back would run a second time.
func (g *Group) explicit() bool { return g.def.Settle == storage.SettleExplicit && !g.t.Calls() }

// ackWindow is how many messages may be in flight. Called with g.mu held.
func (g *Group) ackWindow() int {
	if g.def.AckWindow > 0 {
		return int(min(g.def.AckWindow, maxAckWindow))
	}
	return DefaultAckWindow
}

// ackTimeout is in milliseconds. Called with g.mu held.
func (g *Group) ackTimeout() int64 {
	if g.def.AckTimeout > 0 {
		return g.def.AckTimeout
	}
	return DefaultAckTimeout
}

// AckTimeout is how long a delivery may stay unanswered, in milliseconds.
func (g *Group) AckTimeout() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ackTimeout()
}

// AckWindow is the most messages that may be in flight.
func (g *Group) AckWindow() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.ackWindow())
}

// What a group has that does not say.
const (
	DefaultAckTimeout = 10_000 // milliseconds
	DefaultAckWindow  = 1_000
)

const maxAckWindow = 10_000

// wakeUp tells the pump, if there is one, to look for work.
func (g *Group) wakeUp() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// settle marks offsets as done. Called with g.mu held; the caller has the group
// saved afterwards.
func (g *Group) settle(lo, hi int64) {
	if lo <= g.cursor {
		if hi <= g.cursor {
			return
		}
		g.cursor = hi
	} else {
		g.settled.Add(lo, hi)
	}
	if len(g.settled) > 0 {
		g.cursor = g.settled.Advance(g.cursor)
	}
	g.settledTo.Store(g.cursor)
}

// requeue returns a delivered message to the group: to be delivered again at
// due, or, after too many deliveries, to the dead letters. Called with g.mu held.
func (g *Group) requeue(f *flight, due int64, cause string) {
	f.sub, f.due, f.cause = nil, due, cause
	g.note(f)
	g.comeBack(f)
}

// comeBack puts a message among those that are delivered again, or the dead ones.
// Called with g.mu held.
func (g *Group) comeBack(f *flight) {
	if !g.over(f) {
		g.returned.put(f)
		return
	}
	f.due = 0
	g.dead = append(g.dead, f)
	g.tidy()
}

// skipTrimmed settles what the topic dropped under the group, wherever it is: with a
// consumer, where it takes room in the window, on its way back or to the dead letters.
// Called with g.mu held; reports whether the position changed.
func (g *Group) skipTrimmed() bool {
	first := g.t.First()
	if g.cursor >= first {
		return false
	}
	for _, f := range g.flying.below(first) {
		g.land(f)
	}
	for _, f := range g.returned.below(first) {
		g.returned.remove(f)
	}
	g.dead = slices.DeleteFunc(g.dead, func(f *flight) bool { return f.offset < first })
	g.settle(g.cursor, first)
	g.next = max(g.next, g.cursor)
	return true
}

// land takes a message out of flight. Called with g.mu held.
func (g *Group) land(f *flight) {
	g.flying.remove(f)
	f.sub.held--
}

// apply puts the group at a new position after a relocation was committed. Messages
// under way are void: their handles name an epoch that is over. Called with g.mu
// held.
func (g *Group) apply(to storage.Progress) {
	g.def.Epoch++
	g.def.Progress = to
	g.moveTo(g.def.Progress)
	for _, f := range g.flying.queue {
		f.sub.held--
	}
	g.flying.clear()
	g.returned.clear()
	g.dead = nil
	g.parked, g.noted = make(map[int64]storage.Parked), nil
}
