package broker

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/storage"
)

// inBubbles runs a property of a broker, each case on a new file.
func inBubbles(t *testing.T, checks int, prop func(r *rig, rt *rapid.T)) {
	t.Helper()
	bubbles.Few(t, checks)
	bubbles.Check(t, func(rt *rapid.T, dir string) {
		r := &rig{T: rt, path: dir + "/zbus.db"}
		if rapid.Bool().Draw(rt, "all from disk") {
			r.opts.TailBytes = 1
		}
		r.open()
		defer func() { r.close() }()
		prop(r, rt)
	})
}

// someKind is log more often than memory.
var someKind = rapid.SampledFrom([]storage.Kind{storage.KindLog, storage.KindLog, storage.KindMemory})

// someSettle is both ways.
var someSettle = rapid.SampledFrom([]storage.Settle{storage.SettleAuto, storage.SettleExplicit})
