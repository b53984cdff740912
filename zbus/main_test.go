package zbus_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// address is that of the broker that the examples talk to.
var address string

func TestMain(m *testing.M) {
	addr, stop, err := zbustest.Shared()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	address = addr
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// within is a context for something that must not take long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial connects a client until the test ends.
func dial(t testing.TB, addr string, opts zbus.Options) *zbus.Client {
	t.Helper()
	c, err := zbus.Dial(within(t), addr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialServer is dial for one of several servers at a time.
func dialServer(t testing.TB, addrs string, opts zbus.Options) *zbus.Client {
	t.Helper()
	c, err := zbus.DialServer(within(t), addrs, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// declare creates a topic.
func declare(t testing.TB, c *zbus.Client, topic string) {
	t.Helper()
	if _, err := c.DeclareTopic(within(t), zbus.TopicSpec{Name: topic}); err != nil {
		t.Fatal(err)
	}
}

// receive waits for something that comes by a channel.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("not reached")
	}
}

// errOf is the error of a publish.
func errOf(_ zbus.Receipt, err error) error { return err }

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
