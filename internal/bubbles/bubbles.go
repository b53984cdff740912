// Package bubbles checks properties with random cases in which time passes only while the test
// sleeps.
package bubbles

import (
	"context"
	"flag"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// Few has rapid try n cases, unless -rapid.checks says how many.
func Few(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// Check tries a property in a bubble of testing/synctest, each case with a directory of its own.
func Check(t *testing.T, prop func(rt *rapid.T, dir string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(hidden{t}, func(rt *rapid.T) {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				rt.Fatal(err)
			}
			prop(rt, dir)
		})
	})
}

// hidden is a testing.T that rapid does not recognise: inside a bubble it must
// not ask for the deadline of the test.
type hidden struct{ *testing.T }

// T is what testing.T and rapid.T have in common.
type T interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Running is a goroutine and the way to end it.
type Running struct {
	stop context.CancelFunc
	done chan error
}

// Run starts f in a goroutine.
func Run(f func(context.Context) error) *Running {
	ctx, stop := context.WithCancel(context.Background())
	r := &Running{stop: stop, done: make(chan error, 1)}
	go func() { r.done <- f(ctx) }()
	return r
}

// End cancels the context of f and returns what f returns.
func (r *Running) End() error {
	r.stop()
	return <-r.done
}
