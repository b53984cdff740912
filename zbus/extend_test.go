package zbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// hasty declares an explicit group that does not wait for long.
func hasty(timeout time.Duration) *zbus.GroupSpec {
	return &zbus.GroupSpec{Explicit: true, AckTimeout: timeout, MaxDeliver: 2}
}

// A handler that takes longer than the ack timeout, and a message that waits for it even longer.
func TestASlowHandlerGetsEachMessageOnce(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // so that a machine that is busy extends in time
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	handled := make(chan int, 100)
	_, err := c.Subscribe(within(t), "slow", "g", zbus.SubscribeOptions{Declare: hasty(timeout)}, func(ctx context.Context, d *zbus.Delivery) error {
		if due, ok := d.Deadline(); !ok || time.Until(due) > 2*timeout {
			t.Errorf("deadline %v, %t", due, ok)
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("a handler whose time is extended has a deadline")
		}
		select {
		case <-time.After(timeout + timeout/2): // the work
		case <-ctx.Done():
			t.Errorf("the context ended: %v", context.Cause(ctx))
		}
		handled <- d.Attempt
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, "slow", 2)
	for range 2 {
		if attempt := receive(t, "a message", handled); attempt != 1 {
			t.Errorf("attempt %d", attempt)
		}
	}
	await(t, "everything is settled", func() bool {
		info, err := c.QueryGroup(within(t), "slow", "g")
		return err == nil && info.Lag == 0 && info.InFlight == 0
	})
	if _, err := c.QueryTopic(within(t), "slow.dead"); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("there are dead letters: %v", err)
	}
	if n := len(handled); n != 0 {
		t.Errorf("%d messages came again", n)
	}
}

func TestAHandlersContextEndsWithItsTime(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	began, ended := make(chan time.Time, 10), make(chan error, 10)
	opts := zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Explicit: true, AckTimeout: timeout}, NoExtend: true}
	_, err := c.Subscribe(within(t), "log", "g", opts, func(ctx context.Context, d *zbus.Delivery) error {
		due, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		if d.Attempt == 1 {
			if left := time.Until(due); left > timeout {
				t.Errorf("the deadline is in %s", left)
			}
			began <- due
			<-ctx.Done()
			if left := time.Until(due); left > 0 {
				t.Errorf("ended %s before the deadline", left)
			}
			ended <- context.Cause(ctx)
			return ctx.Err()
		}
		if err := d.Extend(ctx); err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return err // this machine was too busy for it: it comes again
		}
		if later, _ := ctx.Deadline(); !later.After(due) {
			t.Errorf("extended from %v to %v", due, later)
		}
		ended <- ctx.Err()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	publish(t, c, "log", 1)
	if due := receive(t, "the message", began); due.Before(before) {
		t.Errorf("the deadline was %s before the message was published", before.Sub(due))
	}
	if err := receive(t, "the end of its context", ended); !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("cause %v", err)
	}
	if err := receive(t, "the second attempt", ended); err != nil {
		t.Errorf("extended: %v", err)
	}
}

func TestExtendingByHandKeepsADelivery(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	ended := make(chan error, 10)
	_, err := c.Subscribe(within(t), "log", "g", zbus.SubscribeOptions{Declare: hasty(timeout), NoExtend: true}, func(ctx context.Context, d *zbus.Delivery) error {
		if d.Attempt != 1 {
			t.Errorf("attempt %d", d.Attempt)
		}
		for range 4 {
			select {
			case <-time.After(timeout / 3): // a part of the work
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return nil
			}
			if err := d.Extend(ctx); err != nil {
				t.Error(err)
			}
		}
		ended <- d.Ack(ctx)
		return d.Extend(ctx) // settled: nothing to do
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, "log", 1)
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

func TestAHandlersContextEndsWhenItsDeliveryIsLost(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	p := through(t, broker.Addr)
	admin, c := dial(t, broker.Addr, zbus.Options{}), dial(t, p.addr, zbus.Options{})
	began, ended := make(chan *zbus.Delivery, 10), make(chan error, 10)
	opts := zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Explicit: true, AckTimeout: 3 * time.Second}}
	_, err := c.Subscribe(within(t), "log", "g", opts, func(ctx context.Context, d *zbus.Delivery) error {
		if d.Attempt > 2 {
			return nil
		}
		began <- d
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, admin, "log", 1)
	receive(t, "the message", began)
	p.cutAll()
	if err := receive(t, "the end of a context whose connection was lost", ended); !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("cause %v", err)
	}
	d := receive(t, "the message again", began)
	if _, err := admin.Relocate(within(t), "log", "g", zbus.Latest(), ""); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end of a context whose group was moved", ended); !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("cause %v", err)
	}
	if err := d.Extend(within(t)); err != nil && !errors.Is(err, zbus.ErrConflict) {
		t.Errorf("extending what is lost: %v", err)
	}
}
