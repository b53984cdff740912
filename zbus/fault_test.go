package zbus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// hurried makes a client reconnect quickly. It takes no connection for lost because the machine is busy.
var hurried = zbus.Options{
	Heartbeat: 100 * time.Millisecond, HeartbeatTimeout: patience, MaxBackoff: 60 * time.Millisecond,
}

// stored counts the messages of a topic by id.
func stored(t testing.TB, c *zbus.Client, topic string) map[string]int {
	t.Helper()
	info, err := c.QueryTopic(within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	group := "count-" + rand.Text() // each time all of them
	opts := zbus.SubscribeOptions{Window: 64, Declare: &zbus.GroupSpec{Start: zbus.Earliest()}}
	if info.Messages == 0 {
		return ids
	}
	for d, err := range c.Messages(within(t), topic, group, opts) {
		if err != nil {
			t.Fatal(err)
		}
		if ids[d.ID]++; d.Offset == info.Messages-1 {
			break
		}
	}
	return ids
}

func TestPublishesThroughCutsHaveOneOutcome(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	declare(t, direct, "log")
	p := through(t, broker.Addr)
	p.set(func() { p.cut, p.slice = 20_000, 700 })
	c := dial(t, p.addr, hurried)

	const publishers, each = 4, 400
	outcomes := make(map[string]error)
	calls := make(map[string]int)
	var mu sync.Mutex
	note := func(id string, err error) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[id] = err
		calls[id]++
	}
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			for j := range each {
				id := fmt.Sprint("p", i, "-", j)
				m := zbus.Message{ID: id, Body: make([]byte, 100)}
				if i%2 == 0 {
					note(id, errOf(c.Publish(within(t), "log", m)))
					continue
				}
				future := c.PublishAsync(within(t), "log", m)
				all.Go(func() { note(id, errOf(future.Wait(within(t)))) })
			}
		})
	}
	all.Wait()
	if p.connections() < 5 {
		t.Fatalf("only %d connections: nothing was cut", p.connections())
	}
	found := stored(t, direct, "log")
	unknown := 0
	for id, err := range outcomes {
		n := found[id]
		delete(found, id)
		switch {
		case calls[id] != 1:
			t.Errorf("%s has %d outcomes", id, calls[id])
		case err == nil && n != 1:
			t.Errorf("%s was stored %d times, and Publish returned nil", id, n)
		case errors.Is(err, zbus.ErrUnknownOutcome) && n <= 1:
			unknown++
		case err != nil:
			t.Errorf("%s was stored %d times: %v", id, n, err)
		}
	}
	if len(outcomes) != publishers*each || len(found) != 0 {
		t.Errorf("%d outcomes, want %d; messages of nobody: %v", len(outcomes), publishers*each, found)
	}
	t.Logf("%d connections, %d of %d outcomes unknown", p.connections(), unknown, len(outcomes))
}

func TestMessagesThroughCutsAreNotLost(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	if _, err := direct.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	p := through(t, broker.Addr)
	c := dial(t, p.addr, hurried)
	const n = 1000
	var mu sync.Mutex
	handled, acked := map[int64]int{}, map[int64]bool{}
	all := make(chan struct{})
	_, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Window: 32, Concurrency: 4}, func(ctx context.Context, d *zbus.Delivery) error {
		mu.Lock()
		if acked[d.Offset] {
			t.Errorf("offset %d was acked and comes again", d.Offset)
		}
		mu.Unlock()
		confirmed := d.Offset%3 == 0 && d.Ack(ctx) == nil
		mu.Lock()
		defer mu.Unlock()
		acked[d.Offset] = acked[d.Offset] || confirmed
		if handled[d.Offset]++; len(handled) == n && handled[d.Offset] == 1 {
			close(all)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.cut, p.slice = 15_000, 500 })
	p.cutAll()
	publish(t, direct, "jobs", n)
	receive(t, "all messages", all)
	p.set(func() { p.cut = 0 })
	if p.connections() < 5 {
		t.Fatalf("only %d connections: nothing was cut", p.connections())
	}
	// What was handled may still have to be acked, on this connection or the next.
	if err := c.Drain(within(t)); err != nil {
		t.Fatal(err)
	}
	for d, err := range direct.Messages(timed(t, 100*time.Millisecond), "jobs", "g", zbus.SubscribeOptions{}) {
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if acked[d.Offset] {
			t.Errorf("offset %d was acked and comes again", d.Offset)
		}
		if handled[d.Offset] == 0 {
			t.Errorf("offset %d was not handled", d.Offset)
		}
	}
	t.Logf("%d connections", p.connections())
}

// timed is a context that ends after a time.
func timed(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestSlicedToBytes(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	p := through(t, broker.Addr)
	p.set(func() { p.slice = 2 })
	c := dial(t, p.addr, zbus.Options{})
	declare(t, c, "log")
	publish(t, c, "log", 20)
	next := int64(0)
	for d, err := range c.Messages(within(t), "log", "", zbus.SubscribeOptions{}) {
		if err != nil || d.Offset != next || string(d.Body) != fmt.Sprint(next) {
			t.Fatalf("got %+v, %v; want offset %d", d, err, next)
		}
		if next++; next == 20 {
			break
		}
	}
}

func TestStalledConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	declare(t, dial(t, broker.Addr, zbus.Options{}), "log")
	p := through(t, broker.Addr)
	states := make(chan zbus.State, 100)
	opts := hurried
	opts.HeartbeatTimeout = 200 * time.Millisecond
	opts.OnState = func(s zbus.State) { states <- s }
	c := dial(t, p.addr, opts)
	if s := receive(t, "the connection", states); !s.Connected || s.Address != p.addr || c.Address() != p.addr {
		t.Errorf("%+v, address %q", s, c.Address())
	}
	p.stallAll()
	if _, err := c.Publish(within(t), "log", zbus.Message{ID: "stalled"}); !errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("published to nobody: %v", err)
	}
	if s := receive(t, "the loss", states); s.Connected || s.Err == nil {
		t.Errorf("%+v", s)
	}
	p.cutAll() // the stalled ones; those to come are not stalled
	p.goOn()
	if _, err := c.Publish(within(t), "log", zbus.Message{ID: "after"}); err != nil && !errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Error(err)
	}
	eventually(t, "there is a connection that works", func() bool { return c.Ping(within(t)) == nil })
}

func TestIdleConnectionStays(t *testing.T) {
	t.Parallel()
	var pings atomic.Int64
	enough := make(chan struct{})
	addr := listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			if m.Get("cmd") != "ping" {
				t.Errorf("unasked %q", m.Get("cmd"))
			}
			conn.answer(m, 400, "Bad format: command(ping) not support") // older servers know no ping
			if pings.Add(1) == 5 {
				close(enough)
			}
		}
	})
	opts := hurried
	opts.OnState = func(s zbus.State) {
		if s.Err != nil && !errors.Is(s.Err, zbus.ErrClosed) {
			t.Errorf("lost: %v", s.Err)
		}
	}
	c := dial(t, addr, opts)
	receive(t, "five pings", enough)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCallsThroughCutsHaveOneOutcome(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	var runs sync.Map
	s := zbus.NewService(direct, "calc", zbus.ServiceOptions{})
	zbus.Handle(s, "run", func(_ context.Context, id string) (string, error) {
		n, _ := runs.LoadOrStore(id, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		return id, nil
	})
	serve(t, s, direct, "calc")
	p := through(t, broker.Addr)
	p.set(func() { p.cut, p.slice = 5_000, 300 })
	c := dial(t, p.addr, hurried)
	var callers sync.WaitGroup
	var good, unknown atomic.Int64
	for i := range 8 {
		callers.Go(func() {
			for j := range 50 {
				id, got := fmt.Sprint(i, "-", j), ""
				err := c.Call(within(t), "calc", "run", &got, id)
				n := int64(0)
				if v, ok := runs.Load(id); ok {
					n = v.(*atomic.Int64).Load()
				}
				switch {
				case err == nil && got == id && n == 1:
					good.Add(1)
				case errors.Is(err, zbus.ErrUnknownOutcome) && n <= 1:
					unknown.Add(1)
				default:
					t.Errorf("call %s: %q, %v, and it was run %d times", id, got, err, n)
				}
			}
		})
	}
	callers.Wait()
	if good.Load() == 0 || unknown.Load() == 0 {
		t.Errorf("%d good and %d unknown: want both", good.Load(), unknown.Load())
	}
}
