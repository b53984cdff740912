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

// pairOf is two servers as a set, with an explicit group g of a topic on each.
func pairOf(t *testing.T, topic string) (cl *zbus.Client, first, second *zbustest.Broker) {
	t.Helper()
	first, second = zbustest.Start(t), zbustest.Start(t)
	cl = dialCluster(t, hurried, first.Addr, second.Addr)
	if _, err := cl.DeclareGroup(within(t), topic, zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Hour}); err != nil {
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
		settledAt(t, cl.Server(s.Address), "orders", "g")
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
				settledAt(t, cl.Server(s.Address), "jobs", "g")
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
		if _, err := cl.Server(s.Address).QueryTopic(within(t), "old"); !errors.Is(err, zbus.ErrNotFound) {
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

// downFor is a set of one server, which is down.
func downFor(t *testing.T, opts zbus.Options) (*zbus.Client, *zbustest.Broker) {
	t.Helper()
	broker := zbustest.Start(t)
	cl := dialCluster(t, opts, broker.Addr)
	if _, err := cl.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := broker.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is lost", func() bool { return cl.Server(broker.Addr) == nil || cl.Server(broker.Addr).Address() == "" })
	return cl, broker
}

func TestAMessageOfAClusterMayBeChangedOnceItIsQueued(t *testing.T) {
	t.Parallel()
	cl, broker := downFor(t, hurried)
	m := zbus.Message{Body: []byte("as it was"), Headers: map[string]string{"state": "old"}}
	future := cl.PublishAsync(within(t), "jobs", m)
	copy(m.Body, "as it is!")
	m.Headers["state"] = "new"
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := future.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	for d, err := range cl.Messages(within(t), "jobs", "g", zbus.SubscribeOptions{}) {
		if err != nil || string(d.Body) != "as it was" || d.Header("state") != "old" {
			t.Errorf("%+v, %v", d, err)
		}
		break
	}
}

func TestAClusterWaitsForAServerOnceForABatch(t *testing.T) {
	t.Parallel()
	cl, _ := downFor(t, zbus.Options{ReconnectTimeout: time.Second, MaxBackoff: 50 * time.Millisecond})
	ctx, cancel := context.WithTimeout(within(t), patience)
	defer cancel()
	_, err := cl.PublishBatch(ctx, "jobs", make([]zbus.Message, 100)) // one by one it takes longer than ctx
	var failed *zbus.BatchError
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for i, err := range failed.Errs {
		if !errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

func TestMessagesThatWaitForAServerAreBounded(t *testing.T) {
	t.Parallel()
	cl, broker := downFor(t, zbus.Options{MaxPending: 3, ReconnectTimeout: time.Minute, MaxBackoff: 50 * time.Millisecond})
	var queued []*zbus.Future
	for range 3 {
		queued = append(queued, cl.PublishAsync(within(t), "jobs", zbus.Message{}))
	}
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	more := cl.PublishAsync(ctx, "jobs", zbus.Message{})
	select {
	case <-more.Done():
		if _, err := more.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Errorf("one more than may wait: %v", err)
		}
	default:
		t.Error("one more than may wait is queued")
	}
	last := make(chan *zbus.Future, 1)
	go func() { last <- cl.PublishAsync(within(t), "jobs", zbus.Message{}) }()
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, future := range append(queued, receive(t, "room", last)) {
		if _, err := future.Wait(within(t)); err != nil {
			t.Error(err)
		}
	}
	if err := broker.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is lost", func() bool { return cl.Server(broker.Addr) == nil || cl.Server(broker.Addr).Address() == "" })
	for range 3 {
		queued = append(queued, cl.PublishAsync(within(t), "jobs", zbus.Message{}))
	}
	go func() { last <- cl.PublishAsync(within(t), "jobs", zbus.Message{}) }()
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	for _, future := range append(queued[3:], receive(t, "the end of the wait for room", last)) {
		if _, err := future.Wait(within(t)); !errors.Is(err, zbus.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestClusterMessagesLeavesOutWhatWasLostWhileItWaited(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	for _, b := range []*zbustest.Broker{first, second} {
		if _, err := dial(t, b.Addr, zbus.Options{}).Publish(within(t), "jobs", zbus.Message{Body: []byte(b.Addr)}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for d, err := range cl.Messages(within(t), "jobs", "g", zbus.SubscribeOptions{Manual: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(within(t)); err != nil {
			t.Errorf("message %d: %v", n, err)
		}
		if n++; n == 2 {
			break
		}
		waits := second
		if string(d.Body) == second.Addr {
			waits = first
		}
		came := func() bool {
			info, err := cl.Server(waits.Addr).QueryGroup(within(t), "jobs", "g")
			return err == nil && info.InFlight == 1
		}
		eventually(t, "the other message has come", came)
		if err := waits.Restart(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other server is there", func() bool { return cl.Server(waits.Addr) != nil && cl.Server(waits.Addr).Address() != "" })
		eventually(t, "the other message has come again", came)
	}
}
