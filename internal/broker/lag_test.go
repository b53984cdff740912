package broker

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

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
			if isSettled(&info.Progress, m.Offset) || !filter.Match(m.Tag) {
				return
			}
			if lag++; waiting == 0 {
				waiting = m.Time
			}
		})
		if n, exact := h.g.Lag(1000); n != lag || !exact {
			r.Fatalf("lag %d (exact: %t), want %d", n, exact, lag)
		}
		if n, err := h.g.LagBytes(context.Background()); n != bytes || err != nil {
			r.Fatalf("%d bytes, want %d: %v", n, bytes, err)
		}
		if at, err := h.g.Waiting(context.Background()); at != waiting || err != nil {
			r.Fatalf("waiting since %d, want %d: %v; the group is at %+v", at, waiting, err, info.Progress)
		}
	})
}

func TestWaitingIsTooEarlyRatherThanExpensive(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Filter: ptr("a")})
		r.mustPublish(topic, make([]string, nextRows-1)...)
		if at, err := g.Waiting(context.Background()); at != 0 || err != nil {
			r.Errorf("waiting since %d, and nothing matches: %v", at, err)
		}
		time.Sleep(time.Second)
		r.mustPublish(topic, "")
		early := topic.Definition().LastTime
		time.Sleep(time.Second)
		r.mustPublish(topic, "a")
		if at, err := g.Waiting(context.Background()); at != early || err != nil {
			r.Errorf("waiting since %d, want %d: %v", at, early, err)
		}
		if _, err := g.relocate(context.Background(), at(1), "relocate", named("ann"), ""); err != nil {
			r.Fatal(err)
		}
		if at, err := g.Waiting(context.Background()); at != topic.Definition().LastTime || err != nil {
			r.Errorf("waiting since %d, want %d: %v", at, topic.Definition().LastTime, err)
		}
	})
}
