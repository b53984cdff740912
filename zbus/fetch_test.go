package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// fill makes an explicit group g of a topic with messages, whose bodies count.
func fill(t testing.TB, c *zbus.Client, topic string, n int) {
	t.Helper()
	if _, err := c.DeclareGroup(within(t), topic, zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	messages := make([]zbus.Message, n)
	for i := range messages {
		messages[i].Body = fmt.Append(nil, i)
	}
	if _, err := c.PublishBatch(within(t), topic, messages); err != nil {
		t.Fatal(err)
	}
}

// settledAt waits until a group has settled all messages.
func settledAt(t testing.TB, c *zbus.Client, topic, group string) {
	t.Helper()
	eventually(t, "all is settled", func() bool {
		info, err := c.QueryGroup(within(t), topic, group)
		return err == nil && info.Lag == 0 && info.InFlight == 0
	})
}

// What a Fetch has asked for and no longer wants is for others: at most one message is on its way.
func TestAFetchThatWasGivenUpLeavesMessagesToOthers(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c, other := dial(t, addr, zbus.Options{}), dial(t, addr, zbus.Options{})
	fill(t, c, "jobs", 0)
	if _, err := c.Fetch(timed(t, 100*time.Millisecond), "jobs", "g", 100, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := c.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	fill(t, other, "jobs", 6)
	if got, err := other.Fetch(within(t), "jobs", "g", 5, patience); err != nil || len(got) != 5 {
		t.Errorf("%d messages are left to others, %v", len(got), err)
	}
}

func TestFetchTakesMessagesUpToANumberWithinATime(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", 25)
	next := 0
	for _, want := range []int{10, 10, 5, 0} {
		wait := patience
		if want < 10 { // all of it passes
			wait = 50 * time.Millisecond
			if want == 5 {
				wait = 5 * time.Second // in which the five that are there come
			}
		}
		began := time.Now()
		got, err := c.Fetch(within(t), "jobs", "g", 10, wait)
		if err != nil || len(got) != want {
			t.Fatalf("%d messages of %d, %v", len(got), want, err)
		}
		if took := time.Since(began); want < 10 && took < wait-time.Millisecond {
			t.Errorf("fetched %d messages within %s, not %s", want, took, wait)
		}
		for _, d := range got {
			if string(d.Body) != fmt.Sprint(next) || !d.Explicit() || d.Attempt != 1 {
				t.Errorf("%s comes, want %d: %+v", d.Body, next, d)
			}
			next++
		}
		if err := zbus.AckAll(within(t), got); err != nil {
			t.Error(err)
		}
	}
	settledAt(t, c, "jobs", "g")
}

func TestFetchWaitsForMessages(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", 0)
	type result struct {
		got []*zbus.Delivery
		err error
	}
	came := make(chan result, 1)
	go func() {
		got, err := c.Fetch(within(t), "jobs", "g", 3, patience)
		came <- result{got, err}
	}()
	for i := range 3 {
		if _, err := c.Publish(within(t), "jobs", zbus.Message{Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	r := receive(t, "three messages", came)
	if r.err != nil || len(r.got) != 3 || string(r.got[2].Body) != "2" {
		t.Errorf("%v, %v", r.got, r.err)
	}
}

func TestWhatIsFetchedAndNotAckedComesAgain(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", 2)
	if _, err := c.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", AckTimeout: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	first, err := c.Fetch(within(t), "jobs", "g", 2, patience)
	if err != nil || len(first) != 2 {
		t.Fatalf("%v, %v", first, err)
	}
	again, err := c.Fetch(within(t), "jobs", "g", 2, patience)
	if err != nil || len(again) != 2 || again[0].Attempt < 2 {
		t.Fatalf("%v, %v", again, err)
	}
	var failed *zbus.BatchError
	if err := zbus.AckAll(within(t), first); !errors.As(err, &failed) || !errors.Is(failed.Errs[0], zbus.ErrConflict) || !errors.Is(failed.Errs[1], zbus.ErrConflict) {
		t.Errorf("acks of deliveries that are over: %v", err)
	}
	if err := zbus.AckAll(within(t), first); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestFetchOfAGroupThatAcksByItselfLosesNothing(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	c := dial(t, broker.Addr, zbus.Options{})
	declare(t, c, "log")
	for range 10 { // the ends of contexts and the messages meet in all orders
		ctx, cancel := context.WithCancel(within(t))
		go func() {
			for i := range 10 {
				if _, err := c.Publish(within(t), "log", zbus.Message{Body: fmt.Append(nil, i)}); err != nil {
					t.Error(err)
				}
				if i == 5 {
					cancel()
				}
			}
		}()
		n := 0
		for n < 10 {
			got, err := c.Fetch(ctx, "log", "", 10-n, 50*time.Millisecond)
			if errors.Is(err, context.Canceled) {
				ctx = within(t)
			} else if err != nil {
				t.Fatal(err)
			}
			for _, d := range got {
				if string(d.Body) != fmt.Sprint(n) {
					t.Fatalf("%s comes, want %d", d.Body, n)
				}
				n++
			}
		}
		cancel()
	}
}

func TestFetchAfterALostConnection(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	fill(t, direct, "jobs", 4)
	p := through(t, broker.Addr)
	c := dial(t, p.addr, hurried)
	first, err := c.Fetch(within(t), "jobs", "g", 2, patience)
	if err != nil || len(first) != 2 {
		t.Fatalf("%v, %v", first, err)
	}
	p.cutAll()
	rest, err := c.Fetch(within(t), "jobs", "g", 4, patience)
	if err != nil {
		t.Fatal(err)
	}
	err = zbus.AckAll(within(t), append(first, rest...))
	var failed *zbus.BatchError
	if !errors.As(err, &failed) || len(rest) != 4 {
		t.Fatalf("%d after the loss; acks: %v", len(rest), err)
	}
	for i, err := range failed.Errs {
		if want := i < 2; errors.Is(err, zbus.ErrConflict) != want || !want && err != nil {
			t.Errorf("delivery %d: %v", i, err)
		}
	}
	settledAt(t, direct, "jobs", "g")
}

func TestFetchBesideASubscription(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", 0)
	var mu sync.Mutex
	seen := map[string]int{}
	note := func(d *zbus.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(d.Body)]++
	}
	if _, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Window: 4}, func(_ context.Context, d *zbus.Delivery) error {
		note(d)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const n = 500
	fill(t, c, "jobs", n)
	eventually(t, "all have come", func() bool {
		got, err := c.Fetch(within(t), "jobs", "g", 10, 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			note(d)
		}
		if err := zbus.AckAll(within(t), got); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == n
	})
	settledAt(t, c, "jobs", "g")
	for body, times := range seen {
		if times != 1 {
			t.Errorf("%s came %d times", body, times)
		}
	}
}

func TestFetchOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	if _, err := c.Fetch(within(t), "log", "missing", 1, patience); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("no group: %v", err)
	}
	for _, most := range []int{0, -1, 100_001} {
		if _, err := c.Fetch(within(t), "log", "", most, patience); !errors.Is(err, zbus.ErrInvalid) {
			t.Errorf("%d messages: %v", most, err)
		}
	}
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := c.Fetch(within(t), "log", "", 1, patience)
		ended <- err
	}()
	<-started
	eventually(t, "it is a consumer", func() bool {
		info, err := c.QueryGroup(within(t), "log", "")
		return err == nil && len(info.Consumers) == 1
	})
	if err := c.RemoveGroup(within(t), "log", ""); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end of a Fetch", ended); !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("its group was removed: %v", err)
	}
	declare(t, c, "other")
	go func() {
		_, err := c.Fetch(within(t), "other", "", 1, patience)
		ended <- err
	}()
	eventually(t, "it is a consumer", func() bool {
		info, err := c.QueryGroup(within(t), "other", "")
		return err == nil && len(info.Consumers) == 1
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end of another", ended); !errors.Is(err, zbus.ErrClosed) {
		t.Errorf("the client was closed: %v", err)
	}
}

// ackServer has an explicit group with so many messages, and counts frames with acks and the
// offsets in them.
func ackServer(t testing.TB, messages int) (addr string, acked func() (frames int, offsets map[int64]int)) {
	var mu sync.Mutex
	frames, offsets := 0, map[int64]int{}
	addr = listen(t, func(conn *silentConn) {
		next := 0
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdQuery:
				conn.answer(m, 200, `{"topicName":"t","groupName":"g","mask":64}`)
			case wire.CmdAck:
				all, ok := wire.ParseOffsets(m.Get(wire.HeaderOffset), 10_000)
				mu.Lock()
				for _, offset := range all {
					offsets[offset]++
				}
				if frames++; !ok {
					frames = -1 << 20
				}
				mu.Unlock()
				if m.Get(wire.HeaderAck) != "false" {
					conn.answer(m, 200, "")
				}
			case wire.CmdConsume:
				credit, _ := strconv.Atoi(m.Get(wire.HeaderWindow))
				for ; credit > 0 && next < messages; credit-- {
					conn.answer(m, 200, "x", wire.Field{Name: wire.HeaderTopic, Value: "t"}, wire.Field{Name: wire.HeaderHandle, Value: "h.1.1"},
						wire.Field{Name: wire.HeaderOffset, Value: strconv.Itoa(next)}, wire.Field{Name: wire.HeaderWindow, Value: strconv.Itoa(credit - 1)})
					next++
				}
			case wire.CmdUnconsume:
				conn.answer(m, 200, "")
			}
		}
	})
	return addr, func() (int, map[int64]int) {
		mu.Lock()
		defer mu.Unlock()
		return frames, maps.Clone(offsets)
	}
}

func TestAcksOfAWindowGoInOneFrame(t *testing.T) {
	t.Parallel()
	addr, acked := ackServer(t, 300)
	c := dial(t, addr, zbus.Options{})
	got, err := c.Fetch(within(t), "t", "g", 300, patience)
	if err != nil || len(got) != 300 {
		t.Fatalf("%d, %v", len(got), err)
	}
	if err := zbus.AckAll(within(t), got); err != nil {
		t.Fatal(err)
	}
	if frames, offsets := acked(); frames != 1 || len(offsets) != 300 {
		t.Errorf("%d messages were acked with %d frames", len(offsets), frames)
	}
}

func TestAcksOfHandlersGoTogether(t *testing.T) {
	t.Parallel()
	const n = 5000
	addr, acked := ackServer(t, n)
	c := dial(t, addr, zbus.Options{})
	sub, err := c.Subscribe(within(t), "t", "g", zbus.SubscribeOptions{Window: 1000, Concurrency: 2}, func(context.Context, *zbus.Delivery) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are acked", func() bool {
		_, offsets := acked()
		return len(offsets) == n
	})
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	frames, offsets := acked()
	if frames < 1 || frames > n/2 {
		t.Errorf("%d acks in %d frames", n, frames)
	}
	for offset, times := range offsets {
		if times != 1 {
			t.Errorf("offset %d was acked %d times", offset, times)
		}
	}
}

// The end of the client is the outcome of acks that are under way: the race detector watches that
// each is looked at once.
func TestAcksWhileTheClientIsClosed(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	fill(t, dial(t, broker.Addr, zbus.Options{}), "jobs", 100)
	for range 10 {
		c := dial(t, broker.Addr, zbus.Options{})
		got, err := c.Fetch(within(t), "jobs", "g", 20, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				var failed *zbus.BatchError
				err := zbus.AckAll(context.Background(), got[i:i+1])
				if err != nil && (!errors.As(err, &failed) || !errors.Is(failed.Errs[0], zbus.ErrClosed) && !errors.Is(failed.Errs[0], zbus.ErrConflict) && !errors.Is(failed.Errs[0], zbus.ErrUnknownOutcome)) {
					t.Errorf("an ack: %v", err)
				}
			})
		}
		_ = c.Close()
		all.Wait()
	}
}

func TestNothingIsSentOnceTheContextHasEnded(t *testing.T) {
	t.Parallel()
	const n = 200 // often enough that what is queued is also taken by the writer before it is given up
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", n)
	got, err := c.Fetch(within(t), "jobs", "g", n, patience)
	if err != nil || len(got) != n {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range n {
		var failed *zbus.BatchError
		if _, err := c.PublishBatch(ended, "jobs", make([]zbus.Message, 5)); !errors.As(err, &failed) || !errors.Is(failed.Errs[4], context.Canceled) || errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Fatalf("PublishBatch: %v", err)
		}
		if err := zbus.AckAll(ended, got[i:i+1]); !errors.As(err, &failed) || !errors.Is(failed.Errs[0], context.Canceled) || errors.Is(err, zbus.ErrUnknownOutcome) {
			t.Fatalf("AckAll: %v", err)
		}
	}
	receipt, err := c.Publish(within(t), "jobs", zbus.Message{})
	if err != nil || receipt.Offset != n {
		t.Errorf("the next message is at %d, %v", receipt.Offset, err)
	}
	if info, err := c.QueryGroup(within(t), "jobs", "g"); err != nil || info.InFlight != n {
		t.Errorf("%+v, %v", info, err)
	}
}

// silentGroups plays a server with explicit groups that have no messages. It never says that the
// time of a request for some is over, and tells of the requests.
func silentGroups(t testing.TB) (addr string, asked <-chan *wire.Message) {
	all := make(chan *wire.Message, 100)
	return listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdQuery:
				conn.answer(m, 200, `{"topicName":"t","groupName":"g","mask":64}`)
			case wire.CmdConsume:
				all <- m
			case wire.CmdUnconsume, wire.CmdPing:
				conn.answer(m, 200, "")
			}
		}
	}), all
}

func TestAFetchAsksAnewAfterOneThatWasGivenUp(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{HeartbeatTimeout: time.Minute})
	fill(t, c, "jobs", 0)
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Fetch(ctx, "jobs", "g", 10, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	fill(t, c, "jobs", 5)
	got, err := c.Fetch(within(t), "jobs", "g", 10, 5*time.Second)
	if err != nil || len(got) != 5 { // otherwise it waits until within ends
		t.Errorf("%d messages, %v", len(got), err)
	}
	began := time.Now()
	if got, err := c.Fetch(within(t), "jobs", "g", 10, 200*time.Millisecond); err != nil || len(got) != 0 {
		t.Errorf("%d messages after %s, %v", len(got), time.Since(began), err)
	}
}

func TestTheLongestFetch(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	fill(t, c, "jobs", 0)
	for _, wait := range []time.Duration{25 * time.Hour, math.MaxInt64} {
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(within(t))
		go func() {
			got, err := c.Fetch(ctx, "jobs", "g", 1, wait)
			if err == nil && len(got) != 1 {
				err = fmt.Errorf("%d messages", len(got))
			}
			ended <- err
		}()
		eventually(t, "it is a consumer", func() bool {
			info, err := c.QueryGroup(within(t), "jobs", "g")
			return err == nil && len(info.Consumers) == 1
		})
		if _, err := c.Publish(within(t), "jobs", zbus.Message{}); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "a message", ended); err != nil {
			t.Errorf("for %s: %v", wait, err)
		}
		cancel()
	}
	addr, asked := silentGroups(t)
	silent := dial(t, addr, zbus.Options{})
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 1)
	go func() {
		_, err := silent.Fetch(ctx, "t", "g", 1, math.MaxInt64)
		ended <- err
	}()
	if m := receive(t, "a request", asked); m.Get(wire.HeaderTimeout) != "86400000" {
		t.Errorf("it asks for %s ms", m.Get(wire.HeaderTimeout))
	}
	cancel()
	if err := receive(t, "its end", ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAFetchEndsAlsoWhenItHadToWaitToBegin(t *testing.T) {
	t.Parallel()
	addr, _ := silentGroups(t)
	c := dial(t, addr, zbus.Options{HeartbeatTimeout: time.Second})
	if _, err := c.Fetch(within(t), "t", "g", 1, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	zbus.FetchHeldUp(within(t), c, "t", "g", time.Millisecond, time.Second, ended)
	if err := receive(t, "its end", ended); err != nil {
		t.Error(err)
	}
}

func TestFirstFetchesAreOneConsumer(t *testing.T) {
	t.Parallel()
	queries := make(chan struct{}, 100)
	left := make(chan func(), 1)
	addr := listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdQuery:
				conn.answer(m, 200, `{"topicName":"t","groupName":"g","mask":64}`)
				queries <- struct{}{}
			case wire.CmdConsume:
				conn.answer(m, 204, "")
			case wire.CmdUnconsume:
				left <- func() { conn.answer(m, 200, "") }
			}
		}
	})
	c := dial(t, addr, zbus.Options{})
	sub, err := c.Subscribe(within(t), "t", "g", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- sub.Close() }()
	answer := receive(t, "the end of a subscription", left)
	for len(queries) > 0 {
		<-queries
	}
	var all sync.WaitGroup
	for range 8 { // all of them wait until the subscription has left
		all.Go(func() {
			if _, err := c.Fetch(within(t), "t", "g", 1, time.Millisecond); err != nil {
				t.Error(err)
			}
		})
		receive(t, "a query", queries)
	}
	answer()
	if err := receive(t, "the end of Close", closed); err != nil {
		t.Error(err)
	}
	all.Wait()
	if n := zbus.Members(c, "t", "g"); n != 1 {
		t.Errorf("%d consumers", n)
	}
}
