package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestServerRestart(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	c := dial(t, broker.Addr, hurried)
	got := make(chan string, 100)
	sub, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Declare: jobs}, func(_ context.Context, d *zbus.Delivery) error {
		got <- d.ID
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		id := fmt.Sprint("round-", round)
		if _, err := c.Publish(within(t), "jobs", zbus.Message{ID: id}); err != nil {
			t.Fatal(err)
		}
		for receive(t, id, got) != id { // an ack may not have arrived in time
		}
		if err := broker.Stop(); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- errOf(c.Publish(within(t), "jobs", zbus.Message{ID: id + "-waiting"})) }()
		if err := broker.Restart(); err != nil {
			t.Fatal(err)
		}
		err := receive(t, "the publish", waiting)
		for errors.Is(err, zbus.ErrUnknownOutcome) { // the loss was noticed with this one
			_, err = c.Publish(within(t), "jobs", zbus.Message{ID: id + "-waiting"})
		}
		if err != nil {
			t.Fatal(err)
		}
		for receive(t, "what waited", got) != id+"-waiting" {
		}
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	first, second := zbustest.Start(t), zbustest.Start(t)
	c := dialServer(t, first.Addr+","+second.Addr, hurried)
	got := make(chan string, 10)
	_, err := c.Subscribe(within(t), "log", "", zbus.SubscribeOptions{Declare: &zbus.GroupSpec{}}, func(_ context.Context, d *zbus.Delivery) error {
		got <- string(d.Body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	for { // one that was sent to the first may be unknown
		_, err := c.Publish(within(t), "log", zbus.Message{Body: []byte("to the second")})
		if err == nil {
			break
		}
		if !errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Fatal(err)
		}
	}
	if receive(t, "the message", got) != "to the second" || c.Address() != second.Addr {
		t.Errorf("connected to %s, want %s", c.Address(), second.Addr)
	}
}

func TestWithoutConnection(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	declare(t, direct, "log")
	p := through(t, broker.Addr)
	lost := make(chan zbus.State, 100)
	opts := hurried
	opts.ReconnectTimeout = time.Minute
	opts.OnState = func(s zbus.State) { lost <- s }
	patient := dial(t, p.addr, opts)
	opts.ReconnectTimeout = -1
	hasty := dial(t, p.addr, opts)
	receive(t, "a connection", lost)
	receive(t, "a connection", lost)
	p.down()
	receive(t, "a loss", lost)
	receive(t, "a loss", lost)

	if _, err := hasty.Publish(within(t), "log", zbus.Message{ID: "hasty"}); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("without a connection and patience: %v", err)
	}
	_, err := patient.Publish(timed(t, 50*time.Millisecond), "log", zbus.Message{ID: "given up"})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, zbus.ErrTimeout) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("given up before it was sent: %v", err)
	}
	later := patient.PublishAsync(within(t), "log", zbus.Message{ID: "later"})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := patient.PublishBatch(ended, "log", []zbus.Message{{ID: "batch"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch without time: %v", err)
	}
	p.up(t)
	if _, err := later.Wait(within(t)); err != nil {
		t.Error(err)
	}
	if found := stored(t, direct, "log"); len(found) != 1 || found["later"] != 1 {
		t.Errorf("stored: %v", found)
	}
	if _, err := zbus.Dial(within(t), "127.0.0.1:1", zbus.Options{}); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("dial to nobody: %v", err)
	}
	if _, err := zbus.Dial(within(t), "http://x", zbus.Options{}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("dial with a bad address: %v", err)
	}
}

func TestReconnectTimeoutEndsRequests(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	p := through(t, broker.Addr)
	opts := hurried
	opts.ReconnectTimeout = 50 * time.Millisecond
	c := dial(t, p.addr, opts)
	p.down()
	if _, err := c.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrUnavailable) && !errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	// The loss is known by now, so this one is not sent.
	if _, err := c.Publish(within(t), "log", zbus.Message{}); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
