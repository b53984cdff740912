package inspect

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// planned is a group of 20 messages, 10 of them consumed, and a plan to go back to
// the beginning.
func (r *rig) planned(tolerance int64) (g *broker.Group, c *consumer, p *Plan) {
	r.Helper()
	topic := r.topic("orders", 0, storage.Retention{})
	g = r.group(broker.GroupSpec{Topic: "orders"})
	r.mustPublish(topic, make([]string, 20)...)
	c = r.subscribe(g, "c")
	c.eager = true
	c.take(10)
	p = r.plan(g, at(0), PlanOptions{Tolerance: tolerance, Examples: 1})
	if found, err := r.plans.Find(r.v, p.ID); err != nil || found != p {
		r.Fatalf("the plan is not found: %v", err)
	}
	return g, c, p
}

// refused applies a plan that must not work, and gives the one to use instead.
func (r *rig) refused(p *Plan) *Plan {
	r.Helper()
	before := p.Group.Info()
	_, fresh, err := r.plans.Apply(context.Background(), r.v, p, "")
	if broker.CodeOf(err) != broker.Conflict || err == nil || fresh == nil {
		r.Fatalf("apply: %v and the fresh plan %v, want a conflict with one", err, fresh)
	}
	after := p.Group.Info()
	if after.Cursor != before.Cursor || after.Epoch != before.Epoch {
		r.Fatalf("refused, and the group went from %d to %d", before.Cursor, after.Cursor)
	}
	if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
		r.Fatalf("the refused plan is still there: %v", err)
	}
	if found, err := r.plans.Find(r.v, fresh.ID); err != nil || found != fresh || fresh.ID == p.ID {
		r.Fatalf("the fresh plan is not found: %v", err)
	}
	if fresh.Position != p.Position || fresh.Tolerance != p.Tolerance || fresh.Examples != p.Examples {
		r.Fatalf("the fresh plan is %+v, made from %+v", fresh, p)
	}
	return fresh
}

func TestFirstOfTwoPlansWins(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, first := r.planned(100)
		second := r.plan(g, at(20), PlanOptions{Tolerance: 100, Examples: 1})
		r.apply(first)
		if _, err := r.plans.Find(r.v, first.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("an applied plan is still there: %v", err)
		}
		fresh := r.refused(second)
		if fresh.From.Cursor != 0 || fresh.Skipped != 20 || fresh.To != 20 {
			r.Errorf("the fresh plan goes from %d to %d and skips %d, want 0, 20 and 20", fresh.From.Cursor, fresh.To, fresh.Skipped)
		}
		r.apply(fresh)
		if at := g.Info().Cursor; at != 20 {
			r.Errorf("cursor %d, want 20", at)
		}
	})
}

func TestPlanAppliedTwiceAtOnceIsDoneOnce(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, p := r.planned(100)
		release := r.store.HoldSync()
		errs := make(chan error, 2)
		apply := func() {
			_, _, err := r.plans.Apply(context.Background(), r.v, p, "")
			errs <- err
		}
		go apply()
		synctest.Wait() // it is being committed
		go apply()
		close(release)
		codes := []bool{<-errs == nil, <-errs == nil}
		if codes[0] == codes[1] {
			r.Errorf("success of the two: %t", codes)
		}
		if e := g.Info().Epoch; e != 1 {
			r.Errorf("the group was moved %d times", e)
		}
	})
}

func TestCursorMayMoveWithinTheToleranceOfAPlan(t *testing.T) {
	for _, c := range []struct {
		tolerance, consumed int64
		ok                  bool
	}{{3, 3, true}, {3, 4, false}, {0, 0, true}, {0, 1, false}} {
		inBubble(t, broker.Options{}, func(r *rig) {
			g, consumer, p := r.planned(c.tolerance)
			consumer.take(c.consumed)
			if c.ok {
				r.apply(p)
				return
			}
			if fresh := r.refused(p); fresh.From.Cursor != 10+c.consumed || fresh.Again != 10+c.consumed {
				r.Errorf("the fresh plan is from %d with %d again", fresh.From.Cursor, fresh.Again)
			}
			if list, _ := offsets(consumer.take(1)); !slices.Equal(list, []int64{10 + c.consumed}) {
				r.Errorf("then %s delivers %d", g.Name(), list)
			}
		})
	}
}

func TestChangedGroupMakesAPlanConflict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *rig, g *broker.Group)
	}{
		{"filter", func(r *rig, _ *broker.Group) { r.group(broker.GroupSpec{Topic: "orders", Filter: ptr("a")}) }},
		{"pause", func(r *rig, _ *broker.Group) { r.group(broker.GroupSpec{Topic: "orders", Paused: ptr(true)}) }},
		{"moved to where it was", func(r *rig, g *broker.Group) {
			if _, err := r.move(g, at(10)); err != nil {
				r.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, broker.Options{}, func(r *rig) {
				g, _, p := r.planned(100)
				c.change(r, g)
				if fresh := r.refused(p); fresh.Version != g.Version() {
					r.Errorf("the fresh plan is for version %s, the group has %s", fresh.Version, g.Version())
				}
			})
		})
	}
}

func TestPlanWhosePlaceWasDroppedConflicts(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		_, _, p := r.planned(100)
		r.topic("orders", 0, storage.Retention{MaxCount: 15})
		time.Sleep(dropsWithin)
		if fresh := r.refused(p); fresh.To != 5 || fresh.Again != 5 {
			r.Errorf("the fresh plan goes to %d with %d again, want 5 and 5", fresh.To, fresh.Again)
		}
	})
}

func TestPlanGoesWithItsGroup(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, p := r.planned(100)
		if err := r.v.RemoveGroup(context.Background(), "orders", "", ""); err != nil {
			r.Fatal(err)
		}
		if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("plan of a removed group: %v, want not found", err)
		}
		r.group(broker.GroupSpec{Topic: "orders", Start: broker.Position{At: broker.AtEarliest}}) // another one of that name
		if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("plan of a removed group: %v, want not found", err)
		}
		if _, _, err := r.plans.Apply(context.Background(), r.v, p, ""); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("apply for a removed group: %v, want not found", err)
		}
		if _, err := r.plans.Make(context.Background(), r.v, g, at(0), PlanOptions{}); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("new plan for a removed group: %v, want not found", err)
		}
	})
}

func TestPlanDoesNotOutliveItsProcess(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		_, _, p := r.planned(100)
		r.crash()
		if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("plan of an earlier process: %v, want not found", err)
		}
	})
}

func TestPlanExpires(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		_, _, p := r.planned(100)
		time.Sleep(planLife)
		if _, err := r.plans.Find(r.v, p.ID); err != nil {
			r.Errorf("plan in its last millisecond: %v", err)
		}
		time.Sleep(time.Millisecond)
		if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("expired plan: %v, want not found", err)
		}
	})
}

func TestOldestPlanGoesWhenThereAreTooMany(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, first := r.planned(100)
		var last *Plan
		for range maxPlans {
			last = r.plan(g, at(0), PlanOptions{})
		}
		if _, err := r.plans.Find(r.v, first.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("the oldest plan: %v, want not found", err)
		}
		if _, err := r.plans.Find(r.v, last.ID); err != nil {
			r.Errorf("the newest plan: %v", err)
		}
		if n := len(r.plans.byID); n != maxPlans {
			r.Errorf("%d plans are kept", n)
		}
	})
}

func TestAppliedPlanIsKnownUntilItExpires(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		_, _, p := r.planned(100)
		r.apply(p)
		held := r.plans.bytes
		spent, err := r.plans.ToApply(r.v, p.ID)
		if err != nil || len(spent.First) > 0 || len(spent.From.Settled) > 0 || held > planOverhead {
			r.Fatalf("applied plan: %v, and %d bytes are held for it", err, held)
		}
		r.refused(spent)
		time.Sleep(planLife + time.Millisecond)
		if _, err := r.plans.ToApply(r.v, p.ID); broker.CodeOf(err) != broker.NotFound || err == nil {
			r.Errorf("expired plan that was applied: %v, want not found", err)
		}
	})
}

// A plan to a message that is gone can't be made again, and is no less refused.
func TestConflictOfAPlanWhosePlaceIsGoneHasNoFreshPlan(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(broker.GroupSpec{Topic: "orders"})
		r.publish(topic, storage.Record{ID: "x"}, storage.Record{}, storage.Record{})
		p := r.plan(g, broker.Position{At: broker.AtMessage, ID: "x"}, PlanOptions{Tolerance: 10})
		r.topic("orders", 0, storage.Retention{MaxCount: 1})
		time.Sleep(dropsWithin)
		for range 2 {
			q, err := r.plans.ToApply(r.v, p.ID)
			if err != nil {
				r.Fatal(err)
			}
			if _, fresh, err := r.plans.Apply(context.Background(), r.v, q, ""); broker.CodeOf(err) != broker.Conflict || err == nil || fresh != nil {
				r.Errorf("apply: %v and the fresh plan %v, want a conflict without one", err, fresh)
			}
		}
	})
}

func TestFailedCommitLeavesThePlanAndTheGroup(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, p := r.planned(100)
		r.store.FailNext(storetest.Fault{Before: storage.ErrFull})
		if _, fresh, err := r.plans.Apply(context.Background(), r.v, p, ""); broker.CodeOf(err) != broker.Full || fresh != nil {
			r.Fatalf("apply on a full disk: %v and plan %v", err, fresh)
		}
		if at := g.Info().Cursor; at != 10 {
			r.Errorf("cursor %d after a failed move, want 10", at)
		}
		r.apply(p)
		synctest.Wait()
		if entries := r.entries(g); len(entries) != 2 { // with that of its beginning
			r.Errorf("%d journal entries, want 2", len(entries))
		}
	})
}
