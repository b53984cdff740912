package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Groups that lag behind keep what was read for them only as far as there is room, also
// when their consumers have gone, and none of them misses a message for it.
func TestGroupsThatLagBehindShareTheRoomForWhatWasRead(t *testing.T) {
	const size, page = 1000, pageBytes + 2*(1000+recordOverhead)
	inBubble(t, Options{TailBytes: 1, PageBytes: 2 * page, OutboundBytes: 1 << 30}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		recs := make([]storage.Record, 500)
		for i := range recs {
			recs[i].Body = make([]byte, size)
		}
		r.publish(topic, recs...)
		var all []*consumer
		got := make([]int, 20)
		for i := range got {
			name := fmt.Sprint("g", i)
			c := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: name, Start: Position{At: AtEarliest}}), name)
			c.sub.SetCredit("x", 1)
			synctest.Wait()
			got[i] = len(c.drain())
			all = append(all, c)
			if n := r.b.Pages(); n == 0 || n > 2*page {
				r.Fatalf("%d bytes are kept for %d groups, want at most %d", n, i+1, 2*page)
			}
		}
		for i, c := range all {
			c.eager = true
			c.sub.SetCredit("x", 1000)
			synctest.Wait()
			list, _ := offsets(c.drain())
			if got[i] += len(list); got[i] != len(recs) {
				r.Errorf("group %d got %d messages, want %d", i, got[i], len(recs))
			}
		}
		if n := r.b.Pages(); n != 0 {
			r.Errorf("%d bytes are kept when everything is delivered", n)
		}
		for _, c := range all {
			if err := r.b.removeGroup(t.Context(), "orders", c.sub.Group().Name(), "", named("")); err != nil {
				r.Error(err)
			}
		}
	})
}

// A group whose consumers have left keeps nothing for long. One that has some does.
func TestAGroupWithoutConsumersSoonKeepsNothingOfWhatWasRead(t *testing.T) {
	inBubble(t, Options{TailBytes: 1}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.publish(topic, make([]storage.Record, 100)...)
		read := func(name string) *consumer {
			c := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: name, Start: Position{At: AtEarliest}}), name)
			c.take(1)
			return c
		}
		left := read("left")
		one := r.b.Pages()
		stays := read("stays")
		left.sub.Close()
		time.Sleep(pageRest * time.Millisecond / 2)
		if n := r.b.Pages(); n != 2*one || one == 0 {
			r.Fatalf("%d bytes are kept soon after a consumer has left, want %d", n, 2*one)
		}
		time.Sleep(pageRest * time.Millisecond)
		if n := r.b.Pages(); n != one {
			r.Errorf("%d bytes are kept, want the %d of the group that has a consumer", n, one)
		}
		again := r.subscribe(left.sub.Group(), "again")
		again.eager = true
		if list, _ := offsets(again.take(1000)); len(list) != 99 && len(list) != 100 {
			r.Errorf("the next consumer got %d messages of 100", len(list))
		}
		stays.sub.Close()
	})
}

// What a removed group kept is let go.
func TestARemovedGroupKeepsNothingOfWhatWasRead(t *testing.T) {
	inBubble(t, Options{TailBytes: 1}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.publish(topic, make([]storage.Record, 100)...)
		g := r.group(GroupSpec{Topic: "orders", Start: Position{At: AtEarliest}})
		c := r.subscribe(g, "c")
		c.sub.SetCredit("x", 1)
		synctest.Wait()
		if r.b.Pages() == 0 {
			r.Fatal("nothing is kept of what was read")
		}
		if err := r.b.removeGroup(t.Context(), "orders", g.Name(), "", named("")); err != nil {
			r.Fatal(err)
		}
		if n := r.b.Pages(); n != 0 {
			r.Errorf("%d bytes are kept", n)
		}
	})
}

// Large messages that nobody takes fill what may be under way, and small ones pass.
func TestSmallMessagesGoOnWhenLargeOnesFillTheMemory(t *testing.T) {
	const large = 1 << 20
	inBubble(t, Options{OutboundBytes: 2 * large}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		for i := range 4 {
			name := fmt.Sprint("stuck", i)
			c := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: name}), name)
			c.sub.SetCredit("s", 100)
		}
		r.publish(topic, storage.Record{Body: make([]byte, 2*large)})
		r.publish(topic, storage.Record{Body: make([]byte, 2*large)})
		synctest.Wait()
		if n := r.b.Outbound(); n < 2*large {
			r.Fatalf("only %d bytes are under way", n)
		}
		small := r.topic("small", 0, storage.Retention{})
		good := r.subscribe(r.group(GroupSpec{Topic: "small"}), "good")
		good.eager = true
		good.sub.SetCredit("g", 100)
		for range 10 {
			r.publish(small, storage.Record{Body: make([]byte, 100)})
		}
		synctest.Wait()
		if list, _ := offsets(good.drain()); len(list) != 10 {
			r.Errorf("%d of 10 small messages were delivered", len(list))
		}
	})
}
