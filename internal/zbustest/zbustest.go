// Package zbustest runs brokers for tests, in the same process, each as it runs in
// production: with a data directory and a port of its own.
package zbustest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
)

// stopTime is how long a broker may take to stop.
const stopTime = 30 * time.Second

// Broker is a broker that runs, or has been stopped. It is for one goroutine.
type Broker struct {
	// Addr is the host:port that it listens on. It stays the same over a restart.
	Addr string

	cfg    config.Config
	cancel context.CancelFunc
	ended  chan error // capacity 1: of daemon.Run
}

// Start runs a broker until the test ends. The functions change its configuration.
func Start(t testing.TB, set ...func(*config.Config)) *Broker {
	t.Helper()
	once := FreeAddr(t) // and again, after a restart
	listen := func(c *config.Config) { c.Listen = []string{once} }
	b, err := Open(t.TempDir(), append([]func(*config.Config){listen}, set...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Open runs a broker with its data in a directory until Stop.
func Open(dir string, set ...func(*config.Config)) (*Broker, error) {
	cfg := config.Default()
	cfg.Listen = []string{"127.0.0.1:0"}
	cfg.Data = dir
	for _, f := range set {
		f(&cfg)
	}
	b := &Broker{cfg: cfg}
	return b, b.run()
}

// Shared runs a broker for a whole test binary, and returns its address and what
// ends it and removes its data.
func Shared() (addr string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "zbustest")
	if err != nil {
		return "", nil, err
	}
	b, err := Open(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b.Addr, func() error { return errors.Join(b.Stop(), os.RemoveAll(dir)) }, nil
}

func (b *Broker) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan daemon.Ready, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, b.cfg, "test", slog.New(slog.DiscardHandler), func(r daemon.Ready) { ready <- r })
	}()
	select {
	case r := <-ready:
		b.Addr = r.Addrs[0].String()
		b.cfg.Listen = []string{b.Addr}
		b.cancel, b.ended = cancel, ended
		return nil
	case err := <-ended:
		cancel()
		return fmt.Errorf("the broker does not start: %w", err)
	}
}

// Stop stops the broker gracefully and waits until it has ended. One that was stopped
// is left alone.
func (b *Broker) Stop() error {
	if b.cancel == nil {
		return nil
	}
	b.cancel()
	b.cancel = nil
	select {
	case err := <-b.ended:
		return err
	case <-time.After(stopTime):
		return errors.New("the broker does not stop")
	}
}

// Configure changes the configuration that the next Restart uses.
func (b *Broker) Configure(set ...func(*config.Config)) {
	for _, f := range set {
		f(&b.cfg)
	}
}

// Restart runs the broker again, with the same address and data.
func (b *Broker) Restart() error {
	if err := b.Stop(); err != nil {
		return err
	}
	return b.run()
}
