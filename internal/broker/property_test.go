package broker

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

// fewChecks has rapid try n cases, unless -rapid.checks says how many.
func fewChecks(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// inBubbles runs a property of a broker, each case on a new file.
func inBubbles(t *testing.T, checks int, prop func(r *rig, rt *rapid.T)) {
	t.Helper()
	fewChecks(t, checks)
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(hidden{t}, func(rt *rapid.T) {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				rt.Fatal(err)
			}
			r := &rig{tester: rt, path: dir + "/zbus.db"}
			if rapid.Bool().Draw(rt, "all from disk") {
				r.opts.TailBytes = 1
			}
			r.open()
			defer func() { r.close() }()
			prop(r, rt)
		})
	})
}

// someKind is log more often than memory.
var someKind = rapid.SampledFrom([]storage.Kind{storage.KindLog, storage.KindLog, storage.KindMemory})

// someSettle is both ways.
var someSettle = rapid.SampledFrom([]storage.Settle{storage.SettleAuto, storage.SettleExplicit})
