package inspect

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// plan makes a plan.
func (r *rig) plan(g *broker.Group, position broker.Position, opts PlanOptions) *Plan {
	r.Helper()
	p, err := r.plans.Make(context.Background(), r.v, g, position, opts)
	if err != nil {
		r.Fatal(err)
	}
	return p
}

// apply does what a plan says.
func (r *rig) apply(p *Plan) broker.Move {
	r.Helper()
	move, fresh, err := r.plans.Apply(context.Background(), r.v, p, "because")
	if err != nil || fresh != nil {
		r.Fatalf("apply: %v, fresh plan %v", err, fresh)
	}
	return move
}

func at(offset int64) broker.Position { return broker.Position{At: broker.AtOffset, Offset: offset} }

func TestPlanSaysWhatHappens(t *testing.T) {
	inBubbles(t, faultreport.ScaleAlways(t, 8, 800), func(r *rig, rt *rapid.T) {
		h := newPast(r, rt, someKind.Draw(rt, "topic"))
		offset := h.base + int64(rapid.IntRange(0, len(h.recs)).Draw(rt, "to"))
		examples := rapid.IntRange(0, 4).Draw(rt, "examples")
		p := r.plan(h.g, at(offset), PlanOptions{Examples: examples})
		want := min(max(offset, h.topic.First()), h.topic.Next())
		if p.To != want || p.Group != h.g || p.Position != at(offset) {
			r.Fatalf("planned to go to %d, want %d", p.To, want)
		}
		h.checkCounts(p)
		if list := h.matching(p.To); p.Pending != int64(len(list)) {
			r.Fatalf("%d pending, want %d", p.Pending, len(list))
		}
		before := h.g.Info()
		if move := r.apply(p); move.To != p.To || move.Entry.Kind != "relocate" || move.Entry.Reason != "because" {
			r.Fatalf("applied: %+v", move)
		}
		entry := r.entries(h.g)[0]
		if entry.From.Cursor != before.Cursor || !slices.Equal(entry.From.Settled, before.Settled) || entry.To != p.To {
			r.Fatalf("journalled %+v, the group was at %+v", entry, before.Progress)
		}
		h.checkDelivered(p)
	})
}

// checkCounts compares a plan with a count made one by one.
func (h *past) checkCounts(p *Plan) {
	h.Helper()
	info, filter := h.g.Info(), filterOf(h, h.g)
	var again, skipped, matching, bytes int64
	h.each(func(r *storage.Record) {
		done, next := info.Done(r.Offset), r.Offset >= p.To
		switch {
		case done && next:
			again++
		case !done && !next:
			skipped++
		default:
			return
		}
		if filter.Match(r.Tag) {
			matching++
			bytes += r.Size()
		}
	})
	if p.Again != again || p.Skipped != skipped || p.Matching != matching || p.Bytes != bytes || !p.Exact {
		h.Fatalf("to %d: again %d, skipped %d, matching %d, bytes %d, exact %t; want %d, %d, %d, %d; the log is %d to %d, the group %+v",
			p.To, p.Again, p.Skipped, p.Matching, p.Bytes, p.Exact, again, skipped, matching, bytes, h.topic.First(), h.topic.Next(), info)
	}
	if p.InFlight != info.InFlight || p.Consumers != len(info.Consumers) {
		h.Fatalf("%d in flight and %d consumers, want %d and %d", p.InFlight, p.Consumers, info.InFlight, len(info.Consumers))
	}
}

// matching lists what the group lets through from an offset on.
func (h *past) matching(from int64) (list []int64) {
	filter := filterOf(h, h.g)
	h.each(func(r *storage.Record) {
		if r.Offset >= from && filter.Match(r.Tag) {
			list = append(list, r.Offset)
		}
	})
	return list
}

// checkDelivered compares an applied plan with what a consumer then gets.
func (h *past) checkDelivered(p *Plan) {
	h.Helper()
	c := h.subscribe(h.g, "then")
	c.eager = true
	got, _ := offsets(c.take(1000))
	if want := h.matching(p.To); !slices.Equal(got, want) {
		h.Fatalf("delivered %d, want %d", got, want)
	}
	n := min(p.Examples, len(got))
	for _, e := range []struct {
		name string
		list []storage.Record
		want []int64
	}{{"first", p.First, got[:n]}, {"last", p.Last, got[len(got)-n:]}} {
		var list []int64
		for i := range e.list {
			r := &e.list[i]
			list = append(list, r.Offset)
			if full := h.at(r.Offset); r.ID != full.ID || r.Tag != full.Tag || len(r.Body) != len(full.Body) {
				h.Fatalf("example %+v, want %+v", r, full)
			}
		}
		if !slices.Equal(list, e.want) {
			h.Fatalf("the %s examples are %d, delivered is %d", e.name, list, e.want)
		}
	}
}

// What is left of a position whose beginning retention dropped is no move of the cursor,
// also when no consumer is there to notice.
func TestPlanOfAGroupBehindRetentionCanBeApplied(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g := r.explicitGroup(10)
		c := r.subscribe(g, "a")
		b := c.take(10)[0]
		for _, o := range []int64{2, 3, 5, 7} {
			if err := ackNow(g, o, b.Handle(int(o))); err != nil {
				r.Fatal(err)
			}
		}
		b.Done(10)
		c.sub.Close()
		r.topic("orders", 0, storage.Retention{MaxCount: 5})
		time.Sleep(dropsWithin)
		p := r.plan(g, at(9), PlanOptions{Tolerance: 0})
		if p.From.Cursor != 6 || p.Again != 0 || p.Skipped != 2 {
			r.Errorf("from %d: again %d, skipped %d; want 6, 0 and 6, 8", p.From.Cursor, p.Again, p.Skipped)
		}
		r.apply(p)
		if at := g.Info().Cursor; at != 9 {
			r.Errorf("cursor %d, want 9", at)
		}
	})
}

func TestShiftOfAnySizeLeadsToTheEndOnItsSide(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		g := r.explicitGroup(10)
		r.apply(r.plan(g, at(4), PlanOptions{}))
		for shift, want := range map[int64]int64{-5: 0, math.MinInt64: 0, 2: 6, 7: 10, math.MaxInt64: 10} {
			if p := r.plan(g, broker.Position{At: broker.AtShift, Offset: shift}, PlanOptions{}); p.To != want {
				r.Errorf("shift %d from 4: to %d, want %d", shift, p.To, want)
			}
		}
	})
}

func TestPlanShowsTheBeginningOfALargeBody(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(broker.GroupSpec{Topic: "orders"})
		body := []byte(strings.Repeat("0123456789", 1000))
		r.publish(topic, storage.Record{Body: body})
		p := r.plan(g, at(0), PlanOptions{Examples: 1})
		e := p.First[0]
		if string(e.Body) != string(body[:previewBytes]) || e.Omitted != len(body)-previewBytes || e.Size() != int64(len(e.ID)+len(body)) {
			r.Errorf("%d bytes are shown and %d not", len(e.Body), e.Omitted)
		}
		recs := r.subscribe(g, "c").take(1)
		if n := len(recs[0].Items[0].Record.Body); n != len(body) {
			r.Errorf("delivered are %d bytes, want %d", n, len(body))
		}
	})
}

func TestUsualToleranceOfAPlan(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(broker.GroupSpec{Topic: "orders"})
		r.mustPublish(topic, make([]string, 15_000)...)
		for _, c := range []struct {
			to   int64
			opts PlanOptions
			want int64
		}{
			{10, PlanOptions{Tolerance: -1}, minTolerance},
			{15_000, PlanOptions{Tolerance: -1}, 1500},
			{15_000, PlanOptions{Tolerance: -1, Rate: 200}, 2000},
			{15_000, PlanOptions{Tolerance: 0, Rate: 200}, 0},
		} {
			if p := r.plan(g, at(c.to), c.opts); p.Tolerance != c.want {
				r.Errorf("to %d with %+v: tolerance %d, want %d", c.to, c.opts, p.Tolerance, c.want)
			}
		}
	})
}

// A consumer hears nothing of a relocation, it just gets other messages.
func TestConsumerStaysThroughAnAppliedPlan(t *testing.T) {
	for _, settle := range []storage.Settle{storage.SettleAuto, storage.SettleExplicit} {
		inBubble(t, broker.Options{}, func(r *rig) {
			topic := r.topic("orders", 0, storage.Retention{})
			g := r.group(broker.GroupSpec{Topic: "orders", Settle: &settle})
			r.mustPublish(topic, make([]string, 6)...)
			c := r.subscribe(g, "c")
			c.eager = true
			before := c.take(100)
			if list, _ := offsets(before); len(list) != 6 {
				r.Fatalf("delivered %d", list)
			}
			r.apply(r.plan(g, at(2), PlanOptions{}))
			synctest.Wait()
			if list, counts := offsets(c.drain()); !slices.Equal(list, []int64{2, 3, 4, 5}) || counts[0] != 1 {
				r.Errorf("%s: delivered %d with counts %d, want 2 to 5 anew", settle, list, counts)
			}
			if c.ended || len(g.Info().Consumers) != 1 {
				r.Errorf("%s: the consumer is gone", settle)
			}
			if settle == storage.SettleAuto {
				return
			}
			if err := ackNow(g, 0, before[0].Handle(0)); broker.CodeOf(err) != broker.Conflict || err == nil {
				r.Errorf("ack of a delivery from before the move: %v, want a conflict", err)
			}
		})
	}
}
