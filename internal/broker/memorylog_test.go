package broker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A message may have passed all checks before its topic goes. Nothing would ever drop it.
func TestRemovedMemoryTopicKeepsNoMessageThatWasOnItsWay(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", storage.KindMemory, storage.Retention{})
		r.mustPublish(topic, "a", "b")
		p := r.b.NewPublishing(func() {})
		p.Add(Message{Topic: topic, Record: storage.Record{Tag: "late"}})
		if err := r.b.removeTopic(context.Background(), "orders", "", named("ann")); err != nil {
			r.Fatal(err)
		}
		if err := p.Publish(context.Background()); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		if _, err := p.Result(0); CodeOf(err) != NotFound || err == nil {
			r.Errorf("the late message: %v, want not found", err)
		}
		if n := r.b.InMemory(); n != 0 {
			r.Errorf("%d bytes are held for a topic that is gone", n)
		}
	})
}
