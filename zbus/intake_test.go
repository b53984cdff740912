package zbus_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// tally counts how often each message was handled, and by whom.
type tally struct {
	mu    sync.Mutex
	times map[int64]int
	by    [3]int
	more  chan struct{} // capacity 1
}

func (c *tally) handler(who int) zbus.Handler {
	return func(_ context.Context, d *zbus.Delivery) error {
		c.mu.Lock()
		c.times[d.Offset]++
		c.by[who]++
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
		return nil
	}
}

// all waits until so many messages were handled.
func (c *tally) all(t *testing.T, n int) {
	t.Helper()
	for end := time.After(patience); ; {
		c.mu.Lock()
		got := len(c.times)
		c.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-c.more:
		case <-end:
			t.Fatalf("%d messages of %d were handled: %v", got, n, c.by)
		}
	}
}

func (c *tally) once(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for offset, n := range c.times {
		if n != 1 {
			t.Errorf("the message at %d was handled %d times", offset, n)
		}
	}
}

func TestSubscriptionsOfOneClientShareAGroup(t *testing.T) {
	t.Parallel()
	for _, explicit := range []bool{false, true} {
		name := map[bool]string{false: "auto", true: "explicit"}[explicit]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
			counts := &tally{times: map[int64]int{}, more: make(chan struct{}, 1)}
			spec := &zbus.GroupSpec{Explicit: explicit, AckTimeout: time.Minute}
			var subs [3]*zbus.Subscription
			for i, group := range []string{"g", "g", "G"} { // the server does not tell them apart
				sub, err := c.Subscribe(within(t), "log", group, zbus.SubscribeOptions{Declare: spec, Window: 8}, counts.handler(i))
				if err != nil {
					t.Fatal(err)
				}
				subs[i] = sub
			}
			publish(t, c, "log", 300)
			counts.all(t, 300)
			for i, n := range counts.by {
				if n < 8 { // its window; how many more depends on how fast its handler is
					t.Errorf("subscription %d got %d of 300: %v", i, n, counts.by)
				}
			}
			if err := subs[0].Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-subs[1].Done():
				t.Fatal("the end of one is that of another")
			default:
			}
			publish(t, c, "log", 300)
			counts.all(t, 600)
			if err := subs[1].Close(); err != nil {
				t.Fatal(err)
			}
			publish(t, c, "log", 100)
			counts.all(t, 700)
			counts.once(t)
			if err := subs[2].Close(); err != nil {
				t.Fatal(err)
			}
			if info, err := c.QueryGroup(within(t), "log", "g"); err != nil || info.Lag != 0 || info.InFlight != 0 || len(info.Consumers) != 0 {
				t.Errorf("%+v, %v", info, err)
			}
			// One that comes when the last one has just left is served.
			sub, err := c.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{}, counts.handler(0))
			if err != nil {
				t.Fatal(err)
			}
			publish(t, c, "log", 10)
			counts.all(t, 710)
			_ = sub.Close()
		})
	}
}

// A slow subscription does not hold up the other one, nor does its end lose what it had.
func TestASlowSubscriptionLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	counts := &tally{times: map[int64]int{}, more: make(chan struct{}, 1)}
	began, finish := make(chan int64, 1), make(chan struct{})
	var first atomic.Bool
	slow, err := c.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{Declare: jobs, Window: 4}, func(ctx context.Context, d *zbus.Delivery) error {
		if !first.Swap(true) {
			began <- d.Offset
			<-finish
		}
		return counts.handler(0)(ctx, d)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{Window: 4}, counts.handler(1)); err != nil {
		t.Fatal(err)
	}
	publish(t, c, "log", 200)
	receive(t, "a message", began)
	counts.all(t, 196) // all but what the slow one holds
	closed := make(chan error, 1)
	go func() { closed <- slow.Close() }()
	counts.all(t, 199) // what it had queued goes to the other one
	close(finish)
	if err := receive(t, "its end", closed); err != nil {
		t.Error(err)
	}
	counts.all(t, 200)
	counts.once(t)
}

func TestDrainWithSeveralSubscriptionsSettlesWhatWasHandled(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	c, admin := dial(t, broker.Addr, zbus.Options{}), dial(t, broker.Addr, zbus.Options{})
	counts := &tally{times: map[int64]int{}, more: make(chan struct{}, 1)}
	for i := range 2 {
		if _, err := c.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{Declare: jobs}, counts.handler(i)); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, admin, "log", 2000)
	counts.all(t, 100)
	if err := c.Drain(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{}, counts.handler(2)); err != nil {
		t.Fatal(err)
	}
	counts.all(t, 2000)
	counts.once(t)
}

// What a server takes for consumed is handled by the subscription that has it; the end of
// the client does not wait for that.
func TestCloseEndsTheHandlersOfASubscriptionThatHasLeft(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	began := make(chan int, 2)
	var subs [2]*zbus.Subscription
	for i := range subs {
		sub, err := c.Subscribe(within(t), "log", "", zbus.SubscribeOptions{}, func(ctx context.Context, _ *zbus.Delivery) error {
			began <- i
			<-ctx.Done()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		subs[i] = sub
	}
	publish(t, c, "log", 2)
	receive(t, "a message", began)
	receive(t, "another one", began)
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = subs[0].Close() // how it ended is not said: the client was closed
	}()
	await(t, "it has left", func() bool {
		select {
		case <-left:
			t.Error("its handler still runs")
			return true
		default:
		}
		return c.Ping(within(t)) == nil
	})
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	if err := receive(t, "the end of the client", closed); err != nil {
		t.Error(err)
	}
	receive(t, "the end of the subscription", left)
}
