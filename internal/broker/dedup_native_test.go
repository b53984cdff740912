package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// native is a message as the native protocol brings it.
func native(id string) storage.Record {
	return storage.Record{ID: id, Headers: `{"sender":"c-1"}`, Body: []byte(id)}
}

// asks is one that is to be stored once.
func asks(t *Topic, id string) Message {
	return Message{Topic: t, Record: native(id), Dedup: DedupAlways}
}

// addsOnce publishes messages once, in one batch, and compares the answer: as stores does.
func (r *rig) addsOnce(t *Topic, ids []string, want ...int64) {
	r.Helper()
	done := make(chan struct{})
	p := r.b.NewPublishing(func() { close(done) })
	for _, id := range ids {
		p.Add(asks(t, id))
	}
	_ = p.Publish(context.Background())
	<-done
	got := make([]int64, len(ids))
	for i, id := range ids {
		stored, err := p.Result(i)
		if got[i] = stored.Offset; stored.Duplicate {
			got[i] = -1 - stored.Offset
		}
		if stored.ID != id || err != nil {
			r.Errorf("message %d: %+v, %v", i, stored, err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Fatalf("stored at %d, want %d", got, want)
	}
}

func TestNativeMessageThatAsksForItIsStoredOnce(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.addsOnce(topic, []string{"a", "b", "a"}, 0, 1, -1)
		r.addsOnce(topic, []string{"b", "c"}, -2, 2)
		r.stores(given(topic, "c", "d"), -3, 3) // both kinds of clients know the same ids
		r.addsOnce(topic, []string{"d"}, -4)
		r.publish(topic, native("a")) // not asked for
		other := r.topic("other", 0, storage.Retention{})
		r.addsOnce(other, []string{"a"}, 0)
		memory := r.topic("memory", storage.KindMemory, storage.Retention{})
		first := memory.Next()
		r.addsOnce(memory, []string{"a", "a"}, first, -1-first)

		topic = r.reopened()
		r.addsOnce(topic, []string{"a", "d", "e", "c"}, -1, -4, 5, -3)
		r.stores(given(topic, "b", "e"), -2, -6)
		m, err := topic.Message(context.Background(), 0)
		if err != nil || m.Headers != onceHeaders+`"c-1"}` {
			t.Errorf("headers %q, %v", m.Headers, err)
		}
		time.Sleep(window + time.Millisecond)
		r.addsOnce(topic, []string{"a"}, 6)
	})
}

// Two connections that publish the same ids in opposite order, with the commit held.
func TestPublishersOfTheSameIDsDoNotWaitForEachOtherForever(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		release := r.store.HoldSync()
		ended := make(chan int64, 2)
		for _, ids := range [][]string{{"a", "b"}, {"b", "a"}} {
			go func() {
				done := make(chan struct{})
				p := r.b.NewPublishing(func() { close(done) })
				for _, id := range ids {
					p.Add(asks(topic, id))
				}
				_ = p.Publish(context.Background())
				<-done
				var fresh int64
				for i := range p.Len() {
					if stored, err := p.Result(i); err == nil && !stored.Duplicate {
						fresh++
					}
				}
				ended <- fresh
			}()
		}
		synctest.Wait()
		close(release)
		if n := <-ended + <-ended; n != 2 || topic.Next() != 2 {
			t.Errorf("%d messages were fresh, %d are stored; want 2", n, topic.Next())
		}
	})
}

func TestIDOfANativeMessageWhoseCommitFailed(t *testing.T) {
	for _, c := range []struct {
		fault storetest.Fault
		want  Code
		again int64 // of the same id, after it
	}{
		{storetest.Fault{Before: storage.ErrFull}, Full, 0},
		{storetest.Fault{After: errCrash}, Unknown, -1},
		{storetest.Fault{Before: errCrash}, Unknown, 0},
	} {
		known(t, func(r *rig, topic *Topic) {
			r.store.FailNext(c.fault)
			done := make(chan struct{}, 1)
			p := r.b.NewPublishing(func() { done <- struct{}{} })
			for range 2 {
				p.Add(asks(topic, "a"))
			}
			_ = p.Publish(context.Background())
			<-done
			for i := range 2 { // the repeat has the same fate
				if _, err := p.Result(i); CodeOf(err) != c.want || err == nil {
					r.Errorf("message %d: %v", i, err)
				}
			}
			if c.want == Unknown {
				p.Reset()
				p.Add(asks(topic, "a"))
				_ = p.Publish(context.Background())
				<-done
				if _, err := p.Result(0); CodeOf(err) != Unknown || err == nil || !p.Unknown() {
					r.Errorf("the same id after it: %v", err)
				}
				topic = r.reopened()
			}
			r.addsOnce(topic, []string{"a"}, c.again)
		})
	}
}

func TestDedupIsRefusedWhereIDsAreNotKept(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("t", 0, storage.Retention{})
		p := r.b.NewPublishing(func() {})
		p.Add(asks(topic, "a"))
		_ = p.Publish(context.Background())
		synctest.Wait()
		if _, err := p.Result(0); CodeOf(err) != Invalid || errors.Is(err, nil) || topic.Next() != 0 {
			t.Errorf("without a window: %v; %d messages are stored", err, topic.Next())
		}
	})
}
