package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestHowOldMessagesAreWhenTheyGoOutFirstIsTakenOnce(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Name: "all"})
		r.mustPublish(topic, "a", "b")
		if d := topic.TakeCommits(); d.N != 2 || d.Sum < d.Longest || d.Longest < 0 {
			t.Errorf("commits: %+v, want two", d)
		}
		if d := topic.TakeCommits(); d != (Durations{}) {
			t.Errorf("commits: %+v, want none: they were taken", d)
		}
		time.Sleep(3 * time.Second) // of the bubble
		r.subscribe(g, "s").sub.SetCredit("", 10)
		synctest.Wait()
		d := g.TakeDeliveries()
		if d.N != 2 || d.Longest < 2_900_000 || d.Longest > 3_100_000 || d.Sum < 2*2_900_000 {
			t.Errorf("deliveries: %+v, want two of messages that are 3 s old", d)
		}
		if d := g.TakeDeliveries(); d != (Durations{}) {
			t.Errorf("deliveries: %+v, want none: they were taken", d)
		}
	})
}

// counted counts the pages of the trail that are read.
type counted struct {
	Reader

	pages int
}

func (c *counted) Audit(ctx context.Context, before int64, limit int) ([]storage.AuditEntry, error) {
	c.pages++
	return c.Reader.Audit(ctx, before, limit)
}

func TestTheTrailIsReadNoFurtherBackThanItHasSomethingOfThatTime(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		note := func(n int) {
			for range n {
				if err := r.b.Note(t.Context(), storage.Actor{Name: "ann"}, "topic.alter", "orders", ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		note(1100)
		time.Sleep(2 * time.Hour) // of the bubble
		for _, c := range []struct{ more, all, pages int }{{150, 150, 2}, {300, 450, 4}} {
			note(c.more)
			reader := &counted{Reader: r.b.home().reader()}
			list, err := trail(t.Context(), reader, r.b.Wall()-time.Hour.Milliseconds())
			if len(list) != c.all || err != nil || reader.pages > c.pages {
				t.Errorf("%d entries of %d pages, %v; want %d, and %d pages at most", len(list), reader.pages, err, c.all, c.pages)
			}
		}
	})
}
