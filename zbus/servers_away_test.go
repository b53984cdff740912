package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestPingNeedsAServer(t *testing.T) {
	t.Parallel()
	cl, broker := downFor(t, hurried)
	if err := cl.Ping(within(t)); !errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is back", func() bool { return cl.Ping(within(t)) == nil })
}

// What a server takes for consumed once it is sent is not lost with a loop that ends early.
func TestMessagesTakesNothingInAdvanceThatWouldBeLost(t *testing.T) {
	t.Parallel()
	b := zbustest.Start(t)
	opts := hurried
	opts.AllServers = true
	cl := dial(t, b.Addr, opts)
	if _, err := cl.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "plain"}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		put(t, b.Addr, "jobs", fmt.Sprint(n))
	}
	for n := range 5 {
		for d, err := range cl.Messages(within(t), "jobs", "plain", zbus.SubscribeOptions{}) {
			if err != nil {
				t.Fatalf("message %d: %v", n, err)
			}
			if string(d.Body) != fmt.Sprint(n) {
				t.Errorf("message %d is %s", n, d.Body)
			}
			break
		}
	}
}

// What waits for a server is under way: Drain lets it end.
func TestDrainWaitsForMessagesThatWaitForAServer(t *testing.T) {
	t.Parallel()
	cl, broker := downFor(t, zbus.Options{ReconnectTimeout: time.Minute, MaxBackoff: 50 * time.Millisecond})
	future := cl.PublishAsync(within(t), "jobs", zbus.Message{})
	short, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- cl.Drain(within(t)) }()
	select {
	case err := <-drained:
		t.Fatalf("it did not wait: %v", err)
	case <-short.Done():
	}
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end", drained); err != nil {
		t.Error(err)
	}
	if _, err := future.Wait(within(t)); err != nil {
		t.Error(err)
	}

	cl, _ = downFor(t, zbus.Options{ReconnectTimeout: time.Minute, MaxBackoff: 50 * time.Millisecond})
	future = cl.PublishAsync(within(t), "jobs", zbus.Message{})
	short, cancel = context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if err := cl.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("when the context ends first: %v", err)
	}
	if _, err := future.Wait(within(t)); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("then the message: %v", err)
	}
}

// A subscription works if it does on one of the servers that there are, whatever comes of those that come in
// the meantime.
func TestSubscribeWaitsForTheServersThatThereAre(t *testing.T) {
	t.Parallel()
	tracker, slow := zbustest.Start(t), zbustest.Start(t)
	behind := through(t, slow.Addr)
	cl := dialCluster(t, zbus.Options{}, tracker.Addr, behind.addr)
	declare(t, dial(t, slow.Addr, zbus.Options{}), "jobs")
	behind.stallAll()
	defer behind.goOn()
	subscribed := make(chan error, 1)
	go func() {
		_, err := cl.Subscribe(within(t), "jobs", "", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
		subscribed <- err
	}()
	other := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{tracker.Addr} })
	eventually(t, "the other server is there", func() bool { return cl.Server(other.Addr) != nil && cl.Server(other.Addr).Address() != "" })
	behind.goOn()
	if err := receive(t, "the subscription", subscribed); err != nil {
		t.Error(err)
	}
}

func TestMessagesThatHaveWaitedForAServerAreStoredInOrder(t *testing.T) {
	t.Parallel()
	cl, broker := downFor(t, hurried)
	var futures []*zbus.Future
	publish := func(many int) {
		for range many {
			n := len(futures)
			futures = append(futures, cl.PublishAsync(within(t), "jobs", zbus.Message{Key: "one", Body: fmt.Append(nil, n)}))
		}
	}
	publish(200)
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	for done := futures[100].Done(); ; { // others come while the first ones go out
		publish(1)
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	last := int64(-1)
	for n, f := range futures {
		r, err := f.Wait(within(t))
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		if r.Offset <= last {
			t.Fatalf("message %d of %d is stored at %d, behind one at %d", n, len(futures), r.Offset, last)
		}
		last = r.Offset
	}
}

func TestLargeMessagesThatWaitForAServerAreBounded(t *testing.T) {
	t.Parallel()
	cl, _ := downFor(t, zbus.Options{ReconnectTimeout: time.Minute, MaxBackoff: 50 * time.Millisecond})
	large := zbus.Message{Body: make([]byte, 16<<20)}
	var queued []*zbus.Future
	for range 4 {
		queued = append(queued, cl.PublishAsync(within(t), "jobs", large))
	}
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	more := cl.PublishAsync(ctx, "jobs", large)
	select {
	case <-more.Done():
		if _, err := more.Wait(within(t)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Errorf("more than is held: %v", err)
		}
	default:
		t.Error("more than may be held is queued")
	}
	last := make(chan *zbus.Future, 1)
	go func() { last <- cl.PublishAsync(within(t), "jobs", large) }()
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	for _, future := range append(queued, receive(t, "the end of the wait for room", last)) {
		if _, err := future.Wait(within(t)); !errors.Is(err, zbus.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// What one server says is not what all of them say.
func TestErrorsNameTheServersThatTheyAreOf(t *testing.T) {
	t.Parallel()
	cl, first, second := pairOf(t, "jobs")
	if _, err := dial(t, second.Addr, zbus.Options{}).DeclareTopic(within(t), zbus.TopicSpec{Name: "shop.dead", Memory: true}); err != nil {
		t.Fatal(err)
	}
	_, err := cl.DeclareGroup(within(t), "shop", zbus.GroupSpec{Name: "g", Explicit: true, MaxDeliver: 3})
	if !errors.Is(err, zbus.ErrConflict) || !strings.Contains(err.Error(), second.Addr) || strings.Contains(err.Error(), first.Addr) {
		t.Errorf("one server has no place for dead letters: %v", err)
	}
}
