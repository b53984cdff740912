package inspect

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// loaded is a group of n messages with headers of size bytes, all of them to come.
func (r *rig) loaded(n, size int) *broker.Group {
	r.Helper()
	topic := r.topic("orders", 0, storage.Retention{})
	g := r.group(broker.GroupSpec{Topic: "orders"})
	recs := make([]storage.Record, n)
	for i := range recs {
		recs[i].Headers = `{"h":"` + strings.Repeat("x", size) + `"}`
	}
	r.publish(topic, recs...)
	return g
}

func TestExamplesOfAPlanHaveALimitInBytes(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g := r.loaded(100, 15<<10)
		p := r.plan(g, at(0), PlanOptions{Examples: 100})
		size := int64(0)
		for _, list := range [][]storage.Record{p.First, p.Last} {
			if len(list) < 5 || len(list) > 20 {
				r.Errorf("%d examples", len(list))
			}
			for i := range list {
				size += list[i].Size()
			}
		}
		if size > exampleBytes {
			r.Errorf("the examples have %d bytes, more than %d", size, exampleBytes)
		}
		if first, last := p.First[0].Offset, p.Last[len(p.Last)-1].Offset; first != 0 || last != 99 {
			r.Errorf("the examples begin with %d and end with %d, want 0 and 99", first, last)
		}
	})
}

// A message is read with the block that it is stored in, of which a plan that lives
// for minutes must not keep anything.
func TestPlanKeepsNothingOfWhatWasReadForIt(t *testing.T) {
	const n = 200
	inBubble(t, broker.Options{}, func(r *rig) {
		r.loaded(400, 1<<10)
		r.crash() // so that it is read from the store
		g, err := r.v.Group("orders", "orders")
		if err != nil {
			r.Fatal(err)
		}
		before := heapInUse()
		for range n {
			r.plan(g, at(0), PlanOptions{Examples: 1})
		}
		if grown := heapInUse() - before; grown > n*16<<10 {
			r.Errorf("%d plans with examples of 2 KiB hold %d bytes", n, grown)
		}
	})
}

// heapInUse is how many bytes are in use.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestPlansTogetherHaveALimitInBytes(t *testing.T) {
	const limit = 100 << 10
	inBubble(t, broker.Options{}, func(r *rig) {
		r.plans = NewPlans(r.b, limit)
		g := r.loaded(10, 15<<10)
		var all []*Plan
		for range 10 {
			all = append(all, r.plan(g, at(0), PlanOptions{Examples: 1}))
		}
		held := int64(0)
		for i, p := range all {
			if _, err := r.plans.Find(r.v, p.ID); err == nil {
				held += p.First[0].Size() + p.Last[0].Size()
			} else if i >= len(all)-3 {
				r.Errorf("plan %d of %d is gone", i+1, len(all))
			}
		}
		if held > limit {
			r.Errorf("the plans hold %d bytes, more than %d", held, limit)
		}
		huge := r.plan(g, at(0), PlanOptions{Examples: 10}) // more than all may have
		if _, err := r.plans.Find(r.v, huge.ID); err != nil || len(r.plans.byID) != 1 {
			r.Errorf("of a large plan and others %d are left: %v", len(r.plans.byID), err)
		}
	})
}

func TestExpiredPlanIsLetGoOf(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		kept := func() int {
			r.plans.mu.Lock()
			defer r.plans.mu.Unlock()
			return len(r.plans.byID)
		}
		g, _, _ := r.planned(100)
		time.Sleep(planLife + time.Millisecond)
		r.plan(g, at(0), PlanOptions{}) // at once, when another one is made
		if n := kept(); n != 1 {
			r.Errorf("%d plans are kept, one of them has not expired", n)
		}
		time.Sleep(planLife + dropsWithin) // and otherwise in a moment
		if n := kept(); n != 0 {
			r.Errorf("%d expired plans are kept", n)
		}
		if _, err := r.plans.Make(context.Background(), r.v, g, at(0), PlanOptions{}); err != nil {
			r.Fatal(err)
		}
	})
}

func TestNoTimerOutlivesClosedPlans(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g, _, _ := r.planned(100)
		r.plans.Close()
		r.plan(g, at(0), PlanOptions{}) // of a request that still runs
		time.Sleep(2 * planLife)
		r.plans.mu.Lock()
		defer r.plans.mu.Unlock()
		if n := len(r.plans.byID); n != 2 {
			r.Errorf("%d plans are kept, want 2: a timer dropped the others", n)
		}
	})
}

func TestAPlanExpiresByTheTimeThatPassed(t *testing.T) {
	var step atomic.Int64
	set := func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
	inBubble(t, broker.Options{Now: set}, func(r *rig) {
		_, _, p := r.planned(100)
		step.Add(int64(24 * time.Hour))
		time.Sleep(planLife - time.Second)
		if _, err := r.plans.Find(r.v, p.ID); err != nil {
			r.Errorf("plan in its last second: %v", err)
		}
		step.Add(-int64(48 * time.Hour))
		time.Sleep(2 * time.Second)
		if _, err := r.plans.Find(r.v, p.ID); broker.CodeOf(err) != broker.NotFound {
			r.Errorf("expired plan: %v", err)
		}
	})
}
