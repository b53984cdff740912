package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

func TestIDIsKnownAfterACrash(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.stores(given(topic, "old"), 0)
		time.Sleep(window / 2)
		r.stores(given(topic, "a", "b"), 1, 2)
		time.Sleep(window / 4)
		topic = r.reopened()
		time.Sleep(window / 8)
		r.stores(given(topic, "old", "a", "c"), -1, -2, 3)
		time.Sleep(window/8 + time.Millisecond)
		r.stores(given(topic, "old", "a"), 4, -2) // each by its own age
		time.Sleep(window / 2)
		r.stores(given(topic, "a", "old"), 5, -5)
		r.stores(given(r.reopened(), "a", "old", "b"), -6, -5, 6)
	})
}

func TestIDIsForgottenAfterACrashBeyondTheWindow(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.stores(given(topic, "a"), 0)
		r.close()
		time.Sleep(window + time.Millisecond)
		r.open()
		topic, err := r.b.findTopic("orders")
		if err != nil {
			r.Fatal(err)
		}
		r.stores(given(topic, "a"), 1)
	})
}

// Each topic is searched when it is first stored in; by then ids that were given
// later may be known.
func TestIDOfAnEarlierProcessIsForgottenInTime(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.topic("other", 0, storage.Retention{})
		r.stores(given(topic, "a"), 0)
		time.Sleep(time.Second)
		topic = r.reopened()
		other, err := r.b.findTopic("other")
		if err != nil {
			r.Fatal(err)
		}
		r.stores(given(other, "x"), 0)
		time.Sleep(time.Second)
		r.stores(given(topic, "a"), -1)
		time.Sleep(window - 2*time.Second + time.Millisecond) // x is not over yet
		r.stores(given(topic, "a"), 1)
		time.Sleep(time.Second)
		r.stores(given(topic, "a"), -2)
		r.stores(given(other, "x"), 1)
		r.stores(given(topic, "a"), -2)
	})
}

// What a commit stored whose answer was lost is there, and known.
func TestIDOfACommitWithoutAnswer(t *testing.T) {
	for _, c := range []struct {
		fault storetest.Fault
		want  int64
	}{
		{storetest.Fault{Before: errCrash}, 1},
		{storetest.Fault{After: errCrash}, -2},
	} {
		known(t, func(r *rig, topic *Topic) {
			r.stores(given(topic, "x"), 0)
			r.store.FailNext(c.fault)
			for range 2 { // of an id whose message may be stored, no is not said later either
				if list, err := r.b.System().Store(context.Background(), given(topic, "a")); CodeOf(err) != Unknown || err == nil || list != nil {
					r.Errorf("failed commit: %v, %v", list, err)
				}
			}
			if _, err := r.b.System().Store(context.Background(), given(topic, "b")); CodeOf(err) != Unavailable || err == nil {
				r.Errorf("after the failed commit: %v", err)
			}
			r.stores(given(r.reopened(), "a"), c.want)
		})
	}
}

// In the native protocol an id is a request's, and any client may count from 1.
func TestNativeMessagesHaveNoKnownID(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.publish(topic, storage.Record{ID: "a", Headers: `{"sender":"c-1"}`}, storage.Record{ID: "b", Headers: `{"x":"sender"}`})
		topic = r.reopened()
		r.stores(given(topic, "a", "b"), 2, -2)
	})
}

func TestOldestIDsAreForgottenWhenThereAreTooMany(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.b.home().ids.most = 10
		r.stores(given(topic, "first", "second"), 0, 1)
		for i := range 9 {
			r.stores(given(topic, fmt.Sprint(i)), int64(2+i))
		}
		r.stores(given(topic, "second", "0", "first"), -2, -3, 11)
		topic = r.reopened()
		r.b.home().ids.most = 10
		r.stores(given(topic, "0", "first", "second"), -3, -12, 12)
		if n := len(r.b.home().ids.byKey); n != 11 { // one more until the next call
			r.Errorf("%d ids are known, want 11", n)
		}
	})
}
