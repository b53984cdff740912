package inspect

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestLagIsWhatIsNotSettled(t *testing.T) {
	inBubbles(t, faultreport.ScaleAlways(t, 8, 800), func(r *rig, rt *rapid.T) {
		h := newPast(r, rt, someKind.Draw(rt, "topic"))
		info, filter := h.g.Info(), filterOf(r, h.g)
		var lag, bytes, waiting int64
		h.each(func(m *storage.Record) {
			if m.Offset >= info.Cursor {
				bytes += m.Size()
			}
			if info.Done(m.Offset) || !filter.Match(m.Tag) {
				return
			}
			if lag++; waiting == 0 {
				waiting = m.Time
			}
		})
		if n, exact := Lag(context.Background(), h.g, 1000); n != lag || !exact {
			r.Fatalf("lag %d (exact: %t), want %d", n, exact, lag)
		}
		if n, err := LagBytes(context.Background(), h.g); n != bytes || err != nil {
			r.Fatalf("%d bytes, want %d: %v", n, bytes, err)
		}
		if at, err := OldestPending(context.Background(), h.g); at != waiting || err != nil {
			r.Fatalf("waiting since %d, want %d: %v; the group is at %+v", at, waiting, err, info.Progress)
		}
	})
}

func TestWaitingIsTooEarlyRatherThanExpensive(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(broker.GroupSpec{Topic: "orders", Filter: ptr("a")})
		r.mustPublish(topic, make([]string, nextRows-1)...)
		if at, err := OldestPending(context.Background(), g); at != 0 || err != nil {
			r.Errorf("waiting since %d, and nothing matches: %v", at, err)
		}
		time.Sleep(time.Second)
		r.mustPublish(topic, "")
		early := topic.Definition().LastTime
		time.Sleep(time.Second)
		r.mustPublish(topic, "a")
		if at, err := OldestPending(context.Background(), g); at != early || err != nil {
			r.Errorf("waiting since %d, want %d: %v", at, early, err)
		}
		if _, err := r.move(g, at(1)); err != nil {
			r.Fatal(err)
		}
		if at, err := OldestPending(context.Background(), g); at != topic.Definition().LastTime || err != nil {
			r.Errorf("waiting since %d, want %d: %v", at, topic.Definition().LastTime, err)
		}
	})
}

func TestLagIsExactWithinTheBudgetAndEstimatedBeyond(t *testing.T) {
	inBubble(t, broker.Options{TailBytes: 1}, func(r *rig) { // everything is read from disk
		topic := r.topic("orders", 0, storage.Retention{})
		all := r.group(broker.GroupSpec{Topic: "orders", Name: "all"})
		some := r.group(broker.GroupSpec{Topic: "orders", Name: "some", Filter: ptr("b")})
		tags := make([]string, 3000)
		for i := range tags {
			tags[i] = []string{"a", "a", "b"}[i%3]
		}
		r.mustPublish(topic, tags...)
		for _, c := range []struct {
			g      *broker.Group
			budget int
			want   int64
			exact  bool
		}{{all, 0, 3000, true}, {some, 5000, 1000, true}, {some, 3000, 1000, true}, {some, 600, 1000, false}} {
			n, exact := Lag(context.Background(), c.g, c.budget)
			if n != c.want || exact != c.exact {
				r.Errorf("%s, budget %d: lag %d (exact: %t), want %d (%t)", c.g.Name(), c.budget, n, exact, c.want, c.exact)
			}
		}
		c := r.subscribe(some, "c")
		c.eager = true
		c.take(10)
		if n, exact := Lag(context.Background(), some, 5000); n != 990 || !exact {
			r.Errorf("lag %d (exact: %t) after 10 of 1000", n, exact)
		}
	})
}
