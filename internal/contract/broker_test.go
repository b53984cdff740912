package contract

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// instance is a broker that runs as it does in production: a real file, a real
// port.
type instance struct {
	addr  string
	cfg   config.Config
	setup string // the secret to set the first administrator with, where one is needed

	cancel context.CancelFunc
	done   chan struct{}
	err    error // of daemon.Run; set before done is closed
}

// start runs a broker until the test ends, in an empty directory.
func start(t testing.TB, set ...func(*config.Config)) *instance {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = []string{"127.0.0.1:0"}
	cfg.Data = t.TempDir()
	for _, f := range set {
		f(&cfg)
	}
	return run(t, cfg)
}

func run(t testing.TB, cfg config.Config) *instance {
	t.Helper()
	return runLogged(t, cfg, slog.New(slog.DiscardHandler))
}

func runLogged(t testing.TB, cfg config.Config, log *slog.Logger) *instance {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &instance{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	ready := make(chan daemon.Ready, 1)
	go func() {
		defer close(b.done)
		b.err = daemon.Run(ctx, cfg, "test", log, func(r daemon.Ready) { ready <- r })
	}()
	select {
	case r := <-ready:
		b.addr, b.setup = r.Addrs[0].String(), r.Setup
	case <-b.done:
		cancel()
		t.Fatalf("broker did not start: %v", b.err)
	}
	t.Cleanup(func() { b.stop(t) })
	return b
}

// stop ends the broker gracefully and waits for it.
func (b *instance) stop(t testing.TB) {
	t.Helper()
	b.cancel()
	select {
	case <-b.done:
	case <-time.After(3 * patience):
		t.Fatal("the broker does not stop")
	}
	if b.err != nil {
		t.Fatalf("broker ended with %v", b.err)
	}
}

// restart stops the broker and runs another one on the same data.
func (b *instance) restart(t testing.TB) *instance {
	t.Helper()
	b.stop(t)
	return run(t, b.cfg)
}

// http is a client whose every exchange is held against the contract, with
// connections of its own.
func (b *instance) http(t testing.TB) *http.Client {
	wire := &http.Transport{}
	t.Cleanup(wire.CloseIdleConnections)
	return &http.Client{Transport: checked{wire}, Timeout: 3 * patience}
}

// eventually waits until a condition on the broker holds, asking it over and
// over: each question is a round trip.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
