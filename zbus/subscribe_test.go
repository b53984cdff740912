package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func publish(t testing.TB, c *zbus.Client, topic string, n int) {
	t.Helper()
	messages := make([]zbus.Message, n)
	for i := range messages {
		messages[i].Body = fmt.Append(nil, i)
	}
	if _, err := c.PublishBatch(within(t), topic, messages); err != nil {
		t.Fatal(err)
	}
}

// jobs declares a topic with an explicit group.
var jobs = &zbus.GroupSpec{Explicit: true, AckTimeout: time.Minute}

func TestHandlerSettles(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	done := make(chan string, 10)
	opts := zbus.SubscribeOptions{Declare: jobs, Backoff: zbus.ExponentialBackoff(time.Millisecond, time.Minute)}
	sub, err := c.Subscribe(within(t), "jobs", "workers", opts, func(ctx context.Context, d *zbus.Delivery) error {
		switch body := string(d.Body); {
		case body == "0" && d.Attempt == 1:
			return errors.New("not yet")
		case body == "1" && d.Attempt < 3:
			panic("not yet")
		case body == "2" && d.Attempt == 1:
			return d.Nack(ctx, "", 0)
		default:
			done <- fmt.Sprint(body, " at ", d.Attempt)
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, "jobs", 4)
	want := map[string]bool{"0 at 2": true, "1 at 3": true, "2 at 2": true, "3 at 1": true}
	for range 4 {
		got := receive(t, "a message", done)
		if !want[got] {
			t.Errorf("got %s", got)
		}
		delete(want, got)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := c.QueryGroup(within(t), "jobs", "workers")
	if err != nil || info.Lag != 0 || info.InFlight != 0 {
		t.Errorf("not all acked: %+v, %v", info, err)
	}
}

func TestCloseGivesBackWhatWasNotHandled(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	c := dial(t, broker.Addr, zbus.Options{})
	began, finish := make(chan int64), make(chan struct{})
	sub, err := c.Subscribe(within(t), "jobs", "workers", zbus.SubscribeOptions{Declare: jobs}, func(_ context.Context, d *zbus.Delivery) error {
		began <- d.Offset
		<-finish
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, "jobs", 20)
	receive(t, "the first message", began)
	closed := make(chan error, 1)
	go func() { closed <- sub.Close() }()
	select {
	case <-sub.Done():
		t.Fatal("closed while a handler runs")
	case err := <-closed:
		t.Fatalf("closed while a handler runs: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	if err := receive(t, "the end", closed); err != nil {
		t.Fatal(err)
	}
	// Others get the rest at once, long before the ack timeout.
	next := int64(1)
	for d, err := range dial(t, broker.Addr, zbus.Options{}).Messages(within(t), "jobs", "workers", zbus.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Offset != next {
			t.Fatalf("got offset %d, want %d", d.Offset, next)
		}
		if next++; next == 20 {
			break
		}
	}
}

func TestCloseHandlesWhatTheServerTakesForConsumed(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	publish(t, c, "log", 10)
	first, finish := make(chan struct{}, 10), make(chan struct{})
	var handled atomic.Int64
	ctx, cancel := context.WithCancel(within(t))
	sub, err := c.Subscribe(ctx, "log", "", zbus.SubscribeOptions{}, func(ctx context.Context, _ *zbus.Delivery) error {
		first <- struct{}{}
		<-finish
		handled.Add(1)
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the first message", first)
	if err := c.Ping(within(t)); err != nil { // so the others have come as well
		t.Fatal(err)
	}
	cancel()
	close(finish)
	receive(t, "the end of the subscription", sub.Done())
	info, err := c.QueryGroup(within(t), "log", "")
	if err != nil || sub.Err() != nil {
		t.Fatal(err, sub.Err())
	}
	if got := handled.Load(); got != 10-info.Lag || got < 2 {
		t.Errorf("%d of 10 handled, and %d not consumed", got, info.Lag)
	}
}

func TestSlowHandlerIsNotSentMore(t *testing.T) {
	t.Parallel()
	for _, window := range []int{1, 2, 7, 64} {
		t.Run(fmt.Sprint("window=", window), func(t *testing.T) {
			broker := zbustest.Start(t)
			c, admin := dial(t, broker.Addr, zbus.Options{}), dial(t, broker.Addr, zbus.Options{})
			began, proceed := make(chan struct{}), make(chan struct{})
			_, err := c.Subscribe(within(t), "jobs", "workers",
				zbus.SubscribeOptions{Declare: jobs, Window: window},
				func(context.Context, *zbus.Delivery) error {
					began <- struct{}{}
					<-proceed
					return nil
				})
			if err != nil {
				t.Fatal(err)
			}
			publish(t, admin, "jobs", 200)
			for range 3 * window {
				receive(t, "a message", began)
				info, err := admin.QueryGroup(within(t), "jobs", "workers")
				if err != nil {
					t.Fatal(err)
				}
				// One more may be acked and its ack under way.
				if info.InFlight > window+1 {
					t.Fatalf("%d messages in flight with a window of %d", info.InFlight, window)
				}
				proceed <- struct{}{}
			}
			receive(t, "a message", began)
			close(proceed)
			go func() {
				for range began {
				}
			}()
			if err := c.Drain(within(t)); err != nil {
				t.Fatal(err)
			}
			close(began)
		})
	}
}

func TestConcurrentHandlers(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	var running, most atomic.Int64
	var all, together sync.WaitGroup
	all.Add(40)
	together.Add(4)
	_, err := c.Subscribe(within(t), "jobs", "workers",
		zbus.SubscribeOptions{Declare: jobs, Concurrency: 4},
		func(_ context.Context, d *zbus.Delivery) error {
			n := running.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			if d.Offset < 4 { // continues when four run at a time
				together.Done()
				together.Wait()
			}
			running.Add(-1)
			all.Done()
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, "jobs", 40)
	all.Wait()
	if most.Load() != 4 {
		t.Errorf("%d handlers ran at a time, want 4", most.Load())
	}
}

func TestMessagesAcksByGoingOn(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	c := dial(t, broker.Addr, zbus.Options{})
	if _, err := c.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "workers", Explicit: true}); err != nil {
		t.Fatal(err)
	}
	publish(t, c, "jobs", 5)
	for d, err := range c.Messages(within(t), "jobs", "workers", zbus.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Offset == 2 {
			break
		}
	}
	info, err := c.QueryGroup(within(t), "jobs", "workers")
	if err != nil || info.Cursor != 2 || info.InFlight != 0 || info.Lag != 3 {
		t.Errorf("after leaving the loop at offset 2: %+v, %v", info, err)
	}
	for d, err := range c.Messages(within(t), "jobs", "workers", zbus.SubscribeOptions{Manual: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := d.Nack(within(t), "", time.Hour); err != nil { // it is settled: nothing happens
			t.Fatal(err)
		}
		if d.Offset == 4 {
			break
		}
	}
	if info, err = c.QueryGroup(within(t), "jobs", "workers"); err != nil || info.Lag != 0 {
		t.Errorf("after acking all: %+v, %v", info, err)
	}
}

func TestMessagesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	n := 0
	for d, err := range c.Messages(ctx, "log", "", zbus.SubscribeOptions{}) {
		n++
		if d != nil || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, zbus.ErrTimeout) {
			t.Errorf("got %v, %v", d, err)
		}
	}
	if n != 1 {
		t.Errorf("the loop ran %d times, want once with the error", n)
	}
}

// The server takes what it has sent for consumed, so it must not get lost here.
func TestMessagesThatHaveComeAreHandedOutWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	publish(t, c, "log", 100)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	n, ended := int64(0), false
	for d, err := range c.Messages(ctx, "log", "", zbus.SubscribeOptions{Window: 20}) {
		if err != nil {
			ended = errors.Is(err, context.Canceled)
			break
		}
		if d.Offset != n {
			t.Errorf("offset %d, want %d", d.Offset, n)
		}
		if n++; n == 30 {
			cancel()
		}
	}
	if !ended || n < 30 {
		t.Errorf("%d messages, ended with the context: %t", n, ended)
	}
	// What was written is noted as that a moment after it has come.
	eventually(t, fmt.Sprintf("the group is at %d", n), func() bool {
		info, err := c.QueryGroup(within(t), "log", "log")
		if err == nil && info.Cursor > n {
			t.Fatalf("the group is at %d, and %d messages were handed out", info.Cursor, n)
		}
		return err == nil && info.Cursor == n
	})
}

// Wherever the context ends, what the server has sent is handed out: nothing is missing
// when many short loops have taken a log.
func TestShortLoopsLoseNothing(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	const all = 2000
	publish(t, c, "log", all)
	next := int64(0)
	for n := 0; next < all; n++ {
		ctx, cancel := context.WithTimeout(within(t), time.Duration(n%200)*10*time.Microsecond)
		for d, err := range c.Messages(ctx, "log", "", zbus.SubscribeOptions{Window: 5}) {
			if err != nil {
				break
			}
			if d.Offset != next {
				t.Fatalf("loop %d: offset %d, want %d", n, d.Offset, next)
			}
			next++
		}
		cancel()
	}
}

func TestLeavingALoopLosesNothing(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	publish(t, c, "log", 6)
	for want := range int64(6) {
		for d, err := range c.Messages(within(t), "log", "", zbus.SubscribeOptions{}) {
			if err != nil || d.Offset != want {
				t.Fatalf("got %+v, %v; want offset %d", d, err, want)
			}
			break
		}
	}
}

func TestSubscriptionEndsWithItsGroup(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	sub, err := c.Subscribe(within(t), "log", "", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if sub.Err() != nil {
		t.Errorf("while it continues: %v", sub.Err())
	}
	if err := c.RemoveGroup(within(t), "log", ""); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the subscription", sub.Done())
	if !errors.Is(sub.Err(), zbus.ErrNotFound) {
		t.Errorf("ended with %v", sub.Err())
	}
	for _, err := range c.Messages(within(t), "log", "", zbus.SubscribeOptions{}) {
		if !errors.Is(err, zbus.ErrNotFound) {
			t.Errorf("a loop over no group: %v", err)
		}
	}
}

func TestExclusiveGroup(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	first, second := dial(t, addr, zbus.Options{}), dial(t, addr, zbus.Options{})
	opts := zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Exclusive: true}}
	nothing := func(context.Context, *zbus.Delivery) error { return nil }
	if _, err := first.Subscribe(within(t), "log", "one", opts, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Subscribe(within(t), "log", "one", opts, nothing); !errors.Is(err, zbus.ErrUnauthorized) {
		t.Errorf("the second subscriber: %v", err)
	}
}

func TestClientCloseEndsHandlers(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	publish(t, c, "log", 3)
	began := make(chan struct{}, 3)
	sub, err := c.Subscribe(within(t), "log", "", zbus.SubscribeOptions{}, func(ctx context.Context, _ *zbus.Delivery) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "a message", began)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the subscription", sub.Done())
	if !errors.Is(sub.Err(), zbus.ErrClosed) {
		t.Errorf("ended with %v", sub.Err())
	}
	_, subErr := c.Subscribe(within(t), "log", "", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
	for _, err := range []error{errOf(c.Publish(within(t), "log", zbus.Message{})), subErr, c.Ping(within(t))} {
		if !errors.Is(err, zbus.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
