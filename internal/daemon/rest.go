package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How often is looked for memory that can be given back, and how much it has to be.
const (
	restInterval = 10 * time.Second
	restBytes    = 16 << 20
	restCycles   = 3 // of the collector in that time: with more there is a load
)

// giveBack gives memory back to the system that a load has taken, once the load is over. The
// collector does not run where little is allocated, and would leave it for minutes. It runs
// until ctx ends.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(restInterval)
	defer tick.Stop()
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	var cycles, least uint64
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		metrics.Read(samples)
		now, taken := samples[0].Value.Uint64(), samples[1].Value.Uint64()-samples[2].Value.Uint64()
		idle := now-cycles <= restCycles
		if cycles = now; !idle || taken < least+restBytes {
			least = min(least, taken)
			continue
		}
		runtime.GC() // a pool lets go of what it has in the second of two turns
		debug.FreeOSMemory()
		metrics.Read(samples)
		cycles, least = samples[0].Value.Uint64(), samples[1].Value.Uint64()-samples[2].Value.Uint64()
	}
}
