package broker

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// The model says where each message is in each group. It does not foretell what
// the broker delivers to whom: it watches, and every delivery has to be one that
// the state of the message allows. Whenever nothing moves, whatever
// could be delivered must have been, and broker and model agree on what is
// settled.

type state int

const (
	waiting  state = iota // never delivered, or not since the restart
	flying                // a consumer has it
	returned              // came back
	dying                 // delivered too often, on its way to the dead letters
	passed                // filtered out; settled as soon as what lies around it is
	settled
)

// fate is where one message is in one group.
type fate struct {
	offset int64
	state  state
	count  int64 // deliveries so far
	sent   bool  // the last one was reported as written
	due    int64 // flying: time of the ack timeout; returned: not before
	at     int64 // time of the last change
	sure   bool  // a caller was told that the change is on disk

	holder *modelClient // flying
	batch  *Batch       // flying
}

// GoString is how a failing run shows what it drew.
func (f *fate) GoString() string {
	return fmt.Sprintf("%s of %s: %d, count %d", f.holder.name, f.holder.group.name(), f.offset, f.count)
}

func (c *modelClient) GoString() string { return c.name + " of " + c.group.name() }
func (g *modelGroup) GoString() string  { return g.name() }

// unsaved is how long a change that nobody waits for may stay in memory, in
// milliseconds: the saver's interval, and one for the rounding.
const unsaved = int64(saveInterval/time.Millisecond) + 1

// modelClient is one consumer: a Sink that notes its deliveries in the order of
// its group.
type modelClient struct {
	group   *modelGroup
	name    string
	sub     *Subscription
	credit  int64
	batches []*Batch // not reported yet
	left    bool     // it settles what it was given later
	ended   bool     // guarded by group.mu
}

func (c *modelClient) Name() string    { return c.name }
func (c *modelClient) Session() string { return c.name }

func (c *modelClient) Deliver(b *Batch) {
	c.group.mu.Lock()
	c.group.news = append(c.group.news, delivery{c, b, nowMS()})
	c.group.mu.Unlock()
}

func (*modelClient) Flush() {}

func (c *modelClient) Ended(*Subscription) {
	c.group.mu.Lock()
	c.ended = true
	c.group.mu.Unlock()
}

type delivery struct {
	to *modelClient
	b  *Batch
	at int64
}

func nowMS() int64 { return time.Now().UnixMilli() }

// modelGroup is what a group should be.
type modelGroup struct {
	m       *model
	g       *Group
	spec    GroupSpec
	paused  bool
	filter  *filter.Filter
	fates   map[int64]*fate
	head    int64 // below: delivered or passed over
	seen    int64 // below: may have been delivered before the restart
	clients []*modelClient
	away    []*modelClient // left, and may still hold something

	mu   sync.Mutex
	news []delivery // guarded by mu: not absorbed yet
}

func (g *modelGroup) explicit() bool { return *g.spec.Settle == storage.SettleExplicit }

// fate is that of one message; one not spoken of yet is waiting.
func (g *modelGroup) fate(offset int64) *fate {
	f := g.fates[offset]
	if f == nil {
		f = &fate{offset: offset}
		g.fates[offset] = f
	}
	return f
}

func (g *modelGroup) set(offset int64, s state) *fate {
	f := g.fate(offset)
	f.state, f.at, f.sure, f.sent, f.holder, f.batch = s, nowMS(), false, false, nil, nil
	return f
}

// requeue is a delivery that came to nothing.
func (g *modelGroup) requeue(offset, due int64) {
	f := g.fate(offset)
	if most := *g.spec.MaxDeliver; g.explicit() && most > 0 && f.count >= most {
		g.set(offset, dying)
		g.m.dying[letter{g.name(), offset}]++
		return
	}
	g.set(offset, returned).due = due
}

func (g *modelGroup) name() string { return g.spec.Name }

// matches tells whether the group wants a message, as its filter is now.
func (g *modelGroup) matches(offset int64) bool { return g.filter.Match(g.m.recs[offset].Tag) }

// expire gives back what was not acked by the given time.
func (g *modelGroup) expire(now int64) {
	for _, offset := range slices.Sorted(maps.Keys(g.fates)) {
		if f := g.fates[offset]; g.explicit() && f.state == flying && f.due <= now {
			g.requeue(offset, 0)
		}
	}
}

// absorb takes note of what the broker has done since the last time.
func (g *modelGroup) absorb() {
	g.mu.Lock()
	news := g.news
	g.news = nil
	g.mu.Unlock()
	for _, d := range news {
		g.expire(d.at)
		d.to.batches = append(d.to.batches, d.b)
		for i := range d.b.Items {
			g.delivered(d, i)
		}
	}
	g.expire(nowMS())
	g.passOver()
}

// delivered checks one delivery against the state of its message.
func (g *modelGroup) delivered(d delivery, i int) {
	m, item := g.m, d.b.Items[i]
	offset := item.Record.Offset
	if offset >= int64(len(m.recs)) || item.Record.ID != m.recs[offset].ID || item.Record.Tag != m.recs[offset].Tag {
		m.Fatalf("%s: offset %d carries another message than was stored there", g.name(), offset)
	}
	d.to.credit--
	if d.to.credit < 0 || item.Credit != d.to.credit {
		m.Fatalf("%s: credit %d after offset %d, want %d", g.name(), item.Credit, offset, d.to.credit)
	}
	f := g.fate(offset)
	want := f.count + 1
	switch f.state {
	case returned:
		if f.due > d.at {
			m.Fatalf("%s: offset %d delivered %d ms early", g.name(), offset, f.due-d.at)
		}
	case waiting:
		g.fresh(offset)
		if want = 1; offset < g.seen {
			want = 2
		}
	default:
		m.Fatalf("%s: offset %d delivered in state %d, count %d", g.name(), offset, f.state, f.count)
	}
	if item.Count != want {
		m.Fatalf("%s: offset %d has delivery count %d, want %d", g.name(), offset, item.Count, want)
	}
	f = g.set(offset, flying)
	f.at, f.count, f.holder, f.batch = d.at, item.Count, d.to, d.b
	f.due = d.at + *g.spec.AckTimeout + 1 // the present millisecond is partly over
}

// fresh checks that a first delivery keeps the order and skips nothing.
func (g *modelGroup) fresh(offset int64) {
	switch {
	case offset < g.head:
		g.m.Fatalf("%s: offset %d delivered behind %d", g.name(), offset, g.head-1)
	case offset < g.m.began:
		g.m.Fatalf("%s: offset %d delivered, the log begins at %d", g.name(), offset, g.m.began)
	case !g.matches(offset):
		g.m.Fatalf("%s: offset %d delivered against the filter %q", g.name(), offset, g.filter)
	}
	g.skip(offset)
	g.head = offset + 1
}

// skip moves the head over messages that may be passed over, and no others.
func (g *modelGroup) skip(to int64) {
	for ; g.head < to; g.head++ {
		f := g.fate(g.head)
		if f.state != waiting || g.head < g.m.first {
			continue
		}
		if g.matches(g.head) {
			g.m.Fatalf("%s: offset %d was skipped", g.name(), g.head)
		}
		g.set(g.head, passed)
	}
}

// passOver notes what the broker has filtered out beyond the last delivery.
func (g *modelGroup) passOver() {
	g.g.mu.Lock()
	next := g.g.next
	g.g.mu.Unlock()
	g.skip(next)
}

// check compares broker and model when nothing moves.
func (g *modelGroup) check() {
	m, info := g.m, g.g.Info()
	busy, ready := 0, false
	for o, f := range g.fates {
		if f.state == flying && o >= m.first && g.explicit() {
			busy++
		}
	}
	if info.InFlight != busy {
		m.Fatalf("%s: %d in flight, want %d", g.name(), info.InFlight, busy)
	}
	for _, c := range g.clients {
		ready = ready || c.credit > 0
		if _, n := c.sub.Load(); n != int64(len(g.holds(c))) {
			m.Fatalf("%s: %s holds %d messages, want %d", g.name(), c.name, n, len(g.holds(c)))
		}
	}
	ready = ready && !g.paused && !(g.explicit() && busy >= int(*g.spec.AckWindow))
	if g.explicit() && busy > int(*g.spec.AckWindow) {
		m.Fatalf("%s: %d in flight, the window is %d", g.name(), busy, *g.spec.AckWindow)
	}
	lag := int64(0)
	for o := m.first; o < int64(len(m.recs)); o++ {
		f, done := g.fate(o), isSettled(&info.Progress, o)
		switch {
		case f.state == settled && !done:
			m.Fatalf("%s: offset %d is not settled in the broker, but in the model", g.name(), o)
		case f.state < dying && done:
			m.Fatalf("%s: offset %d is settled in the broker, but in state %d in the model", g.name(), o, f.state)
		case ready && f.state == waiting && g.matches(o),
			ready && f.state == returned && f.due <= nowMS():
			m.Fatalf("%s: offset %d (state %d) is not delivered although a consumer waits", g.name(), o, f.state)
		}
		if f.state == dying && !done {
			m.Fatalf("%s: offset %d was delivered too often and is still there", g.name(), o)
		}
		if f.state == dying && done {
			g.set(o, settled)
			m.dead[letter{g.name(), o}] = true
		}
		if !done && g.matches(o) {
			lag++
		}
	}
	if n := g.g.unsettled(); n != lag {
		m.Fatalf("%s: lag %d, want %d", g.name(), n, lag)
	}
	if info.Cursor > info.Read {
		m.Fatalf("%s: cursor %d beyond what was read, %d", g.name(), info.Cursor, info.Read)
	}
}

func isSettled(p *storage.Progress, offset int64) bool {
	return p.Done(offset)
}

// position puts the group at an offset, as a relocation or a declaration does.
func (g *modelGroup) position(to int64) {
	g.fates = make(map[int64]*fate)
	for o := range to {
		g.set(o, settled).sure = true
	}
	for o := to; o < int64(len(g.m.recs)); o++ {
		g.set(o, waiting).sure = true
	}
	g.head, g.seen = to, to
}

// finish consumes all that is left: nothing may be missing in the end.
func (g *modelGroup) finish() {
	g.m.setPaused(g, false)
	c := g.m.connect(g)
	for range 100 {
		c.sub.SetCredit("all", 100)
		c.credit = 100
		g.m.quiet()
		for _, x := range g.clients {
			g.report(x, len(x.batches), -1)
		}
		g.m.quiet()
		for _, o := range g.holds(c) {
			g.ack(o, g.fates[o])
		}
		time.Sleep(time.Second) // delays and timeouts of other consumers pass
		g.m.quiet()
		info := g.g.Info()
		if info.Cursor == int64(len(g.m.recs)) && info.InFlight+info.Returned == 0 {
			return
		}
	}
	g.m.Fatalf("%s: not all of %d messages can be consumed: %+v", g.name(), len(g.m.recs), g.g.Info())
}

// holds lists what a consumer of an explicit group may ack.
func (g *modelGroup) holds(c *modelClient) (list []int64) {
	for o, f := range g.fates {
		if g.explicit() && f.state == flying && f.holder == c && o >= g.m.first {
			list = append(list, o)
		}
	}
	slices.Sort(list)
	return list
}

// report tells the broker of the first batches of a consumer: all of them
// written, unless failed names the messages that still were.
func (g *modelGroup) report(c *modelClient, batches, failed int) {
	for ; batches > 0; batches-- {
		b := c.batches[0]
		c.batches = c.batches[1:]
		n := len(b.Items)
		if failed >= 0 {
			n = min(n, failed)
		}
		b.Done(n)
		g.reported(c, b, n)
	}
	synctest.Wait()
}

func (g *modelGroup) reported(c *modelClient, b *Batch, written int) {
	for i, item := range b.Items {
		f := g.fate(item.Record.Offset)
		if f.state != flying || f.batch != b {
			continue // relocated, timed out or settled since
		}
		switch {
		case g.explicit() && i < written && (c.left || slices.Contains(g.clients, c)):
			f.sent, f.at = true, nowMS()
		case i >= written: // never left the broker: does not count
			f.count--
			g.requeue(item.Record.Offset, 0)
		case !g.explicit():
			g.set(item.Record.Offset, settled)
		case g.explicit(): // the connection is gone since
			g.requeue(item.Record.Offset, 0)
		}
	}
}

func (g *modelGroup) ack(offset int64, f *fate) {
	h := handle(f.holder.sub.token, f.batch.epoch, f.count)
	if err := g.g.ackNow(offset, h); err != nil {
		g.m.Fatalf("%s: ack of offset %d: %v", g.name(), offset, err)
	}
	g.set(offset, settled).sure = true
}
