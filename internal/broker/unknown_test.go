package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// change asks a broker with the topic "t" and its explicit group "g" for one change, and
// returns the answer. b has messages 0 and 1, delivered to the group.
type change func(r *rig, b *Batch) error

// changesOf are all kinds of changes.
func changesOf() map[string]change {
	ctx := context.Background()
	topic := func(r *rig) *Topic {
		t, err := r.b.findTopic("t")
		if err != nil {
			r.Fatal(err)
		}
		return t
	}
	return map[string]change{
		"publish": func(r *rig, _ *Batch) error { return r.publish(topic(r), storage.Record{ID: "x"})[0].Err },
		"store": func(r *rig, _ *Batch) error {
			_, err := r.b.System().Store(ctx, given(topic(r), "y"))
			return err
		},
		"ack":  func(_ *rig, b *Batch) error { return b.Sub.Group().ackNow(0, b.Handle(0)) },
		"nack": func(_ *rig, b *Batch) error { return b.Sub.Group().nackNow(1, b.Handle(1), 1000) },
		"create topic": func(r *rig, _ *Batch) error {
			_, _, err := r.b.declareTopic(ctx, TopicSpec{Name: "new"})
			return err
		},
		"alter topic": func(r *rig, _ *Batch) error {
			_, _, err := r.b.declareTopic(ctx, TopicSpec{Name: "t", Paused: ptr(true)})
			return err
		},
		"empty topic":  func(r *rig, _ *Batch) error { return r.b.emptyTopic(ctx, "t", "", named("ann")) },
		"remove topic": func(r *rig, _ *Batch) error { return r.b.removeTopic(ctx, "t", "", named("ann")) },
		"create group": func(r *rig, _ *Batch) error {
			_, _, err := r.b.declareGroup(ctx, GroupSpec{Topic: "t", Name: "new"})
			return err
		},
		"alter group": func(r *rig, _ *Batch) error {
			_, _, err := r.b.declareGroup(ctx, GroupSpec{Topic: "t", Name: "g", Paused: ptr(true)})
			return err
		},
		"remove group": func(r *rig, _ *Batch) error { return r.b.removeGroup(ctx, "t", "g", "", named("ann")) },
		"relocate": func(_ *rig, b *Batch) error {
			_, err := b.Sub.Group().relocate(ctx, Position{At: AtLatest}, "relocate", named("ann"), "")
			return err
		},
		"transaction": func(r *rig, _ *Batch) error {
			_, _, err := r.b.transact(ctx, Transaction{Messages: given(topic(r), "z")})
			return err
		},
		"note": func(r *rig, _ *Batch) error { return r.b.Note(ctx, named("ann"), "session.close", "s", "") },
	}
}

// Whatever is asked for is unknown when its commit failed, and not done when it comes
// after that.
func TestChangeWhoseCommitFailedIsUnknownAndTheNextIsNotDone(t *testing.T) {
	for name, first := range changesOf() {
		inBubble(t, Options{DedupWindow: window}, func(r *rig) {
			topic := r.topic("t", 0, storage.Retention{})
			g := r.group(GroupSpec{Topic: "t", Name: "g", Settle: ptr(storage.SettleExplicit)})
			r.mustPublish(topic, "", "")
			b := r.subscribe(g, "s").take(2)[0]
			r.store.FailNext(storetest.Fault{After: errCrash})
			if err := first(r, b); CodeOf(err) != Unknown || err == nil {
				r.Errorf("%s whose commit failed: %v, want unknown", name, err)
			}
			synctest.Wait()
			for next, change := range changesOf() {
				if next == name || slices.Contains([]string{"ack", "nack"}, next) {
					continue // its id is the first one's; the group may have moved
				}
				err := change(r, b)
				gone := name == "remove topic" && CodeOf(err) == NotFound // it was stored
				if !gone && CodeOf(err) != Unavailable || err == nil {
					r.Errorf("%s after a failed %s: %v, want unavailable", next, name, err)
				}
			}
			r.crash()
		})
	}
}

// What is in memory has to follow what is stored.
func TestChangeGoesOnWhenItsCallerGivesUp(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		release := r.store.HoldSync()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { close(release) })
		if _, made, err := r.b.declareTopic(ctx, TopicSpec{Name: "t"}); err != nil || !made {
			t.Errorf("declared by a caller who had given up: %t, %v", made, err)
		}
		if _, err := r.b.findTopic("t"); err != nil {
			t.Error(err)
		}
	})
}

func TestEmptyTopicAndItsEntryInTheAuditTrailAreOneCommit(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("t", 0, storage.Retention{})
		r.mustPublish(topic, "", "")
		before := len(r.store.Commits())
		if err := r.b.emptyTopic(context.Background(), "t", "", named("ann")); err != nil {
			t.Fatal(err)
		}
		if n := len(r.store.Commits()) - before; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		trail, err := r.b.auditEntries(context.Background(), 0, 1)
		if err != nil || trail[0].Action != "topic.empty" || topic.First() != 2 {
			t.Errorf("%+v, %v; the topic begins at %d", trail, err, topic.First())
		}
	})
}
