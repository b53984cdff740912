package broker

import (
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Call is the other end of a message in a topic for calls: what waits for the answer.
type Call interface {
	// Waiting reports whether the answer is still waited for. It is called with locks
	// held, and must only look.
	Waiting() bool
	// Unserved ends the call, which no consumer got, as unavailable.
	Unserved()
}

// callLog has the calls behind the messages of a topic for calls, which follow each
// other without holes. Guarded by Topic.mu.
type callLog struct {
	end   int64  // offset behind the last one
	calls []Call // those below head are gone
	head  int
}

// nobody is the call behind a message that was published without waiting for an answer.
type nobody struct{}

func (nobody) Waiting() bool { return true }
func (nobody) Unserved()     {}

// push adds the calls of n messages that follow from an offset on.
func (l *callLog) push(offset int64, calls []Call, n int) {
	if l.head == len(l.calls) || l.end != offset { // or it was no RPC topic for a while
		clear(l.calls)
		l.calls, l.head = l.calls[:0], 0
	}
	for i := range n {
		c := Call(nobody{})
		if i < len(calls) && calls[i] != nil {
			c = calls[i]
		}
		l.calls = append(l.calls, c)
	}
	l.end = offset + int64(n)
}

// take gives out the call behind an offset. It does so once: what another group of
// the topic took, or the same one before it was relocated, is not there.
func (l *callLog) take(offset int64) Call {
	i := len(l.calls) - int(l.end-offset)
	if i < l.head || i >= len(l.calls) {
		return nil
	}
	c := l.calls[i]
	l.calls[i] = nil
	for l.head < len(l.calls) && l.calls[l.head] == nil {
		l.head++
	}
	return c
}

// trim drops the calls below an offset: their messages are gone.
func (l *callLog) trim(first int64) {
	n := min(len(l.calls)-int(l.end-first), len(l.calls))
	if n > l.head {
		clear(l.calls[l.head:n])
		l.head = n
	}
	// Half of it is over: the rest moves to the front.
	if l.head > len(l.calls)/2 {
		n := copy(l.calls, l.calls[l.head:])
		clear(l.calls[n:])
		l.calls, l.head = l.calls[:n], 0
	}
}

// A topic for calls that was declared so short a time ago has its first provider on the
// way: calls wait for it that long.
const (
	youngTopic   = 1000 // ms
	providerWait = 100 * time.Millisecond
)

// expectProvider reports whether a call may wait in a topic without a provider, and has
// those that wait refused when none comes. Called with t.mu held.
func (t *Topic) expectProvider() bool {
	if t.b.clock()-t.born > youngTopic || t.b.run.Err() != nil {
		return false
	}
	if !t.expecting {
		t.expecting = true
		t.b.pumps.Go(t.awaitProvider)
	}
	return true
}

// awaitProvider gives the first provider its time, which ends with the broker's.
func (t *Topic) awaitProvider() {
	timer := time.NewTimer(providerWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.b.run.Done():
	}
	t.noProvider()
}

// noProvider refuses the calls that have waited for the first provider, if none came.
func (t *Topic) noProvider() {
	t.mu.Lock()
	t.born, t.expecting = 0, false
	if t.subs.Load() > 0 {
		t.mu.Unlock()
		return
	}
	var waiting []Call
	for _, c := range t.calls.calls[t.calls.head:] {
		if c != nil {
			waiting = append(waiting, c)
		}
	}
	memoryLog{t}.forget(t.next.Load())
	t.mu.Unlock()
	for _, c := range waiting {
		c.Unserved()
	}
}

// takeCall is the call behind an offset, if it can still be given to a provider.
func (t *Topic) takeCall(offset int64) Call {
	t.mu.Lock()
	c := t.calls.take(offset)
	t.mu.Unlock()
	if c == nil || !c.Waiting() {
		return nil
	}
	return c
}

// keptCalls is how many bytes of calls that were handed out a topic keeps for people
// to look at.
const keptCalls = 1 << 20

// sweep lets go of calls that were handed out, before others are refused for want of
// room. Called with t.mu held.
func (t *Topic) sweep(cost int64) {
	if log := (memoryLog{t}); t.tail.bytes > keptCalls || t.b.memory.Load()+cost > t.b.opts.MemoryBytes {
		log.forget(log.settledBelow())
	}
}

// Attach says who waits for the answer to the message that was added last, if it was
// not refused.
func (p *Publishing) Attach(c Call) {
	q := p.parts[p.items[len(p.items)-1].part]
	for len(q.calls) < len(q.op.Records)-1 {
		q.calls = append(q.calls, nil)
	}
	q.calls = append(q.calls, c)
}

// LastID is the id of the message that was added last, in memory of its own, and
// false if the message was refused.
func (p *Publishing) LastID() (id string, ok bool) {
	it := &p.items[len(p.items)-1]
	return it.id, it.err == nil
}

// Release notes that the consumer is done with one of its calls.
func (s *Subscription) Release() {
	g := s.g
	g.mu.Lock()
	if s.busy--; s.busy == 0 {
		g.ready.idle(s)
	}
	if g.ready.has(s) {
		g.ready.fix(s)
	}
	g.mu.Unlock()
}

// Calls reports whether the messages of the batch are calls.
func (b *Batch) Calls() bool { return b.Items[0].Call != nil }

// wanted is the call behind a record for the subscription, which is busy with it
// from now on; ok is false when the record must not be delivered. Called with g.mu
// held.
func (g *Group) wanted(r *storage.Record) (c Call, ok bool) {
	if !g.t.Calls() {
		return nil, true
	}
	c = g.t.takeCall(r.Offset)
	return c, c != nil
}
