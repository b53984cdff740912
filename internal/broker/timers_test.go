package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// pull takes messages like one request that ends: what it got stays in flight.
func (r *rig) pull(g *Group, credit int64) []*Batch {
	r.Helper()
	c := r.subscribe(g, "pull")
	got := c.take(credit)
	c.sub.Withdraw("take")
	for _, b := range got {
		b.Done(len(b.Items))
	}
	c.sub.Leave()
	synctest.Wait()
	return got
}

func TestAckTimeoutNeedsNoConsumerToBeNoticed(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(2, 2)
		if list, _ := offsets(r.pull(g, 1)); !slices.Equal(list, []int64{0}) {
			r.Fatalf("pulled %d", list)
		}
		time.Sleep(DefaultAckTimeout * time.Millisecond)
		if info := g.Info(); info.InFlight != 1 {
			r.Errorf("before the timeout: %+v", info)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if info, n := g.Info(), g.Counts(); info.InFlight != 0 || info.Returned != 1 || n.Timeouts != 1 {
			r.Errorf("nobody asks, and after the timeout: %+v, %+v", info, n)
		}
		r.pull(g, 1)
		time.Sleep(DefaultAckTimeout*time.Millisecond + 100*time.Millisecond)
		synctest.Wait()
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil || dead.Next() != 1 {
			r.Errorf("nobody asks, and there is no dead letter: %v", err)
		}
		if at := g.Info().Cursor; at != 1 {
			r.Errorf("cursor %d, want 1", at)
		}
	})
}

func TestWaitingPullIsServedWhenADelayIsOver(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 0)
		b := r.pull(g, 1)[0]
		if err := g.nackNow(0, b.Handle(0), 5000); err != nil {
			r.Fatal(err)
		}
		start := time.Now()
		c := r.subscribe(g, "waits")
		if got := c.take(1); len(got) > 0 {
			r.Fatal("delivered before the delay was over")
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if len(c.times) != 1 || c.times[0].Sub(start) > 5002*time.Millisecond {
			r.Errorf("delivered at %v, want 5 s after %v", c.times, start)
		}
	})
}

// What retention or an administrator takes leaves the window at once.
func TestDroppedMessagesLeaveTheWindow(t *testing.T) {
	for _, c := range []struct {
		name string
		kind storage.Kind
		drop func(r *rig)
	}{
		{"retention", 0, func(r *rig) {
			r.topic("orders", 0, storage.Retention{MaxAge: 1000})
			time.Sleep(3 * time.Second)
		}},
		{"memory", storage.KindMemory, func(r *rig) {
			r.topic("orders", storage.KindMemory, storage.Retention{MaxAge: 1000})
			time.Sleep(3 * time.Second)
		}},
		{"empty", 0, func(r *rig) {
			if err := r.b.emptyTopic(context.Background(), "orders", "", named("ann")); err != nil {
				r.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				topic := r.topic("orders", c.kind, storage.Retention{})
				first := topic.Next()
				g := r.group(GroupSpec{Topic: "orders", Settle: ptr(storage.SettleExplicit), AckWindow: ptr[int64](2)})
				r.mustPublish(topic, "", "")
				held := r.pull(g, 2)[0]
				stays := r.subscribe(g, "stays")
				stays.take(1)
				c.drop(r)
				synctest.Wait()
				if info := g.Info(); info.InFlight != 0 || info.Cursor != first+2 {
					r.Errorf("all messages are gone, and the group is at %+v", info)
				}
				r.mustPublish(topic, "")
				if list, _ := offsets(stays.drain()); !slices.Equal(list, []int64{first + 2}) {
					r.Errorf("the consumer that waits got %d, want the new message", list)
				}
				// Its consumer did what it had to.
				if err := g.ackNow(first, held.Handle(0)); err != nil {
					r.Errorf("ack of a message that is gone: %v", err)
				}
				if err := g.ackNow(first+2, held.Handle(1)); CodeOf(err) != Conflict || err == nil {
					r.Errorf("ack of another's message: %v, want a conflict", err)
				}
			})
		})
	}
}

func TestIdleGroupsHaveNoAlarm(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 0)
		b := r.pull(g, 1)[0]
		if err := g.ackNow(0, b.Handle(0)); err != nil {
			r.Fatal(err)
		}
		time.Sleep(2 * DefaultAckTimeout * time.Millisecond)
		synctest.Wait()
		if n := len(r.b.timers.queue); n > 0 {
			r.Errorf("%d alarms, and nothing is due", n)
		}
	})
}

// A group that is removed is not kept in memory by what was due in it.
func TestRemovedGroupHasNoAlarm(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 0)
		r.pull(g, 1)
		if err := r.b.removeGroup(context.Background(), "orders", "", "", named("ann")); err != nil {
			r.Fatal(err)
		}
		if n := len(r.b.timers.queue); n > 0 {
			r.Errorf("%d alarms, and the only group is gone", n)
		}
	})
}
