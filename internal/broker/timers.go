package broker

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// timers looks after what is due in groups, whether anyone consumes from them or
// not: deliveries that were not acked in time, messages that may be delivered again,
// positions below the beginning of the log. One goroutine serves all groups and sleeps
// until the next thing is due. It goes by Broker.clock, so setting the wall
// clock makes it late or early.
type timers struct {
	b    *Broker
	wake chan struct{} // capacity 1: the first alarm is another one than before

	mu    sync.Mutex // a leaf: no other lock is taken while it is held
	queue alarms     // guarded by mu
}

// alarm is when timers looks at a group next.
type alarm struct {
	group *Group
	due   int64 // on Broker.clock
	index int   // place in the heap
}

func (t *timers) init(b *Broker) {
	t.b, t.wake = b, make(chan struct{}, 1)
}

// at has the group looked at when it is due, or earlier. Most calls change nothing
// and cost one load: a group that has deliveries in flight has an alarm already. That
// may be an early one, as alarms are not taken back; it is then set anew. The caller
// has made what it wants to be looked at visible before the call, or holds g.mu.
func (t *timers) at(g *Group, due int64) {
	if a := g.alarm.Load(); a != nil && a.due <= due {
		return
	}
	t.mu.Lock()
	if a := g.alarm.Load(); a == nil || a.due > due {
		if a != nil {
			heap.Remove(&t.queue, a.index)
		}
		a = &alarm{group: g, due: due}
		heap.Push(&t.queue, a)
		g.alarm.Store(a)
	}
	first := t.queue[0].group == g
	t.mu.Unlock()
	if first {
		t.look()
	}
}

// look has the first alarm looked at, since it or the clock is another than before.
func (t *timers) look() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// cancel takes the alarm of a removed group back, which may be days away.
func (t *timers) cancel(g *Group) {
	t.mu.Lock()
	if a := g.alarm.Swap(nil); a != nil {
		heap.Remove(&t.queue, a.index)
	}
	t.mu.Unlock()
}

// run looks after groups until ctx ends.
func (t *timers) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		g, wait := t.next()
		if g != nil {
			g.lookAfter()
			continue
		}
		timer.Reset(wait)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// next takes the alarm of a group that is due, or tells how long there is none. The
// alarm goes before its group is looked at: what changes from then on sets a new one.
func (t *timers) next() (g *Group, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return nil, time.Hour
	}
	first := t.queue[0]
	if ms := first.due - t.b.clock(); ms > 0 {
		return nil, time.Duration(min(ms, time.Hour.Milliseconds())) * time.Millisecond
	}
	heap.Pop(&t.queue)
	first.group.alarm.Store(nil)
	return first.group, 0
}

// movePause is how long timers waits for a relocation that is being committed.
const movePause = 20 // milliseconds

// lookAfter does what is due in the group now, and sets the next alarm.
func (g *Group) lookAfter() {
	b := g.b
	g.mu.Lock()
	now := b.clock()
	switch {
	case g.gone:
		g.mu.Unlock()
		return
	case g.moving:
		b.timers.at(g, now+movePause)
		g.mu.Unlock()
		return
	}
	changed := g.expire(now)
	changed = g.skipTrimmed() || changed
	ready := changed
	if f := g.returned.first(); f != nil {
		if ready = ready || f.due <= now; f.due > now {
			b.timers.at(g, f.due)
		}
	}
	if len(g.dead) > 0 || g.deadRetry.pause > 0 || g.left {
		if g.deadRetry.due > now {
			b.timers.at(g, g.deadRetry.due)
		} else {
			g.tidy()
		}
	}
	g.mu.Unlock()
	if ready {
		g.wakeUp()
	}
	if changed {
		g.toSave(false)
	}
}

// expire gives back what was not acked in time (see [Group.ackTimeout]), and reports whether there was any.
// Called with g.mu held.
func (g *Group) expire(now int64) (changed bool) {
	for f := g.flying.first(); f != nil; f = g.flying.first() {
		if f.due > now {
			g.b.timers.at(g, f.due)
			return changed
		}
		g.land(f)
		g.counters.timeouts.Add(1)
		g.requeue(f, 0, "ack timeout")
		changed = true
	}
	return changed
}

// dropped has the groups looked after that are below the beginning of the log.
// Called with t.mu held, which is why it leaves the groups alone.
func (t *Topic) dropped() {
	first := t.first.Load()
	for _, g := range t.groups {
		if g.settledTo.Load() < first {
			t.b.timers.at(g, t.b.clock())
		}
	}
}

// alarms is a heap of alarms, the earliest first.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].due < h[j].due }

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}

func (h *alarms) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
