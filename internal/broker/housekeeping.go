package broker

import (
	"context"
	"sync"
)

// housekeeping does for groups what takes commits and keeps no client waiting: it moves
// dead messages to the dead-letter topics and removes groups that go with their last
// consumer. It has a goroutine of its own, so that acks do not wait for it.
type housekeeping struct {
	s    *shard
	wake chan struct{} // capacity 1: there is a group

	mu     sync.Mutex // a leaf: no other lock is taken while it is held
	groups map[*Group]struct{}
}

func (h *housekeeping) init(s *shard) {
	h.s, h.wake, h.groups = s, make(chan struct{}, 1), make(map[*Group]struct{})
}

// tidy has the group looked at soon by the housekeeping of its shard.
func (g *Group) tidy() { g.t.shard.housekeeping.add(g) }

// add has a group looked at soon.
func (h *housekeeping) add(g *Group) {
	h.mu.Lock()
	h.groups[g] = struct{}{}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, and then removes the groups that are still to go. Dead
// messages are left to the next process, which knows them.
func (h *housekeeping) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-h.wake:
		case <-ctx.Done():
		}
		for g := range h.take() {
			h.s.b.removeIfLeft(g)
			if h.s.b.storeDead(ctx, g) {
				h.add(g) // behind the others
			}
		}
	}
}

func (h *housekeeping) take() map[*Group]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	groups := h.groups
	h.groups = make(map[*Group]struct{})
	return groups
}

// removePause is how long a group that could not be removed is left alone, in
// milliseconds.
const removePause = 5000

// removeIfLeft removes a delete-on-exit group whose last session is gone, unless
// another one came in the meantime.
func (b *Broker) removeIfLeft(g *Group) {
	g.mu.Lock()
	left := g.left && len(g.subs) == 0 && !g.gone
	g.mu.Unlock()
	if !left || g.t.shard.failure() != nil {
		return
	}
	err := b.removeGroup(context.WithoutCancel(b.run), g.t.name, g.name, "", itself())
	if err != nil && CodeOf(err) != NotFound {
		b.log.Error("group not removed on exit", "topic", g.t.name, "group", g.name, "err", err)
		b.timers.at(g, b.clock()+removePause)
	}
}
