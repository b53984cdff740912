package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestMessageWithAnIDIsStoredOnce(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	declare(t, direct, "log")
	p := through(t, broker.Addr)
	p.set(func() { p.cut, p.slice = 5_000, 700 })
	c := dial(t, p.addr, hurried)
	const messages = 300
	unknown := 0
	for i := range messages {
		m := zbus.Message{ID: fmt.Sprint("m", i), Body: []byte("once")}
		r, err := c.Publish(within(t), "log", m)
		for ; errors.Is(err, zbus.ErrUnknownOutcome); r, err = c.Publish(within(t), "log", m) {
			unknown++
		}
		if err != nil || r.Offset != int64(i) {
			t.Fatalf("message %d: %+v, %v", i, r, err)
		}
	}
	first, err := direct.Publish(within(t), "log", zbus.Message{ID: "m0"})
	if err != nil || first.Offset != 0 || !first.Duplicate || first.Time.IsZero() {
		t.Errorf("again: %+v, %v", first, err)
	}
	receipts, err := direct.PublishBatch(within(t), "log", []zbus.Message{{ID: "m0"}, {ID: "new"}, {ID: "new"}, {ID: "m1", AllowDuplicate: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []zbus.Receipt{{Offset: 0, Duplicate: true}, {Offset: messages}, {Offset: messages, Duplicate: true}, {Offset: messages + 1}} {
		if r := receipts[i]; r.Offset != want.Offset || r.Duplicate != want.Duplicate {
			t.Errorf("message %d of the batch: %+v, want %+v", i, r, want)
		}
	}
	ids := stored(t, direct, "log")
	if ids["m1"]--; len(ids) != messages+1 || unknown == 0 { // the last one was to be stored again
		t.Errorf("%d ids are stored, want %d; %d outcomes were unknown", len(ids), messages+1, unknown)
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
}

func TestIDOfACallOrForAServerThatKeepsNoneIsInvalid(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t, func(cfg *config.Config) { cfg.DedupWindow = 0 }).Addr, zbus.Options{})
	declare(t, c, "log")
	if _, err := c.Request(within(t), "log", zbus.Message{ID: "x"}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("of a call: %v", err)
	}
	if _, err := c.Publish(within(t), "log", zbus.Message{ID: "x"}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("without a window: %v", err)
	}
	if _, err := c.Publish(within(t), "log", zbus.Message{ID: "x", AllowDuplicate: true}); err != nil {
		t.Errorf("as a name alone: %v", err)
	}
}

func TestRetryStoresEachMessageOnceAndInOrder(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	declare(t, direct, "log")
	p := through(t, broker.Addr)
	p.set(func() { p.cut, p.slice = 8_000, 700 })
	opts := hurried
	opts.Retry, opts.ReconnectTimeout, opts.MaxPending = true, patience, 16
	c := dial(t, p.addr, opts)
	const n = 1000
	futures := make([]*zbus.Future, n)
	for i := range futures {
		futures[i] = c.PublishAsync(within(t), "log", zbus.Message{Body: fmt.Append(nil, i)})
	}
	for i, f := range futures {
		if r, err := f.Wait(within(t)); err != nil || r.Offset != int64(i) {
			t.Errorf("message %d: %+v, %v", i, r, err)
		}
	}
	if p.connections() < 5 {
		t.Fatalf("only %d connections: nothing was cut", p.connections())
	}
	if info, err := direct.QueryTopic(within(t), "log"); err != nil || info.Messages != n {
		t.Errorf("%d messages are stored, want %d (%v)", info.Messages, n, err)
	}
	for d, err := range direct.Messages(within(t), "log", "all", zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Start: zbus.Earliest()}}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Body) != fmt.Sprint(d.Offset) {
			t.Fatalf("%s at offset %d", d.Body, d.Offset)
		}
		if d.Offset == n-1 {
			break
		}
	}
}

func TestRetryThatIsGivenUpHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wait time.Duration
		end  func(c *zbus.Client, cancel func())
		also error
	}{
		"no other connection": {50 * time.Millisecond, func(*zbus.Client, func()) {}, zbus.ErrUnknownOutcome},
		"context ended":       {patience, func(_ *zbus.Client, cancel func()) { cancel() }, context.Canceled},
		"closed":              {patience, func(c *zbus.Client, _ func()) { _ = c.Close() }, zbus.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			came := make(chan struct{}, 10)
			p := through(t, listen(t, func(conn *silentConn) {
				for {
					if _, err := conn.requests.Read(); err != nil {
						return
					}
					came <- struct{}{}
				}
			}))
			lost := make(chan zbus.State, 100)
			opts := hurried
			opts.Retry, opts.ReconnectTimeout = true, test.wait
			opts.OnState = func(s zbus.State) {
				if !s.Connected {
					select {
					case lost <- s:
					default:
					}
				}
			}
			c := dial(t, p.addr, opts)
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			outcome := make(chan error, 1)
			go func() { outcome <- errOf(c.Publish(ctx, "log", zbus.Message{})) }()
			receive(t, "the message", came)
			p.down()
			receive(t, "the loss", lost)
			receive(t, "an attempt", lost)
			test.end(c, cancel)
			if err := receive(t, "the outcome", outcome); !errors.Is(err, zbus.ErrUnknownOutcome) || !errors.Is(err, test.also) || errors.Is(err, zbus.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClusterWithRetryWaitsForTheServerThatWasAsked(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	p := through(t, broker.Addr)
	opts := hurried
	opts.Retry, opts.ReconnectTimeout = true, patience
	cl := dialCluster(t, opts, p.addr)
	if _, err := cl.DeclareTopic(within(t), zbus.TopicSpec{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.cut = 3_000 })
	p.cutAll()
	for i := range 100 {
		if r, err := cl.Publish(within(t), "log", zbus.Message{Body: make([]byte, 100)}); err != nil || r.Offset != int64(i) {
			t.Fatalf("message %d: %+v, %v", i, r, err)
		}
	}
	if p.connections() < 3 {
		t.Errorf("only %d connections: nothing was cut", p.connections())
	}
}

// countingConn counts what is written at a time.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestBatchIsOneWrite(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{DialStream: func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		return countingConn{conn, &writes}, err
	}})
	declare(t, c, "log")
	before := writes.Load()
	if _, err := c.PublishBatch(within(t), "log", make([]zbus.Message, 1000)); err != nil {
		t.Fatal(err)
	}
	if n := writes.Load() - before; n != 1 {
		t.Errorf("1000 messages were written with %d calls, want 1", n)
	}
}
