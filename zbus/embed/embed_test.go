package embed_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/embed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts embed.Options) *embed.Broker {
	t.Helper()
	b, err := embed.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func client(t *testing.T, b *embed.Broker) *zbus.Client {
	t.Helper()
	c, err := b.Client(t.Context(), zbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestBrokerInAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := embed.Start(t.Context(), embed.Options{Dir: dir, Settings: map[string]string{"max-body": "1MiB"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Addrs()) != 0 {
		t.Errorf("listens on %v", b.Addrs())
	}
	c := client(t, b)
	if _, err := c.DeclareTopic(t.Context(), zbus.TopicSpec{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1<<20) // more than the pipe takes at once
	for _, body := range []string{"one", big} {
		if _, err := c.Publish(t.Context(), "orders", zbus.Message{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Publish(t.Context(), "orders", zbus.Message{Body: []byte(big + "x")}); err == nil {
		t.Error("a body beyond the setting is stored")
	}
	// The data is there again, for another broker in the directory.
	if _, err := embed.Start(t.Context(), embed.Options{Dir: dir}); err == nil {
		t.Error("two brokers have one directory")
	}
	_ = c.Close()
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Done():
	default:
		t.Error("it has not stopped")
	}
	b = start(t, embed.Options{Dir: dir, Listen: []string{"127.0.0.1:0"}})
	resp, err := b.HTTP().Get("http://127.0.0.1/api/v1/topics/orders/messages?limit=10")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(text), `"one"`) {
		t.Errorf("%s, %v: %.200s", resp.Status, err, text)
	}
	conn, err := net.Dial("tcp", b.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestDeliveriesCallsAndTime(t *testing.T) {
	t.Parallel()
	b := start(t, embed.Options{})
	c := client(t, b)
	group := &zbus.GroupSpec{Explicit: true, AckTimeout: time.Hour}
	attempts := make(chan int, 10)
	_, err := c.Subscribe(t.Context(), "jobs", "g", zbus.SubscribeOptions{Declare: group, Manual: true}, func(ctx context.Context, d *zbus.Delivery) error {
		attempts <- d.Attempt
		if d.Attempt == 1 {
			return d.Nack(ctx, "not today", 24*time.Hour)
		}
		return d.Ack(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(t.Context(), "jobs", zbus.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if n := <-attempts; n != 1 {
		t.Errorf("attempt %d", n)
	}
	if err := c.Drain(t.Context()); err == nil { // the nack has arrived
		c = client(t, b)
	}
	again := make(chan int, 10)
	if _, err := c.Subscribe(t.Context(), "jobs", "g", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		again <- d.Attempt
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.Advance(25 * time.Hour)
	if n := <-again; n != 2 {
		t.Errorf("attempt %d", n)
	}
}

func TestWrongOptionsAreErrors(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]embed.Options{
		"setting nothing":    {Settings: map[string]string{"nothing": "x"}},
		"durability":         {Settings: map[string]string{"durability": "some"}},
		"setting pprof":      {Settings: map[string]string{"pprof": "127.0.0.1:1"}},
		"listen":             {Listen: []string{"nowhere"}},
		"no such file or di": {Dir: "/proc/nothing/here"},
	} {
		if _, err := embed.Start(t.Context(), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", opts, err, want)
		}
	}
}

// A program with a broker of its own, which needs neither a port nor a directory.
func Example() {
	ctx := context.Background()
	b, err := embed.Start(ctx, embed.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = b.Stop(ctx) }()
	client, err := b.Client(ctx, zbus.Options{})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	if _, err := client.DeclareTopic(ctx, zbus.TopicSpec{Name: "mails"}); err != nil {
		panic(err)
	}
	if _, err := client.Publish(ctx, "mails", zbus.Message{Body: []byte("hello")}); err != nil {
		panic(err)
	}
	for d, err := range client.Messages(ctx, "mails", "", zbus.SubscribeOptions{}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", d.Body)
		break
	}
	// Output: hello
}
