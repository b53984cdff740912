package broker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestExclusiveGroupHasOneSession(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("jobs", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "jobs", Exclusive: ptr(true)})
		first := r.subscribe(g, "one")
		r.subscribe(g, "one").sub.Close() // the same session may come twice
		if _, err := g.Subscribe(&consumer{session: "two"}); CodeOf(err) != Conflict || !errors.Is(err, ErrExclusive) {
			r.Errorf("second session: %v, want a conflict", err)
		}
		first.sub.Close()
		r.subscribe(g, "two")
	})
}

func TestGroupIsDeletedWithItsLastSession(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("jobs", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "jobs", Ephemeral: ptr(true)})
		a, b := r.subscribe(g, "a"), r.subscribe(g, "b")
		a.sub.Close()
		synctest.Wait()
		if _, err := topic.group(""); err != nil {
			r.Fatalf("one session is left: %v", err)
		}
		b.sub.Close()
		synctest.Wait()
		if _, err := topic.group(""); CodeOf(err) != NotFound || err == nil {
			r.Errorf("no session is left, and the group is there: %v", err)
		}
		r.crash()
		if _, err := r.b.System().Group("jobs", ""); CodeOf(err) != NotFound || err == nil {
			r.Errorf("the group came back with a restart: %v", err)
		}
	})
}

// A consumer that takes and never writes gets its share, and the others lose
// nothing.
func TestStuckConsumerGetsItsShareAndCostsOthersNothing(t *testing.T) {
	const size, share = 1000, 10_000
	inBubble(t, Options{PrefetchBytes: share, OutboundBytes: 4 * share}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders"})
		stuck, good := r.subscribe(g, "stuck"), r.subscribe(g, "good")
		good.eager = true
		stuck.sub.SetCredit("s", 100_000)
		good.sub.SetCredit("g", 100_000)
		recs := make([]storage.Record, 500)
		for i := range recs {
			recs[i].Body = make([]byte, size)
		}
		r.publish(topic, recs...)
		list, _ := offsets(stuck.drain())
		others, _ := offsets(good.drain())
		if n := len(list) * (size + recordOverhead); n == 0 || n > share+size+recordOverhead {
			r.Errorf("the stuck consumer holds %d bytes, its share is %d", n, share)
		}
		if len(list)+len(others) != len(recs) {
			r.Errorf("%d and %d messages were delivered, want %d", len(list), len(others), len(recs))
		}
		if held := int64(len(list) * (size + recordOverhead)); r.b.Outbound() != held {
			r.Errorf("%d bytes are under way, want %d", r.b.Outbound(), held)
		}
	})
}

// Many stuck consumers, each of which could hold a quarter of what all together
// may, leave room for one that works.
func TestCrowdOfStuckConsumersLeavesRoomForOthers(t *testing.T) {
	const size, share = 1000, 64_000
	inBubble(t, Options{PrefetchBytes: share, OutboundBytes: 4 * share}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		for i := range 40 {
			name := fmt.Sprint("stuck", i)
			c := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: name}), name)
			c.sub.SetCredit("s", 100_000)
		}
		recs := make([]storage.Record, 500)
		for i := range recs {
			recs[i].Body = make([]byte, size)
		}
		r.publish(topic, recs...)
		good := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: "good", Start: Position{At: AtEarliest}}), "good")
		good.eager = true
		good.sub.SetCredit("g", 100_000)
		synctest.Wait()
		if list, _ := offsets(good.drain()); len(list) != len(recs) {
			r.Errorf("the good consumer got %d messages of %d while %d bytes are under way", len(list), len(recs), r.b.Outbound())
		}
	})
}

func TestAllConsumersTogetherHoldNoMoreThanTheLimit(t *testing.T) {
	const size, limit = 1000, 20_000
	inBubble(t, Options{PrefetchBytes: limit / 2, OutboundBytes: limit}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		var all []*consumer
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			g := r.group(GroupSpec{Topic: "orders", Name: name})
			c := r.subscribe(g, name)
			c.sub.SetCredit("x", 1000)
			all = append(all, c)
		}
		recs := make([]storage.Record, 100)
		for i := range recs {
			recs[i].Body = make([]byte, size)
		}
		r.publish(topic, recs...)
		// Each pump looks at the sum before it fills a batch, so each can go
		// over by one batch.
		if n := r.b.Outbound(); n < limit/2 || n > limit+int64(len(all))*limit/2 {
			r.Errorf("%d bytes are under way, the limit is %d", n, limit)
		}
		for range 1000 {
			left := 0
			for _, c := range all {
				for _, b := range c.drain() {
					b.Done(len(b.Items))
				}
				left += int(topic.Next() - c.sub.Group().Info().Cursor)
			}
			if left == 0 {
				return
			}
			time.Sleep(20 * time.Millisecond)
			synctest.Wait()
		}
		r.Error("not all got everything after the others had written")
	})
}

// Sending takes longer than all the rest: others are served while it lasts, whether the
// pump sends or the consumer itself.
func TestWhoSendsHoldsUpNobodyElse(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("t", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "t", Name: "g"})
		slow, quick := r.subscribe(g, "slow"), r.subscribe(g, "quick")
		slow.hold = make(chan struct{})
		defer close(slow.hold)

		slow.sub.SetCredit("waits", 1)
		r.mustPublish(topic, "sent by the pump")
		r.mustPublish(topic, "", "", "")
		if got, _ := offsets(quick.take(1)); !slices.Equal(got, []int64{1}) {
			t.Errorf("while the pump sends, another consumer gets %v, want the second message", got)
		}
		go slow.sub.SetCredit("has it at once", 1)
		synctest.Wait()
		if got, _ := offsets(slow.drain()); !slices.Equal(got, []int64{0, 2}) {
			t.Errorf("the slow consumer got %v", got)
		}
		if got, _ := offsets(quick.take(1)); !slices.Equal(got, []int64{3}) {
			t.Errorf("while a consumer sends, another one gets %v, want the last message", got)
		}
	})
}
