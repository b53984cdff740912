package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestCallWithoutProviderIsRefused(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("add", storage.KindRPC, storage.Retention{})
		time.Sleep(2 * youngTopic * time.Millisecond) // its first provider is not to be expected
		g := r.group(GroupSpec{Topic: "add"})
		if p := r.publish(topic, storage.Record{}); CodeOf(p[0].Err) != Unavailable || p[0].Err == nil {
			r.Errorf("call without a provider: %v, want unavailable", p[0].Err)
		}
		c := r.subscribe(g, "p")
		r.mustPublish(topic, "")
		if n := len(c.take(5)); n != 1 {
			r.Errorf("the provider got %d batches, want the one call that was taken", n)
		}
		c.sub.Close()
		if p := r.publish(topic, storage.Record{}); CodeOf(p[0].Err) != Unavailable || p[0].Err == nil {
			r.Errorf("call after the provider left: %v, want unavailable", p[0].Err)
		}
	})
}

func TestTooManyCallsAreRefusedNotDropped(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("add", storage.KindRPC, storage.Retention{MaxCount: 3})
		g := r.group(GroupSpec{Topic: "add"})
		c := r.subscribe(g, "p") // gives no credit yet
		r.mustPublish(topic, "1", "2", "3")
		if p := r.publish(topic, storage.Record{}); CodeOf(p[0].Err) != Unavailable || p[0].Err == nil {
			r.Errorf("fourth waiting call: %v, want unavailable", p[0].Err)
		}
		c.eager = true
		if list, _ := offsets(c.take(5)); len(list) != 3 {
			r.Errorf("the provider got %d calls, want 3", len(list))
		}
		r.mustPublish(topic, "4") // there is room again
	})
}

func TestMemoryTopicDropsItsOldest(t *testing.T) {
	const size = 100 + recordOverhead
	for _, c := range []struct {
		name  string
		limit storage.Retention
		want  int64 // messages left of 10
	}{
		{"count", storage.Retention{MaxCount: 4}, 4},
		{"bytes", storage.Retention{MaxBytes: 3 * size}, 3},
		{"no limit", storage.Retention{}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				topic := r.topic("ticks", storage.KindMemory, c.limit)
				for range 10 {
					r.publish(topic, storage.Record{Body: make([]byte, 100)})
				}
				if n := topic.Next() - topic.First(); n != c.want {
					r.Errorf("%d messages are left, want %d", n, c.want)
				}
				if used := r.b.memory.Load(); used != c.want*size {
					r.Errorf("%d bytes are in use, want %d", used, c.want*size)
				}
			})
		})
	}
}

func TestMemoryTopicsTogetherHaveALimit(t *testing.T) {
	const size = 100 + recordOverhead
	inBubble(t, Options{MemoryBytes: 5 * size}, func(r *rig) {
		a, b := r.topic("a", storage.KindMemory, storage.Retention{}), r.topic("b", storage.KindMemory, storage.Retention{})
		body := storage.Record{Body: make([]byte, 100)}
		r.publish(a, body, body, body)
		if p := r.publish(b, body, body, body); CodeOf(p[0].Err) != Unavailable || p[0].Err == nil {
			r.Errorf("sixth message: %v, want unavailable", p[0].Err)
		}
		if p := r.publish(b, body, body); p[0].Err != nil {
			r.Errorf("fifth message: %v", p[0].Err)
		}
		if err := r.b.removeTopic(context.Background(), "a", "", named("test")); err != nil {
			r.Fatal(err)
		}
		if used := r.b.memory.Load(); used != 2*size {
			r.Errorf("%d bytes are in use, want %d", used, 2*size)
		}
	})
}

// The first consumer of a topic gets what is there, also in memory.
func TestMemoryTopicKeepsItsMessagesForTheFirstGroup(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("ticks", storage.KindMemory, storage.Retention{})
		r.mustPublish(topic, "1", "2")
		time.Sleep(3 * retentionInterval)
		synctest.Wait()
		g := r.group(GroupSpec{Topic: "ticks"})
		c := r.subscribe(g, "c")
		c.eager = true
		if list, _ := offsets(c.take(5)); len(list) != 2 {
			r.Fatalf("the first group got %d messages, want 2", len(list))
		}
		time.Sleep(3 * retentionInterval)
		synctest.Wait()
		if n := topic.Next() - topic.First(); n != 0 || r.b.memory.Load() != 0 {
			r.Errorf("%d messages are left that all groups have had", n)
		}
	})
}

func TestMemoryTopicIsEmptyAfterARestartAndGivesNoOffsetTwice(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("ticks", storage.KindMemory, storage.Retention{})
		g := r.group(GroupSpec{Topic: "ticks"})
		r.mustPublish(topic, "1", "2", "3")
		before, _ := offsets(r.subscribe(g, "c").take(5))
		time.Sleep(time.Second)
		r.crash()
		topic, err := r.b.findTopic("ticks")
		if err != nil {
			r.Fatal(err)
		}
		if g, err = topic.group(""); err != nil {
			r.Fatal(err)
		}
		c := r.subscribe(g, "c")
		if more := c.take(5); len(more) > 0 {
			r.Errorf("%d batches came out of nothing", len(more))
		}
		r.mustPublish(topic, "4")
		after, _ := offsets(c.drain())
		if len(after) != 1 || slices.Contains(before, after[0]) || after[0] < before[2] {
			r.Errorf("offsets %d before and %d after the restart", before, after)
		}
	})
}
