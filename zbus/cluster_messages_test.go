package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// pairOf is two servers as a set, with an explicit group g of a topic on each.
func pairOf(t *testing.T, topic string) (cl *zbus.Cluster, first, second *zbustest.Broker) {
	t.Helper()
	first, second = zbustest.Start(t), zbustest.Start(t)
	cl = dialCluster(t, zbus.ClusterOptions{Options: hurried}, first.Addr, second.Addr)
	if err := cl.DeclareGroup(within(t), topic, zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
		t.Fatal(err)
	}
	return cl, first, second
}

func TestClusterPublishesManyAtATime(t *testing.T) {
	t.Parallel()
	cl, first, _ := pairOf(t, "orders")
	messages := make([]zbus.Message, 100)
	for i := range messages {
		messages[i] = zbus.Message{ID: fmt.Sprint("m", i), Body: fmt.Append(nil, i)}
		if i%2 == 0 {
			messages[i].Key = fmt.Sprint("customer ", i%10)
		}
	}
	receipts, err := cl.PublishBatch(within(t), "orders", messages)
	if err != nil || len(receipts) != len(messages) {
		t.Fatalf("%d receipts, %v", len(receipts), err)
	}
	if _, err := cl.PublishAsync(within(t), "orders", zbus.Message{Body: []byte("100")}).Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	_, err = cl.PublishBatch(within(t), "orders", []zbus.Message{{Tag: "\n"}, {Body: []byte("101")}})
	var failed *zbus.BatchError
	if !errors.As(err, &failed) || !errors.Is(failed.Errs[0], zbus.ErrInvalid) || failed.Errs[1] != nil {
		t.Errorf("one bad message: %v", err)
	}
	seen := map[string]bool{}
	for d, err := range cl.Messages(within(t), "orders", "g", zbus.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(d.Body)] {
			t.Errorf("%s comes twice", d.Body)
		}
		if seen[string(d.Body)] = true; len(seen) == 102 {
			if err := d.Ack(within(t)); err != nil {
				t.Error(err)
			}
			break
		}
	}
	for _, s := range cl.Servers() {
		settledAt(t, cl.Client(s.Address), "orders", "g")
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // what the first one has not taken goes to the second
		_, err := cl.PublishAsync(within(t), "orders", zbus.Message{Key: fmt.Sprint(i)}).Wait(within(t))
		if err == nil {
			_, err = cl.PublishBatch(within(t), "orders", []zbus.Message{{Key: fmt.Sprint(i)}, {}})
		}
		if err != nil && !errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Errorf("with one server: %v", err)
		}
	}
}

func TestClusterMessagesThatAreNotHandledComeAgain(t *testing.T) {
	t.Parallel()
	cl, _, _ := pairOf(t, "jobs")
	if _, err := cl.Publish(within(t), "jobs", zbus.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // leaving the loop acks nothing
		for d, err := range cl.Messages(within(t), "jobs", "g", zbus.SubscribeOptions{}) {
			if err != nil || string(d.Body) != "x" {
				t.Fatalf("%v, %v", d, err)
			}
			break
		}
	}
	ctx, cancel := context.WithCancel(within(t))
	n := 0
	for d, err := range cl.Messages(ctx, "jobs", "g", zbus.SubscribeOptions{}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the end: %v", err)
			}
			break
		}
		if n++; d.Attempt != 3 || n > 1 {
			t.Errorf("attempt %d of message %d", d.Attempt, n)
		}
		go func() {
			for _, s := range cl.Servers() { // it is acked when the loop asks for the next one
				settledAt(t, cl.Client(s.Address), "jobs", "g")
			}
			cancel()
		}()
	}
	cancel()
}

func TestClusterRemovesEverywhere(t *testing.T) {
	t.Parallel()
	cl, _, second := pairOf(t, "old")
	sub, err := cl.Subscribe(within(t), "old", "g", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if sub.Topic() != "old" || sub.Group() != "g" || sub.Err() != nil {
		t.Errorf("%s/%s, %v", sub.Topic(), sub.Group(), sub.Err())
	}
	if err := dial(t, second.Addr, zbus.Options{}).RemoveGroup(within(t), "old", "g"); err != nil {
		t.Fatal(err)
	}
	if err := cl.RemoveGroup(within(t), "old", "g"); err != nil {
		t.Errorf("on one of them: %v", err)
	}
	if err := cl.RemoveGroup(within(t), "old", "g"); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("on none: %v", err)
	}
	if err := cl.RemoveTopic(within(t), "old"); err != nil {
		t.Error(err)
	}
	for _, s := range cl.Servers() {
		if _, err := cl.Client(s.Address).QueryTopic(within(t), "old"); !errors.Is(err, zbus.ErrNotFound) {
			t.Errorf("at %s: %v", s.Address, err)
		}
	}
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	<-sub.Done()
	if err := sub.Err(); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := cl.PublishAsync(within(t), "old", zbus.Message{}).Wait(within(t)); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("a publish after Close: %v", err)
	}
}
