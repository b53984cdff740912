package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

const window = time.Minute

// known is a broker that knows ids, and a topic.
func known(t *testing.T, test func(r *rig, topic *Topic)) {
	t.Helper()
	inBubble(t, Options{DedupWindow: window}, func(r *rig) {
		test(r, r.topic("orders", 0, storage.Retention{}))
	})
}

// given are inputs of a topic with ids that the client named.
func given(t *Topic, ids ...string) []Message {
	list := make([]Message, len(ids))
	for i, id := range ids {
		list[i] = Message{Topic: t, Record: storage.Record{ID: id, Body: []byte(id)}, Dedup: DedupKnown}
	}
	return list
}

// stores stores messages and compares the answer: offsets, a negative one being
// that of a message that was there (-1 is offset 0).
func (r *rig) stores(inputs []Message, want ...int64) []Stored {
	r.Helper()
	list, err := r.b.System().Store(context.Background(), inputs)
	if err != nil {
		r.Fatal(err)
	}
	got := make([]int64, len(list))
	for i, s := range list {
		if got[i] = s.Offset; s.Duplicate {
			got[i] = -1 - s.Offset
		}
		if id := inputs[i].ID; s.ID == "" || id != "" && s.ID != id {
			r.Errorf("message %d has the id %q, want %q", i, s.ID, inputs[i].ID)
		}
		m, err := inputs[i].Topic.Message(context.Background(), s.Offset)
		if err != nil || m.ID != s.ID || m.Time != s.Time {
			r.Errorf("answered %+v, in the log is %+v: %v", s, m, err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Fatalf("stored at %d, want %d", got, want)
	}
	return list
}

// reopened is the topic after a crash.
func (r *rig) reopened() *Topic {
	r.Helper()
	r.crash()
	t, err := r.b.findTopic("orders")
	if err != nil {
		r.Fatal(err)
	}
	return t
}

func TestMessageIsStoredOnceByItsID(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		other := r.topic("other", 0, storage.Retention{})
		first := r.stores(given(topic, "a", "b", "a"), 0, 1, -1)
		time.Sleep(time.Second)
		again := r.stores(given(topic, "c", "a"), 2, -1)
		if again[1].Time != first[0].Time {
			r.Errorf("the time of a duplicate is %d, want that of the first message, %d", again[1].Time, first[0].Time)
		}
		r.stores(append(given(other, "a"), given(topic, "a", "A", "d")...), 0, -1, 3, 4)
		if list := r.stores(given(topic, "", "", ""), 5, 6, 7); list[1].ID == list[2].ID || list[0].ID == list[1].ID {
			r.Errorf("ids were made up: %+v", list)
		}
		if next := topic.Next(); next != 8 {
			r.Errorf("the topic has %d messages, want 8", next)
		}
	})
}

func TestIDIsForgottenAfterTheWindow(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.stores(given(topic, "a"), 0)
		time.Sleep(window)
		r.stores(given(topic, "a"), -1)
		time.Sleep(time.Millisecond)
		r.stores(given(topic, "a"), 1)
		time.Sleep(window)
		r.stores(given(topic, "a"), -2)
	})
}

func TestWithoutAWindowNothingIsKnown(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.stores(given(topic, "a", "a"), 0, 1)
		r.stores(given(topic, "a"), 2)
		r.stores(given(r.reopened(), "a"), 3)
	})
}

func TestCallersWithTheSameIDAtOnceStoreOneMessage(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		release := r.store.HoldSync()
		var mu sync.Mutex
		fresh, all := 0, 0
		for i := range 10 {
			go func() {
				// Some hold an id that others wait for, and the other way round.
				ids := []string{"a", "b"}
				if i%2 == 1 {
					ids = []string{"b", "a"}
				}
				list, err := r.b.System().Store(context.Background(), given(topic, ids...))
				mu.Lock()
				defer mu.Unlock()
				for _, s := range list {
					if all++; !s.Duplicate {
						fresh++
					}
				}
				if err != nil {
					r.Error(err)
				}
			}()
		}
		synctest.Wait()
		if all > 0 {
			r.Error("answered before the sync")
		}
		close(release)
		synctest.Wait()
		if fresh != 2 || all != 20 || topic.Next() != 2 {
			r.Errorf("%d of %d messages are stored and the topic has %d, want 2, 20 and 2", fresh, all, topic.Next())
		}
	})
}

// A publisher that waits for another's commit stores the message when that fails.
func TestFailedCommitLeavesNoID(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.stores(given(topic, "x"), 0)
		release := make(chan struct{})
		r.store.FailNext(storetest.Fault{Before: storage.ErrFull, Release: release})
		store := func(ids ...string) <-chan error {
			outcome := make(chan error, 1)
			go func() {
				_, err := r.b.System().Store(context.Background(), given(topic, ids...))
				outcome <- err
			}()
			synctest.Wait()
			return outcome
		}
		failed, waiting := store("a", "b", "x"), store("b")
		close(release)
		if err := <-failed; CodeOf(err) != Full {
			r.Errorf("on a full disk: %v", err)
		}
		if err := <-waiting; err != nil {
			r.Errorf("after it: %v", err)
		}
		r.stores(given(topic, "a", "b", "x"), 2, -2, -1)
	})
}

func TestCallerThatGivesUpLeavesItsMessageToTheDisk(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		release := r.store.HoldSync()
		ctx, stop := context.WithCancel(context.Background())
		errs := make(chan error, 2)
		store := func(ctx context.Context) {
			_, err := r.b.System().Store(ctx, given(topic, "a"))
			errs <- err
		}
		go store(ctx)
		synctest.Wait()
		go store(ctx) // waits for the first
		synctest.Wait()
		stop()
		for range 2 {
			if err := <-errs; CodeOf(err) != Unknown || err == nil { // the second one's message may be the first one's
				r.Errorf("given up: %v", err)
			}
		}
		close(release)
		r.stores(given(topic, "a"), -1)
	})
}

func TestStoreIsAllOrNothing(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		calls := r.topic("calls", storage.KindRPC, storage.Retention{})
		gone := r.topic("gone", 0, storage.Retention{})
		if err := r.b.removeTopic(context.Background(), "gone", "", named("ann")); err != nil {
			r.Fatal(err)
		}
		for _, c := range []struct {
			what string
			bad  Message
			want Code
		}{
			{"a tag too long", Message{Topic: topic, Record: storage.Record{Tag: strings.Repeat("t", MaxTag+1)}}, Invalid},
			{"an id too long", given(topic, strings.Repeat("i", MaxMessageID+1))[0], Invalid},
			{"a topic for calls", given(calls, "c")[0], Invalid},
			{"a removed topic", given(gone, "c")[0], NotFound},
		} {
			inputs := append(given(topic, "a", "b"), c.bad)
			if list, err := r.b.System().Store(context.Background(), inputs); CodeOf(err) != c.want || err == nil || list != nil {
				r.Errorf("%s: %v, %v; want code %d", c.what, list, err, c.want)
			}
		}
		if n := topic.Next(); n != 0 {
			r.Errorf("%d messages are stored", n)
		}
		r.stores(given(topic, "a", "b"), 0, 1)
	})
}

// The topic may go between the check and the commit.
func TestAtomicPublishingWithARefusedMessageStoresNothing(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		answered := false
		p := r.b.NewPublishing(func() { answered = true })
		p.atomic = true
		p.Add(Message{Topic: topic, Record: storage.Record{}})
		p.Add(Message{Topic: topic, Record: storage.Record{Tag: strings.Repeat("t", MaxTag+1)}})
		_ = p.Publish(context.Background())
		synctest.Wait()
		if _, err := p.Result(0); CodeOf(err) != Invalid || err == nil || !answered || topic.Next() != 0 {
			r.Errorf("answered %t: %v; the topic has %d messages", answered, err, topic.Next())
		}
	})
}
