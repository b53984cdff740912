package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestMessagesOfOneKeyAreHandledInOrder(t *testing.T) {
	t.Parallel()
	for _, explicit := range []bool{true, false} {
		t.Run(fmt.Sprint("explicit ", explicit), func(t *testing.T) {
			c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
			const keys, each = 5, 40
			var mu sync.Mutex
			var all sync.WaitGroup
			all.Add(keys * each)
			last, under, most := map[string]int{}, map[string]bool{}, 0
			opts := zbus.SubscribeOptions{Window: 64, Concurrency: 8, PerKey: true, Declare: &zbus.GroupSpec{Explicit: explicit}}
			sub, err := c.Subscribe(within(t), "orders", "g", opts, func(_ context.Context, d *zbus.Delivery) error {
				defer all.Done()
				var n int
				if _, err := fmt.Sscan(string(d.Body), &n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if under[d.Key] || last[d.Key] != n {
					t.Errorf("message %d of key %s, want %d; another one is under way: %v", n, d.Key, last[d.Key], under[d.Key])
				}
				last[d.Key], under[d.Key] = n+1, true
				most = max(most, len(under))
				mu.Unlock()
				time.Sleep(time.Millisecond) // as work takes some time
				mu.Lock()
				delete(under, d.Key)
				mu.Unlock()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var messages []zbus.Message
			for n := range each {
				for k := range keys {
					messages = append(messages, zbus.Message{Key: fmt.Sprint("customer ", k), Body: fmt.Append(nil, n)})
				}
			}
			if _, err := c.PublishBatch(within(t), "orders", messages); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
			if most < 2 {
				t.Errorf("%d keys were handled at a time", most)
			}
			settledAt(t, c, "orders", "g")
		})
	}
}

// One key that is stuck holds up nobody else, whose messages come behind it.
func TestAStuckKeyHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	stuck, got := make(chan struct{}), make(chan string, 100)
	opts := zbus.SubscribeOptions{Window: 16, Concurrency: 2, PerKey: true, Declare: &zbus.GroupSpec{Explicit: true}}
	_, err := c.Subscribe(within(t), "orders", "g", opts, func(_ context.Context, d *zbus.Delivery) error {
		if d.Key == "stuck" {
			<-stuck
		}
		got <- d.Key + string(d.Body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var messages []zbus.Message
	for n := range 5 {
		messages = append(messages, zbus.Message{Key: "stuck", Body: fmt.Append(nil, n)})
	}
	for n := range 5 {
		messages = append(messages, zbus.Message{Key: "other", Body: fmt.Append(nil, n)}, zbus.Message{Body: fmt.Append(nil, n)})
	}
	if _, err := c.PublishBatch(within(t), "orders", messages); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if key := receive(t, "the others", got); key[:min(5, len(key))] == "stuck" {
			t.Fatalf("%s was handled", key)
		}
	}
	close(stuck)
	for n := range 5 {
		if key := receive(t, "the stuck key", got); key != fmt.Sprint("stuck", n) {
			t.Errorf("%s, want stuck%d", key, n)
		}
	}
	settledAt(t, c, "orders", "g")
}

func TestKeysAfterALostConnection(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	p := through(t, broker.Addr)
	c := dial(t, p.addr, hurried)
	var mu sync.Mutex
	seen := map[string]bool{}
	opts := zbus.SubscribeOptions{Window: 32, Concurrency: 4, PerKey: true, Declare: &zbus.GroupSpec{Explicit: true}}
	_, err := c.Subscribe(within(t), "orders", "g", opts, func(_ context.Context, d *zbus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if again := seen[string(d.Body)]; !again && len(seen)%25 == 24 {
			p.cutAll()
		}
		seen[string(d.Body)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]zbus.Message, 200)
	for i := range messages {
		messages[i] = zbus.Message{Key: fmt.Sprint(i % 3), Body: fmt.Append(nil, i)}
	}
	if _, err := direct.PublishBatch(within(t), "orders", messages); err != nil {
		t.Fatal(err)
	}
	settledAt(t, direct, "orders", "g")
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != len(messages) || p.connections() < 3 {
		t.Errorf("%d of %d messages were handled, over %d connections", len(seen), len(messages), p.connections())
	}
}

func TestBackoffSaysHowLongAMessageRests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		backoff zbus.Backoff
		want    []time.Duration // after the attempts 1, 2, …
	}{
		"exponential": {zbus.ExponentialBackoff(time.Second, 5*time.Second), []time.Duration{1e9, 2e9, 4e9, 5e9, 5e9}},
		"at once":     {zbus.ExponentialBackoff(0, time.Minute), []time.Duration{0, 0, 0}},
		"steps":       {zbus.BackoffSteps(time.Second, time.Minute), []time.Duration{time.Second, time.Minute, time.Minute}},
		"no steps":    {zbus.BackoffSteps(), []time.Duration{0, 0}},
		"large":       {zbus.ExponentialBackoff(math.MaxInt64/2+1, math.MaxInt64), []time.Duration{math.MaxInt64/2 + 1, math.MaxInt64, math.MaxInt64}},
	} {
		for i, want := range test.want {
			if got := test.backoff(i + 1); got != want {
				t.Errorf("%s, after attempt %d: %s, want %s", name, i+1, got, want)
			}
		}
		if got := test.backoff(0); got != test.want[0] {
			t.Errorf("%s, after attempt 0: %s", name, got)
		}
	}
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	attempts := make(chan int, 10)
	opts := zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Explicit: true}, Backoff: func(attempt int) time.Duration {
		attempts <- attempt
		return -time.Hour // at once
	}}
	if _, err := c.Subscribe(within(t), "jobs", "g", opts, func(_ context.Context, d *zbus.Delivery) error {
		if d.Attempt < 4 {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(within(t), "jobs", zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	for want := 1; want < 4; want++ {
		if got := receive(t, "an attempt", attempts); got != want {
			t.Errorf("asked after attempt %d, want %d", got, want)
		}
	}
	settledAt(t, c, "jobs", "g")
}

func TestReasonOfANackIsOnTheDeadLetter(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	if _, err := c.DeclareGroup(within(t), "jobs", zbus.GroupSpec{Name: "g", Explicit: true, MaxDeliver: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(within(t), "jobs", zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(within(t), "jobs", "g", 1, patience)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if err := got[0].Nack(within(t), "out of paper", 0); err != nil {
		t.Fatal(err)
	}
	for d, err := range c.Messages(within(t), "jobs.dead", "", zbus.SubscribeOptions{Declare: &zbus.GroupSpec{}}) {
		if err != nil {
			t.Fatal(err)
		}
		if cause := d.Header("dead-cause"); cause != "out of paper" {
			t.Errorf("cause %q", cause)
		}
		break
	}
}
