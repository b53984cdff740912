package zbustest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/embed"
	"github.com/rushmore/zbus-go/zbus/zbustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func declare(t *testing.T, c *zbus.Client, topic string) {
	t.Helper()
	if _, err := c.DeclareGroup(t.Context(), topic, zbus.GroupSpec{Name: "g", Explicit: true, AckTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, c *zbus.Client, m zbus.Message) error {
	t.Helper()
	return publishWithin(t, zbustest.Timeout, c, m)
}

func publishWithin(t *testing.T, d time.Duration, c *zbus.Client, m zbus.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := c.Publish(ctx, "orders", m)
	return err
}

func TestAServerForATest(t *testing.T) {
	t.Parallel()
	s := zbustest.Start(t)
	c := s.Client()
	declare(t, c, "orders")
	for _, body := range []string{"a", "b"} {
		if err := publish(t, c, zbus.Message{ID: body, Tag: "x", Body: []byte(body), Headers: map[string]string{"colour": "red"}}); err != nil {
			t.Fatal(err)
		}
	}
	if g := s.Group("orders", "g"); g.Lag != 2 || g.InFlight != 0 {
		t.Errorf("%+v", g)
	}
	if m := s.Messages("orders"); len(m) != 2 || m[0].Body != "a" || m[1].ID != "b" || m[1].Headers["colour"] != "red" {
		t.Errorf("%+v", m)
	}
	if _, err := c.Subscribe(t.Context(), "orders", "g", zbus.SubscribeOptions{}, func(context.Context, *zbus.Delivery) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.Settled("orders", "g")
	s.Restart()
	if m := s.Messages("orders"); len(m) != 2 {
		t.Errorf("%+v", m)
	}
	s.Eventually("the client is back", func() bool { return publish(t, c, zbus.Message{}) == nil })
	s.Settled("orders", "g")
}

func TestThingsGoWrong(t *testing.T) {
	t.Parallel()
	s := zbustest.Start(t, embed.Options{Settings: map[string]string{"max-body": "1MiB"}})
	c := s.Client(zbus.Options{MaxBackoff: 50 * time.Millisecond})
	declare(t, c, "orders")
	m := zbus.Message{ID: "1", Body: []byte("x")}
	s.LoseAnswers()
	if err := publish(t, c, m); !errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("%v, want an unknown outcome", err)
	}
	s.Mend()
	if err := publish(t, c, m); err != nil {
		t.Error(err)
	}
	if stored := s.Messages("orders"); len(stored) != 1 {
		t.Errorf("%+v", stored)
	}
	s.Freeze()
	if err := publishWithin(t, time.Second, c, zbus.Message{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a timeout", err)
	}
	s.Mend()
	s.Cut()
	s.Eventually("the client is back", func() bool { return publish(t, c, zbus.Message{ID: "2"}) == nil })
}

func TestTimePasses(t *testing.T) {
	t.Parallel()
	s := zbustest.Start(t)
	c := s.Client()
	declare(t, c, "orders")
	if err := publish(t, c, zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	took := s.Client()
	for d, err := range took.Messages(t.Context(), "orders", "g", zbus.SubscribeOptions{NoExtend: true}) {
		if err != nil || d.Attempt != 1 {
			t.Fatal(d, err)
		}
		break // neither acked nor nacked, while its connection lasts
	}
	s.Advance(2 * time.Minute)
	for d, err := range c.Messages(t.Context(), "orders", "g", zbus.SubscribeOptions{}) {
		if err != nil || d.Attempt != 2 {
			t.Fatal(d, err)
		}
		break
	}
}

// A broker is there soon: every test may have one of its own.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := embed.Start(b.Context(), embed.Options{Settings: map[string]string{"durability": "relaxed"}})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := e.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
