package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/rushmore/zbus-go/internal/storage"
)

// What is in the store but not on disk yet may be gone after a power loss: nobody
// may see it, not even a group that reads the log from the store.
func TestNothingIsDeliveredBeforeTheSync(t *testing.T) {
	inBubble(t, Options{TailBytes: 1}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders"})
		r.mustPublish(topic, "first")
		release := r.store.HoldSync()
		answered := false
		p := r.b.NewPublishing(func() { answered = true })
		p.Add(Message{Topic: topic, Record: storage.Record{}})
		_ = p.Publish(context.Background())
		synctest.Wait()
		c := r.subscribe(g, "c")
		if list, _ := offsets(c.take(10)); !slices.Equal(list, []int64{0}) {
			r.Errorf("delivered %d, only 0 is on disk", list)
		}
		recs, err := topic.Read(context.Background(), 0, storage.Page{Rows: 10})
		if err != nil || len(recs) != 1 {
			r.Errorf("%d messages can be read, 1 is on disk: %v", len(recs), err)
		}
		if answered {
			r.Error("the publish is answered")
		}
		close(release)
		synctest.Wait()
		if list, _ := offsets(c.drain()); !answered || !slices.Equal(list, []int64{1}) {
			r.Errorf("delivered %d after the sync, want 1; answered: %t", list, answered)
		}
	})
}

func TestAckIsAnsweredAfterTheSync(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(2, 0)
		b := r.subscribe(g, "c").take(2)[0]
		release := r.store.HoldSync()
		answers := 0
		g.Ack(0, b.Handle(0), func(error) { answers++ })
		g.Nack(1, b.Handle(1), Return{Delay: 1000}, func(error) { answers++ })
		synctest.Wait()
		if answers != 0 {
			r.Errorf("%d answers before the sync", answers)
		}
		close(release)
		synctest.Wait()
		if answers != 2 {
			r.Errorf("%d answers after the sync, want 2", answers)
		}
	})
}

func TestNothingIsDeliveredWhileAGroupMoves(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders"})
		r.mustPublish(topic, make([]string, 10)...)
		c := r.subscribe(g, "c")
		release := r.store.HoldSync()
		moved := make(chan error, 1)
		go func() {
			_, err := g.relocate(context.Background(), Position{At: AtOffset, Offset: 8}, "relocate", named("test"), "")
			moved <- err
		}()
		synctest.Wait()
		if early, _ := offsets(c.take(1)); len(early) > 0 {
			r.Errorf("offset %d is delivered while the group moves", early)
		}
		close(release)
		if err := <-moved; err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		if list, _ := offsets(c.drain()); !slices.Equal(list, []int64{8}) {
			r.Errorf("delivered %d after the move, want 8", list)
		}
	})
}
