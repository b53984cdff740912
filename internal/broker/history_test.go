package broker

import (
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
