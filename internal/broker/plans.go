package broker

import (
	"slices"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// plans are those that can still be applied, and what is left of those that were. They
// go when they have expired, and the oldest before that when there are too many or
// they hold too much.
type plans struct {
	limit int64 // bytes of all; set once

	mu    sync.Mutex
	byID  map[string]*Plan // guarded by mu
	old   []*Plan          // guarded by mu: the same, oldest first
	bytes int64            // guarded by mu: cost of all
}

// keep adds a plan. It may alone be larger than all may be.
func (p *plans) keep(n *Plan, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropExpired(now)
	if p.byID == nil {
		p.byID = make(map[string]*Plan)
	}
	p.byID[n.ID] = n
	p.old = append(p.old, n)
	p.bytes += n.cost()
	for len(p.old) > maxPlans || p.bytes > p.limit && len(p.old) > 1 {
		p.dropAt(0)
	}
}

func (p *plans) get(id string) *Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

func (p *plans) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.old, p.byID[id]); i >= 0 {
		p.dropAt(i)
	}
}

// spend leaves of a plan what says that it can no longer be applied, until it would
// have expired.
func (p *plans) spend(n *Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.old, n)
	if i < 0 {
		return // it has gone, or another one who applied it was here
	}
	left := &Plan{
		ID: n.ID, Group: n.Group, Place: n.Place, Tolerance: n.Tolerance, Examples: n.Examples,
		Created: n.Created, Expires: n.Expires, until: n.until, spent: true,
	}
	p.bytes += left.cost() - n.cost()
	p.byID[n.ID], p.old[i] = left, left
}

// expire drops what has expired.
func (p *plans) expire(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropExpired(now)
}

// dropExpired is expire. Called with p.mu held.
func (p *plans) dropExpired(now int64) {
	for len(p.old) > 0 && p.old[0].until < now {
		p.dropAt(0)
	}
}

// dropAt drops a plan by its place in p.old. Called with p.mu held.
func (p *plans) dropAt(i int) {
	n := p.old[i]
	p.bytes -= n.cost()
	delete(p.byID, n.ID)
	p.old = slices.Delete(p.old, i, i+1) // which clears the last one, so that it is let go of
}

// planOverhead is about what a plan costs in memory beyond its content.
const planOverhead = 1 << 10

// cost is about how many bytes of memory a plan holds. It does not change.
func (p *Plan) cost() int64 {
	n := int64(planOverhead + len(p.Place.ID) + len(p.Place.Group) + 16*len(p.From.Settled))
	for _, list := range [][]storage.Record{p.First, p.Last} {
		for i := range list {
			n += exampleCost(&list[i])
		}
	}
	return n
}
