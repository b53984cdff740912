package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Plans are those that can still be applied, and what is left of those that were. They
// go when they have expired, and the oldest before that when there are too many or
// they hold too much. Their methods may be called by any number of goroutines.
type Plans struct {
	b     *broker.Broker
	limit int64 // bytes of all

	mu     sync.Mutex
	byID   map[string]*Plan // guarded by mu
	old    []*Plan          // guarded by mu: the same, oldest first
	bytes  int64            // guarded by mu: cost of all
	timer  *time.Timer      // guarded by mu: will drop the oldest; nil: there is none to drop
	closed bool             // guarded by mu
}

// NewPlans keeps plans of so many bytes; 0: 16 MiB.
func NewPlans(b *broker.Broker, limit int64) *Plans {
	return &Plans{b: b, limit: cmp.Or(limit, 16<<20), byID: make(map[string]*Plan)}
}

// Close stops the timer that drops expired plans. Nothing needs the plans then: none is dropped.
func (ps *Plans) Close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
	if ps.timer != nil {
		ps.timer.Stop()
	}
}

// Find finds a plan that was made since the broker started and has neither
// expired nor been applied, and whose group is still there. The account must be allowed to move that.
func (ps *Plans) Find(v broker.View, id string) (*Plan, error) {
	p, err := ps.ToApply(v, id)
	if err == nil && p.spent {
		return nil, planNotFound(id)
	}
	return p, err
}

// ToApply is Find for Apply, which has an answer of its own for a plan that was applied
// before.
func (ps *Plans) ToApply(v broker.View, id string) (*Plan, error) {
	p := ps.get(id)
	if p == nil || p.until.Before(time.Now()) || p.Group.Removed() {
		ps.drop(id)
		return nil, planNotFound(id)
	}
	return p, v.Check(access.Move, p.Group.Topic(), p.Group.Name())
}

func planNotFound(id string) error {
	return &broker.Error{Code: broker.NotFound, Text: fmt.Sprintf("no plan %q: it was applied, expired or its group was removed; make a new one", id)}
}

// Apply does what a plan says. When the group is no longer as the plan found it, as
// when the plan was applied before, nothing happens, the error is a Conflict, and
// fresh is a new plan for the same position, or nil when there is no longer such a position.
func (ps *Plans) Apply(ctx context.Context, v broker.View, p *Plan, reason string) (move broker.Move, fresh *Plan, err error) {
	g := p.Group
	move, err = v.RelocateIf(ctx, g, p.To, p.still, reason)
	switch {
	case err == nil:
		ps.spend(p)
	case broker.CodeOf(err) == broker.NotFound:
		ps.drop(p.ID)
	case broker.CodeOf(err) == broker.Conflict:
		ps.spend(p)
		again, planErr := ps.Make(ctx, v, g, p.Position, PlanOptions{Tolerance: p.Tolerance, Examples: p.Examples})
		if planErr != nil && (broker.CodeOf(planErr) != broker.NotFound || g.Removed()) {
			return move, nil, planErr
		}
		return move, again, err
	}
	return move, nil, err
}

// keep adds a plan. It may alone be larger than all may be.
func (ps *Plans) keep(n *Plan) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.dropExpired()
	ps.byID[n.ID] = n
	ps.old = append(ps.old, n)
	ps.bytes += n.cost()
	for len(ps.old) > maxPlans || ps.bytes > ps.limit && len(ps.old) > 1 {
		ps.dropAt(0)
	}
	ps.arm()
}

func (ps *Plans) get(id string) *Plan {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.byID[id]
}

func (ps *Plans) drop(id string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if i := slices.Index(ps.old, ps.byID[id]); i >= 0 {
		ps.dropAt(i)
	}
}

// spend leaves of a plan what says that it can no longer be applied, until it would
// have expired.
func (ps *Plans) spend(n *Plan) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	i := slices.Index(ps.old, n)
	if i < 0 {
		return // it has gone, or another one who applied it was here
	}
	left := &Plan{
		ID: n.ID, Group: n.Group, Position: n.Position, Tolerance: n.Tolerance, Examples: n.Examples,
		Created: n.Created, Expires: n.Expires, until: n.until, spent: true,
	}
	ps.bytes += left.cost() - n.cost()
	ps.byID[n.ID], ps.old[i] = left, left
}

// arm has the oldest plan dropped when it has expired. Called with ps.mu held.
func (ps *Plans) arm() {
	if ps.closed || ps.timer != nil || len(ps.old) == 0 {
		return
	}
	ps.timer = time.AfterFunc(time.Until(ps.old[0].until)+time.Millisecond, func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if ps.closed {
			return
		}
		ps.timer = nil
		ps.dropExpired()
		ps.arm()
	})
}

// dropExpired drops what has expired. Called with ps.mu held.
func (ps *Plans) dropExpired() {
	for at := time.Now(); len(ps.old) > 0 && ps.old[0].until.Before(at); {
		ps.dropAt(0)
	}
}

// dropAt drops a plan by its position in ps.old. Called with ps.mu held.
func (ps *Plans) dropAt(i int) {
	n := ps.old[i]
	ps.bytes -= n.cost()
	delete(ps.byID, n.ID)
	ps.old = slices.Delete(ps.old, i, i+1) // which clears the last one, so that it is let go of
}

// planOverhead is about what a plan costs in memory beyond its content.
const planOverhead = 1 << 10

// cost is about how many bytes of memory a plan holds. It does not change.
func (p *Plan) cost() int64 {
	n := int64(planOverhead + len(p.Position.ID) + len(p.Position.Group) + 16*len(p.From.Settled))
	for _, list := range [][]storage.Record{p.First, p.Last} {
		for i := range list {
			n += exampleCost(&list[i])
		}
	}
	return n
}
