package broker

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A consumer that settles later may go in between.
func TestLeftDeliveryStaysInFlight(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(3, 0)
		c, other := r.subscribe(g, "a"), r.subscribe(g, "b")
		b := c.take(3)[0]
		b.Done(2) // the last one was never sent
		c.sub.Leave()
		if c.sub.SetCredit("more", 1) || len(g.Info().Consumers) != 1 {
			r.Error("who left is still there")
		}
		if list, counts := offsets(other.take(9)); !slices.Equal(list, []int64{2}) || counts[0] != 1 {
			r.Errorf("delivered %d with counts %d, want 2 for the first time", list, counts)
		}
		if err := g.ackNow(0, b.Handle(0)); err != nil {
			r.Errorf("ack by who left: %v", err)
		}
		time.Sleep((DefaultAckTimeout - 1) * time.Millisecond)
		synctest.Wait()
		if list, _ := offsets(other.drain()); len(list) > 0 {
			r.Errorf("delivered %d before the timeout", list)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if list, counts := offsets(other.drain()); !slices.Equal(list, []int64{1, 2}) || counts[0] != 2 {
			r.Errorf("delivered %d with counts %d, want 1 and 2 after their timeout", list, counts)
		}
		if err := g.ackNow(1, b.Handle(1)); CodeOf(err) != Conflict || err == nil {
			r.Errorf("ack after the timeout: %v, want a conflict", err)
		}
	})
}

// Also when nobody else is there, and when its report comes after it left.
func TestDeliveryOfTheLastOneToLeave(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(2, 0)
		c := r.subscribe(g, "a")
		b := c.take(2)[0]
		c.sub.Leave()
		synctest.Wait()
		b.Done(2)
		if n := g.Info().InFlight; n != 2 {
			r.Errorf("%d are in flight, want 2", n)
		}
		if err := g.nackNow(1, b.Handle(1), 0); err != nil {
			r.Errorf("nack by who left: %v", err)
		}
		again := r.subscribe(g, "b").take(1)
		if list, _ := offsets(again); !slices.Equal(list, []int64{1}) {
			r.Fatalf("delivered %d, want what was given back", list)
		}
		if err := g.ackNow(1, again[0].Handle(0)); err != nil {
			r.Fatal(err)
		}
		time.Sleep((DefaultAckTimeout + 1) * time.Millisecond)
		if list, counts := offsets(r.subscribe(g, "c").take(1)); !slices.Equal(list, []int64{0}) || counts[0] != 2 {
			r.Errorf("delivered %d with counts %d, want 0 after its timeout", list, counts)
		}
	})
}

func TestExtendedDeliveryHasItsWholeTimeAgain(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.explicitGroup(2, 0)
		g := r.group(GroupSpec{Topic: "orders", AckTimeout: ptr[int64](1000)})
		c := r.subscribe(g, "c")
		b := c.take(9)[0]
		b.Done(2)
		for range 3 {
			time.Sleep(900 * time.Millisecond)
			if err := g.Extend(0, b.Handle(0)); err != nil {
				r.Fatal(err)
			}
		}
		time.Sleep(1000 * time.Millisecond)
		synctest.Wait()
		if list, _ := offsets(c.drain()); !slices.Equal(list, []int64{1, 1, 1}) {
			r.Errorf("delivered %d, want 1 after each of its timeouts", list)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if list, counts := offsets(c.drain()); !slices.Equal(list, []int64{0}) || counts[0] != 2 {
			r.Errorf("delivered %d with counts %d, want 0 again", list, counts)
		}
		if err := g.Extend(0, b.Handle(0)); CodeOf(err) != Conflict || err == nil {
			r.Errorf("extension after the timeout: %v, want a conflict", err)
		}
	})
}

// A group keeps nothing of a consumer that has left, nor do those that were in a list with it:
// a connection has buffers, and there are many groups.
func TestAGroupKeepsNothingOfConsumersThatHaveLeft(t *testing.T) {
	for _, stay := range []int{0, 1} {
		inBubble(t, Options{}, func(r *rig) {
			r.topic("orders", 0, storage.Retention{})
			g := r.group(GroupSpec{Topic: "orders"})
			gone := weak.Make(func() *consumer {
				c := r.subscribe(g, "gone")
				c.take(1)
				return c
			}())
			var others []*consumer
			for range stay {
				others = append(others, r.subscribe(g, "stays"))
			}
			gone.Value().sub.Close()
			synctest.Wait()
			runtime.GC()
			if gone.Value() != nil {
				r.Errorf("with %d others, the group still has the consumer that left", stay)
			}
			for _, c := range others {
				c.sub.Close()
			}
			runtime.KeepAlive(g)
		})
	}
}
