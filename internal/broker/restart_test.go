package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// explicitGroup declares a topic of n messages and a group that acks them.
func (r *rig) explicitGroup(n int, most int64) *Group {
	r.Helper()
	t := r.topic("orders", 0, storage.Retention{})
	g := r.group(GroupSpec{Topic: "orders", Settle: ptr(storage.SettleExplicit), MaxDeliver: &most})
	r.mustPublish(t, make([]string, n)...)
	return g
}

// again finds the group of explicitGroup in a restarted broker.
func (r *rig) again() *Group {
	r.Helper()
	g, err := r.b.System().Group("orders", "")
	if err != nil {
		r.Fatal(err)
	}
	return g
}

func TestGivenBackBeforeACrashIsDeliveredOnceAfterIt(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(5, 0)
		c := r.subscribe(g, "a")
		b := c.take(5)[0]
		for _, i := range []int{1, 3} {
			if err := g.nackNow(int64(i), b.Handle(i), 0); err != nil {
				r.Fatal(err)
			}
		}
		if err := g.ackNow(2, b.Handle(2)); err != nil {
			r.Fatal(err)
		}
		time.Sleep(time.Second)
		r.crash()

		g = r.again()
		got := r.subscribe(g, "b").take(10)
		list, counts := offsets(got)
		if !slices.Equal(list, []int64{1, 3, 0, 4}) || !slices.Equal(counts, []int64{2, 2, 2, 2}) {
			r.Fatalf("after the crash: offsets %d, counts %d", list, counts)
		}
		for _, b := range got {
			for i, item := range b.Items {
				if err := g.ackNow(item.Record.Offset, b.Handle(i)); err != nil {
					r.Errorf("ack of offset %d: %v", item.Record.Offset, err)
				}
			}
		}
		if info := g.Info(); info.Cursor != 5 || info.InFlight+info.Returned > 0 || len(info.Settled) > 0 {
			r.Errorf("all is acked, and the group is at %+v", info)
		}
	})
}

// What comes back first after a restart may be acked before the log is read up
// to its offset.
func TestAckedAfterACrashIsNotReadAgain(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(3, 0)
		b := r.subscribe(g, "a").take(1)[0]
		if err := g.nackNow(0, b.Handle(0), 0); err != nil {
			r.Fatal(err)
		}
		r.crash()

		g = r.again()
		c := r.subscribe(g, "b")
		for want := range int64(3) {
			b := c.take(1)[0]
			if o := b.Items[0].Record.Offset; o != want {
				r.Fatalf("offset %d is delivered, want %d", o, want)
			}
			if err := g.ackNow(want, b.Handle(0)); err != nil {
				r.Fatal(err)
			}
		}
		if more := c.take(1); len(more) > 0 {
			r.Errorf("offset %d is delivered after all is acked", more[0].Items[0].Record.Offset)
		}
	})
}

func TestLagCountsNothingThatWasDropped(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(10, 0)
		c := r.subscribe(g, "a")
		b := c.take(10)[0]
		for _, o := range []int{2, 3, 7} {
			if err := g.ackNow(int64(o), b.Handle(o)); err != nil {
				r.Fatal(err)
			}
		}
		b.Done(10)
		c.sub.Close() // nobody is left who would notice what is dropped
		r.topic("orders", 0, storage.Retention{MaxCount: 5})
		time.Sleep(2 * retentionInterval)
		synctest.Wait()
		if n := g.unsettled(); n != 4 {
			r.Errorf("lag %d of the messages 5 to 9, of which 7 is acked; want 4", n)
		}
	})
}

func TestUnsentDeliveryDoesNotCount(t *testing.T) {
	for _, closed := range []bool{false, true} {
		inBubble(t, Options{}, func(r *rig) {
			g := r.explicitGroup(3, 1) // one attempt each
			c := r.subscribe(g, "a")
			b := c.take(3)[0]
			if closed {
				c.sub.Close()
			}
			b.Done(1)
			c.sub.Close()
			list, counts := offsets(r.subscribe(g, "b").take(3))
			if !slices.Equal(list, []int64{1, 2}) || !slices.Equal(counts, []int64{1, 1}) {
				r.Errorf("closed first: %t: offsets %d with counts %d, want the two that were never sent", closed, list, counts)
			}
		})
	}
}

func TestTimedOutMessageIsDeadLetteredWithoutFurtherEvents(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 1)
		r.subscribe(g, "a").take(1)[0].Done(1)
		time.Sleep(DefaultAckTimeout*time.Millisecond + time.Second)
		synctest.Wait()
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil || dead.Next() != 1 {
			r.Fatalf("no dead letter: %v", err)
		}
		if at := g.Info().Cursor; at != 1 {
			r.Errorf("the dead message is not settled: cursor %d", at)
		}
	})
}
