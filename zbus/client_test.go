package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "orders")
	sent := zbus.Message{
		ID: "my-id", Tag: "eu.de", Body: []byte("two pizzas"), Headers: map[string]string{"Trace-Id": "7"},
	}
	receipt, err := c.Publish(within(t), "orders", sent)
	if err != nil || receipt.Offset != 0 || receipt.Duplicate {
		t.Fatalf("%+v, %v", receipt, err)
	}
	got := make(chan *zbus.Delivery, 1)
	sub, err := c.Subscribe(within(t), "orders", "", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		got <- d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d := receive(t, "the message", got)
	if d.ID != "my-id" || d.Tag != "eu.de" || string(d.Body) != "two pizzas" || d.Header("trace-id") != "7" {
		t.Errorf("got %+v", d)
	}
	if d.Topic != "orders" || d.Group != "orders" || d.Offset != 0 || d.Attempt != 1 || d.Explicit() || time.Since(d.Time).Abs() > time.Minute {
		t.Errorf("got %+v", d)
	}
	headers := map[string]string{}
	for name, value := range d.Headers() {
		headers[name] = value
	}
	if !d.Time.Equal(receipt.Time) {
		t.Errorf("the receipt says %s, the delivery %s", receipt.Time, d.Time)
	}
	if len(headers) != 1 || headers["trace-id"] != "7" {
		t.Errorf("headers %v", headers)
	}
	if err := sub.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if info, err := c.QueryGroup(within(t), "orders", ""); err != nil || info.Lag != 0 || len(info.Consumers) != 0 {
		t.Errorf("after close: %+v, %v", info, err)
	}
}

func TestErrorsAreTheSameAcrossTheNetwork(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	ctx := within(t)
	declare(t, c, "there")
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "calls", RPC: true}); err != nil {
		t.Fatal(err)
	}
	_, queryErr := c.QueryTopic(ctx, "missing")
	_, groupErr := c.QueryGroup(ctx, "there", "missing")
	_, subErr := c.Subscribe(ctx, "there", "missing", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
	_, nameErr := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "a/b"})
	_, moveErr := c.Relocate(ctx, "there", "", zbus.AtMessage("nobody's"), "")
	_, nowhere := c.Relocate(ctx, "there", "", zbus.Position{}, "")
	for _, test := range []struct {
		name   string
		err    error
		is     error
		status int
	}{
		{"publish to no topic", errOf(c.Publish(ctx, "missing", zbus.Message{})), zbus.ErrNotFound, 404},
		{"publish without topic", errOf(c.Publish(ctx, "", zbus.Message{})), zbus.ErrInvalid, 0},
		{"forged header", errOf(c.Publish(ctx, "there", zbus.Message{Headers: map[string]string{"Cmd": "remove"}})), zbus.ErrInvalid, 0},
		{"bad header value", errOf(c.Publish(ctx, "there", zbus.Message{Headers: map[string]string{"a": "b\r\nc: d"}})), zbus.ErrInvalid, 0},
		{"long tag", errOf(c.Publish(ctx, "there", zbus.Message{Tag: string(make([]byte, 128))})), zbus.ErrInvalid, 0},
		{"query no topic", queryErr, zbus.ErrNotFound, 404},
		{"query no group", groupErr, zbus.ErrNotFound, 404},
		{"subscribe to no group", subErr, zbus.ErrNotFound, 404},
		{"bad name", nameErr, zbus.ErrInvalid, 400},
		{"move to no message", moveErr, zbus.ErrNotFound, 404},
		{"move to no place", nowhere, zbus.ErrInvalid, 0},
		{"remove no topic", c.RemoveTopic(ctx, "missing"), zbus.ErrNotFound, 404},
		{"call without provider", c.Call(ctx, "calls", "add", nil, 1, 2), zbus.ErrUnavailable, 503},
		{"call to no topic", c.Call(ctx, "missing", "add", nil), zbus.ErrNotFound, 404},
	} {
		var e *zbus.Error
		if !errors.Is(test.err, test.is) || !errors.As(test.err, &e) || e.Status != test.status {
			t.Errorf("%s: %v, want %v with status %d", test.name, test.err, test.is, test.status)
		}
	}
}

func TestBatchTellsOfEachMessage(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{MaxPending: 8})
	declare(t, c, "batch")
	messages := make([]zbus.Message, 100)
	for i := range messages {
		messages[i].Body = fmt.Append(nil, i)
	}
	receipts, err := c.PublishBatch(within(t), "batch", messages)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range receipts {
		if r.Offset != int64(i) || r.Time.IsZero() || r.Duplicate {
			t.Errorf("message %d: %+v", i, r)
		}
	}
	if _, err := c.PublishBatch(within(t), "batch", nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	receipts, err = c.PublishBatch(within(t), "batch", []zbus.Message{{ID: "a"}, {Tag: "\n"}, {ID: "b"}})
	if len(receipts) != 3 || receipts[0].Offset != 100 || receipts[1] != (zbus.Receipt{}) || receipts[2].Offset != 101 {
		t.Errorf("receipts of a batch with one bad message: %+v", receipts)
	}
	var failed *zbus.BatchError
	if !errors.As(err, &failed) || failed.Errs[0] != nil || !errors.Is(failed.Errs[1], zbus.ErrInvalid) || failed.Errs[2] != nil {
		t.Errorf("a batch with one bad message: %v", err)
	}
	if !errors.Is(err, zbus.ErrInvalid) || errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("errors.Is on %v", err)
	}
	info, err := c.QueryTopic(within(t), "batch")
	if err != nil || info.Messages != 102 {
		t.Errorf("%+v, %v; want 102 messages", info, err)
	}
	var bodies []string
	for d, err := range c.Messages(within(t), "batch", "", zbus.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if bodies = append(bodies, string(d.Body)); len(bodies) == 100 {
			break
		}
	}
	want := make([]string, 100)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if !slices.Equal(bodies, want) {
		t.Errorf("not in order: %q", bodies)
	}
}

func TestFutureHasTheOutcomeOfAPublish(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "async")
	var futures []*zbus.Future
	for range 500 {
		futures = append(futures, c.PublishAsync(within(t), "async", zbus.Message{Body: []byte("x")}))
	}
	missing := c.PublishAsync(within(t), "missing", zbus.Message{})
	invalid := c.PublishAsync(within(t), "async", zbus.Message{Tag: "\n"})
	if err := c.Drain(within(t)); err != nil {
		t.Fatal(err)
	}
	for i, f := range futures {
		<-f.Done()
		if r, err := f.Wait(within(t)); err != nil || r.Offset != int64(i) || r.Duplicate || time.Since(r.Time).Abs() > time.Minute {
			t.Errorf("message %d: %+v, %v", i, r, err)
		}
	}
	if r, err := missing.Wait(within(t)); !errors.Is(err, zbus.ErrNotFound) || r != (zbus.Receipt{}) {
		t.Errorf("to no topic: %+v, %v", r, err)
	}
	if _, err := invalid.Wait(within(t)); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("with a bad tag: %v", err)
	}
	if _, err := c.PublishAsync(within(t), "async", zbus.Message{}).Wait(within(t)); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("after Drain: %v", err)
	}
}

func TestPublishThatIsGivenUpAfterItWasSent(t *testing.T) {
	t.Parallel()
	came := make(chan struct{})
	c := dial(t, listen(t, func(conn *silentConn) { // it takes the first and does not answer
		if _, err := conn.requests.Read(); err == nil {
			close(came)
		}
	}), zbus.Options{})
	ctx, cancel := context.WithCancel(within(t))
	first := make(chan error, 1)
	go func() { first <- errOf(c.Publish(ctx, "t", zbus.Message{ID: "same"})) }()
	receive(t, "the first", came)
	second := c.PublishAsync(within(t), "t", zbus.Message{ID: "same"})
	cancel()
	if err := receive(t, "the end of the first", first); !errors.Is(err, zbus.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("given up after it was sent: %v", err)
	}
	if _, err := second.Wait(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("waiting with a context that has ended: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Wait(within(t)); err == nil {
		t.Error("the second was not answered, and has a receipt")
	}
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	ctx := within(t)
	topic, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "log", MaxCount: 1000})
	if err != nil || topic.Name != "log" || len(topic.Groups) != 1 || topic.Memory || topic.RPC {
		t.Fatalf("%+v, %v", topic, err)
	}
	for i := range 10 {
		if _, err := c.Publish(ctx, "log", zbus.Message{ID: fmt.Sprint("m", i), Tag: fmt.Sprint("t.", i%2)}); err != nil {
			t.Fatal(err)
		}
	}
	group, err := c.DeclareGroup(ctx, "log", zbus.GroupSpec{
		Name: "g", Filter: "t.1", Explicit: true, AckTimeout: time.Minute, AckWindow: 5, MaxDeliver: 3, Start: zbus.AtOffset(4),
	})
	if err != nil || group.Filter != "t.1" || !group.Explicit || group.Cursor != 4 || group.Lag != 3 {
		t.Fatalf("%+v, %v", group, err)
	}
	for name, place := range map[string]struct {
		to   zbus.Position
		want int64
	}{
		"earliest": {zbus.Earliest(), 0}, "latest": {zbus.Latest(), 10}, "offset": {zbus.AtOffset(3), 3},
		"message": {zbus.AtMessage("m7"), 7}, "time": {zbus.AtTime(time.Now().Add(time.Hour)), 10}, "group": {zbus.AtGroup("log"), 0},
	} {
		if moved, err := c.Relocate(ctx, "log", "g", place.to, "test"); err != nil || moved.Cursor != place.want {
			t.Errorf("move to %s: %+v, %v", name, moved, err)
		}
		if started, err := c.DeclareGroup(ctx, "log", zbus.GroupSpec{Name: "start-" + name, Start: place.to}); err != nil || started.Cursor != place.want {
			t.Errorf("start at %s: %+v, %v", name, started, err)
		}
	}
	if err := c.EmptyGroup(ctx, "log", "g"); err != nil {
		t.Error(err)
	}
	if again, err := c.DeclareGroup(ctx, "log", zbus.GroupSpec{Name: "g", ClearFilter: true}); err != nil || again.Filter != "" || !again.Explicit || again.Lag != 0 {
		t.Errorf("changed: %+v, %v", again, err)
	}
	server, err := c.QueryServer(ctx)
	if err != nil || server.Address == "" || len(server.Topics["log"].Groups) != 8 {
		t.Errorf("%+v, %v", server, err)
	}
	if err := c.RemoveGroup(ctx, "log", "g"); err != nil {
		t.Error(err)
	}
	if err := c.EmptyTopic(ctx, "log"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveTopic(ctx, "log"); err != nil {
		t.Error(err)
	}
	if _, err := c.QueryTopic(ctx, "log"); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("after its removal: %v", err)
	}
}
