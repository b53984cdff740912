package broker

import (
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How the pump reads the log of a group that lags behind the tail.
const (
	pageRows  = 1024
	pageBytes = 192 << 10
)

// pump serves the group while it has subscriptions. It alone reads the log for the
// group. It calls the group's sinks, and so does serve.
func (g *Group) pump() {
	defer g.b.pumps.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait, alive := g.dispatch()
		if !alive {
			return
		}
		timer.Reset(wait)
		select {
		case <-g.wake:
		case <-timer.C:
		case <-g.b.run.Done():
			return
		}
	}
}

// round is what one look at the group's state told the pump to do.
type round struct {
	batches []*Batch
	retry   *flight // a returned message to load and deliver
	load    bool    // read the next page of the log
	from    int64   // of that page
	epoch   int64
	moved   bool          // offsets were settled
	wait    time.Duration // until there may be something to do without a wake-up
}

// dispatch delivers until there is nothing to deliver or no consumer to take it. It
// reports when to look again, and false when the pump has to end.
func (g *Group) dispatch() (wait time.Duration, alive bool) {
	for g.b.run.Err() == nil {
		g.turn.Lock()
		g.mu.Lock()
		if len(g.subs) == 0 {
			g.pumping = false
			g.t.setActive(g, false)
			g.mu.Unlock()
			g.turn.Unlock()
			return 0, false
		}
		r := g.look()
		g.mu.Unlock()
		g.deliver(&r)
		readable := true
		switch {
		case r.retry != nil:
			g.redeliver(&r)
		case r.load:
			readable = g.readPage(&r)
		}
		g.turn.Unlock()
		g.finish(&r)
		switch {
		case !readable:
			return time.Second, true
		case len(r.batches) == 0 && r.retry == nil && !r.load:
			return r.wait, true
		}
	}
	return 0, false
}

// deliver hands out what a look has put in flight. Called with g.turn held, so that
// each subscription gets its batches in order.
func (g *Group) deliver(r *round) {
	for _, b := range r.batches {
		b.Sub.sink.Deliver(b)
	}
}

// finish has sent what was delivered. Other goroutines can take their turn then: a system call
// takes longer than all the rest of a round.
func (g *Group) finish(r *round) {
	for _, b := range r.batches {
		b.Sub.sink.Flush()
	}
	if r.moved {
		g.toSave(false)
	}
}

// serve delivers what is in memory, on the goroutine of a consumer that has just
// given credit: one message at a time would cost a wake-up of the pump each. What
// takes longer, and what comes later, is the pump's.
func (g *Group) serve() {
	if g.b.run.Err() != nil || !g.turn.TryLock() {
		g.wakeUp()
		return
	}
	g.mu.Lock()
	r := g.look()
	g.mu.Unlock()
	g.deliver(&r)
	g.turn.Unlock()
	if r.retry != nil || r.load || r.wait < time.Hour {
		g.wakeUp()
	}
	g.finish(&r)
}

// look decides what comes next and takes it: messages given to a batch are in
// flight from here on. Called with g.mu held.
func (g *Group) look() round {
	r := round{epoch: g.def.Epoch, wait: time.Hour}
	if g.moving || g.gone || g.def.Paused || g.t.paused.Load() || g.t.shard.failed.Load() != nil {
		return r
	}
	r.moved = g.skipTrimmed()
	g.resume()
	for {
		s := g.nextReady()
		switch {
		case s == nil:
			r.wait = min(r.wait, g.resting.wait)
			return r
		case g.squeezed(s):
			// Another group's backlog fills the memory; nothing wakes us for that.
			r.wait = min(r.wait, 10*time.Millisecond)
			return r
		case g.explicit() && (g.flying.len() >= g.ackWindow() || len(g.dead) >= maxDead):
			return r
		}
		if f := g.returned.first(); f != nil {
			if f.due <= g.b.clock() {
				r.retry = f
				return r
			}
			g.b.timers.at(g, f.due)
		}
		b := g.fill(s)
		if b.hi > b.lo && len(b.Items) == 0 && !g.explicit() {
			g.settle(b.lo, b.hi)
		}
		r.moved = r.moved || b.hi > b.lo
		if len(b.Items) > 0 {
			g.hand(b)
			r.batches = append(r.batches, b)
			continue
		}
		if g.next < g.t.Next() {
			r.load = len(g.upcoming()) == 0
			r.from = g.next
			if r.load {
				return r
			}
			continue
		}
		return r
	}
}

// smallBytes is the size of a message for which there is room when large ones have filled
// what may be under way.
const smallBytes = 16 << 10

// squeezed reports whether a subscription gets nothing because of what others have not
// taken. Large messages leave a reserve to small ones, of which each gets one batch: so
// consumers that read continue, whatever others do not read. Called with g.mu held.
func (g *Group) squeezed(s *Subscription) bool {
	if !g.b.crowded() {
		return false
	}
	if g.b.spare.Load() >= g.b.opts.OutboundBytes/4 || s.unwritten > 0 || g.returned.len() > 0 {
		return true
	}
	recs := g.upcoming()
	return len(recs) > 0 && recs[0].Size() > smallBytes
}

// nextReady is the subscription to serve next, or nil: the first in the order of ready.go. Called
// with g.mu held.
func (g *Group) nextReady() *Subscription {
	for {
		s := g.ready.first()
		if s == nil {
			return nil
		}
		if !s.closed && s.credit > 0 && s.room() > 0 {
			wait := s.quota().Pause()
			if wait == 0 {
				return s
			}
			g.resting.add(s, wait)
		}
		g.ready.remove(s)
	}
}

// resting are the subscriptions that wait until their accounts may get more. Guarded by
// Group.mu.
type resting struct {
	subs []*Subscription
	wait time.Duration // of the one that waits shortest, when it was added
}

func (r *resting) add(s *Subscription, wait time.Duration) {
	if len(r.subs) == 0 {
		r.wait = wait
	}
	r.subs, r.wait = append(r.subs, s), min(r.wait, wait)
}

// resume has those that rest judged again. Called with g.mu held.
func (g *Group) resume() {
	again := g.resting.subs
	g.resting = resting{wait: time.Hour}
	for _, s := range again {
		g.enqueue(s)
	}
}

// upcoming is what is in memory of the log from g.next on. Called with g.mu held.
func (g *Group) upcoming() []storage.Record {
	if len(g.page) > 0 && g.page[0].Offset >= g.next {
		return g.page
	}
	g.dropPage()
	return g.t.view(g.next)
}

// fill takes the next messages of the log for a subscription: its credit, but no
// more than its share when others wait as well, or of calls than make it as busy as
// the next one. Called with g.mu held.
func (g *Group) fill(s *Subscription) *Batch {
	waiting := g.t.Next() - g.next
	share := (waiting + int64(g.ready.len()) - 1) / int64(g.ready.len())
	n := s.quota().Room(int(min(s.credit, max(share, g.ready.lead(), 1))))
	b := &Batch{Sub: s, ID: s.id, Window: s.window, lo: g.next, hi: g.next, epoch: g.def.Epoch}
	room := max(s.room(), 1) // the first message goes whatever its size
	for len(b.Items) < n && b.bytes < room {
		recs := g.upcoming()
		if len(recs) == 0 {
			break
		}
		used := g.take(b, recs, n, room)
		if len(g.page) > 0 {
			if g.page = g.page[used:]; len(g.page) == 0 {
				g.dropPage()
			}
		}
		if used < len(recs) {
			break
		}
	}
	b.hi = g.next
	return b
}

// take moves records into the batch and returns how many of recs it went over.
// Called with g.mu held.
func (g *Group) take(b *Batch, recs []storage.Record, n int, room int64) int {
	explicit, window := g.explicit(), g.ackWindow()
	if b.Items == nil {
		b.Items = make([]Delivery, 0, min(n, len(recs)))
	}
	for i := range recs {
		if len(b.Items) == n || b.bytes >= room || explicit && g.flying.len()+len(b.Items) >= window {
			return i
		}
		if !g.takeOne(b, g.alike(&recs[i]), explicit) || g.next < recs[i].End() {
			return i
		}
	}
	return len(recs)
}

// takeOne takes a record into the batch, or passes it over. It reports false when the
// record has to wait for the next batch. Called with g.mu held.
func (g *Group) takeOne(b *Batch, r *storage.Record, explicit bool) bool {
	count := int64(1)
	if r.Offset < g.seen {
		if g.known(r.Offset) {
			// Parked before the restart: it takes its own way (and may be under
			// way already), and must not lie inside a span that is settled as a
			// whole.
			if g.next = r.Offset; g.next > b.lo {
				return false
			}
			g.next++
			b.lo = g.next
			return true
		}
		count = 2
	}
	g.next = r.End()
	if count == 2 && (r.Offset < g.cursor || g.settled.Has(r.Offset)) {
		return true
	}
	if g.damaged(r) || !g.filter.Match(r.Tag) { // a damaged tag says nothing
		if explicit {
			g.settle(r.Offset, r.End())
		}
		return true
	}
	call, ok := g.wanted(r)
	if !ok {
		return true
	}
	b.Items = append(b.Items, Delivery{Record: r, Count: count, Call: call})
	b.bytes += r.Size() + recordOverhead
	return true
}

// alike shortens a record that stands for missing messages to those that the group knows
// the same of: some may be settled, and some on their way back. Called with g.mu held.
func (g *Group) alike(r *storage.Record) *storage.Record {
	if r.Missing <= 1 || r.Offset >= g.seen {
		return r
	}
	end := r.End()
	cut := func(at int64) {
		if at > r.Offset {
			end = min(end, at)
		}
	}
	if g.known(r.Offset) {
		cut(r.Offset + 1)
	}
	for at := range g.parked {
		cut(at)
	}
	for at := range g.noted {
		cut(at)
	}
	cut(g.cursor)
	for _, s := range g.settled {
		cut(s.Lo)
		cut(s.Hi)
	}
	part := *r
	part.Missing = end - r.Offset
	return &part
}

// damaged keeps a record that is not what was stored from being delivered, counts it
// and says so, whatever the filter lets through: it stays in the log for people to
// look at.
func (g *Group) damaged(r *storage.Record) bool {
	if !r.Damaged() {
		return false
	}
	g.counters.damaged.Add(r.End() - r.Offset)
	g.b.opts.Conditions.Raise(condition.Condition{
		Kind: damageKind, Subject: g.t.name, Severity: condition.Warning,
		Text: fmt.Sprintf("messages of Topic(%s) are damaged or missing: they are counted and not delivered; see zbus verify", g.t.name),
	})
	if r.Missing > 0 {
		g.b.log.Error("messages not delivered: they are missing from the store",
			"topic", g.t.name, "group", g.name, "offset", r.Offset, "messages", r.Missing)
		return true
	}
	g.b.log.Error("damaged message not delivered: its checksum does not match",
		"topic", g.t.name, "group", g.name, "offset", r.Offset)
	return true
}

// hand puts a batch in flight and charges its subscription, which is the one
// that nextReady found. Called with g.mu held.
func (g *Group) hand(b *Batch) {
	s, bodies := b.Sub, 0
	for i := range b.Items {
		bodies += len(b.Items[i].Record.Body)
		s.credit--
		b.Items[i].Credit = s.credit
		if b.Items[i].Call != nil {
			s.busy++
		}
		if b.Items[i].Count > 1 {
			g.counters.redelivered.Add(1)
		}
	}
	g.counters.delivered.Add(int64(len(b.Items)))
	g.noteAges(b)
	s.quota().Deliver(len(b.Items), int64(bodies))
	if b.Auto = !g.explicit(); !b.Auto {
		due := g.b.after(g.ackTimeout())
		for i := range b.Items {
			item := &b.Items[i]
			f := &flight{offset: item.Record.Offset, count: item.Count, due: due, sub: s}
			g.flying.put(f)
			g.noteAgain(f)
		}
		s.held += len(b.Items)
		g.b.timers.at(g, due)
	}
	s.unwritten += b.bytes
	// Another group may have filled the memory since squeezed looked: a large message that
	// goes then is not of the reserve.
	if b.spare = g.b.crowded() && b.Items[0].Record.Size() <= smallBytes; b.spare {
		g.b.spare.Add(b.bytes)
	}
	g.b.outbound.Add(b.bytes)
	// Served: from the head of the queue to its end.
	g.ready.remove(s)
	g.enqueue(s)
}

// readPage reads the next page of the log for the group.
func (g *Group) readPage(r *round) bool {
	recs, err := g.t.load(g.b.run, r.from, storage.Page{Rows: pageRows, Bytes: pageBytes})
	if err != nil || len(recs) == 0 {
		if r.from >= g.t.First() && g.b.run.Err() == nil {
			g.b.log.Error("messages can't be read", "topic", g.t.name, "group", g.name, "offset", r.from, "err", err)
			return false
		}
		return true
	}
	g.mu.Lock()
	if g.next == r.from && g.def.Epoch == r.epoch && !g.gone {
		g.keepPage(recs)
	}
	g.mu.Unlock()
	g.t.shard.pages.shrink()
	return true
}

// redeliver loads a returned message and gives it to the next subscription.
func (g *Group) redeliver(r *round) {
	f := r.retry
	rec, err := g.t.Message(g.b.run, f.offset)
	g.mu.Lock()
	if g.def.Epoch != r.epoch || g.gone || g.returned.get(f.offset) != f {
		g.mu.Unlock()
		return
	}
	if CodeOf(err) == NotFound && err != nil || err == nil && g.damaged(rec) {
		g.returned.remove(f)
		g.settle(f.offset, f.offset+1)
		g.mu.Unlock()
		g.toSave(false)
		return
	}
	if err != nil {
		f.due = g.b.clock() + 1000
		g.returned.put(f)
		g.mu.Unlock()
		g.b.log.Error("message can't be read", "topic", g.t.name, "group", g.name, "offset", f.offset, "err", err)
		return
	}
	s := g.nextReady()
	if s == nil {
		g.mu.Unlock()
		return
	}
	g.returned.remove(f)
	b := &Batch{
		Sub: s, ID: s.id, Window: s.window, lo: f.offset, hi: f.offset + 1, epoch: r.epoch,
		Items: []Delivery{{Record: rec, Count: f.count + 1}},
		bytes: rec.Size() + recordOverhead,
	}
	g.hand(b)
	g.mu.Unlock()
	s.sink.Deliver(b)
	r.batches = append(r.batches, b)
}
