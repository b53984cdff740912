package metrics

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// goFigure is one series of the Go runtime, the sum of what it measures under these names. The
// names of the series are those of Prometheus' own client.
type goFigure struct {
	name    string
	kind    kind
	help    string
	sources []string
}

func goFigures() []goFigure {
	return []goFigure{
		{"go_gc_gogc_percent", gauge, "How much the heap may grow before the next collection, in percent of what is live; see GOGC.", []string{"/gc/gogc:percent"}},
		{"go_gc_gomemlimit_bytes", gauge, "What the runtime tries to stay below, set by --max-memory or GOMEMLIMIT.", []string{"/gc/gomemlimit:bytes"}},
		{"go_memstats_alloc_bytes", gauge, "Objects on the heap, live or not yet collected.", []string{"/memory/classes/heap/objects:bytes"}},
		{"go_memstats_alloc_bytes_total", counter, "Everything ever allocated on the heap.", []string{"/gc/heap/allocs:bytes"}},
		{"go_memstats_buck_hash_sys_bytes", gauge, "Tables of the profiler.", []string{"/memory/classes/profiling/buckets:bytes"}},
		{"go_memstats_frees_total", counter, "Heap objects collected.", []string{"/gc/heap/frees:objects", "/gc/heap/tiny/allocs:objects"}},
		{"go_memstats_gc_sys_bytes", gauge, "What the garbage collector needs for itself.", []string{"/memory/classes/metadata/other:bytes"}},
		{"go_memstats_heap_alloc_bytes", gauge, "The same as go_memstats_alloc_bytes.", []string{"/memory/classes/heap/objects:bytes"}},
		{"go_memstats_heap_idle_bytes", gauge, "Parts of the heap without objects, given back to the system or kept.", []string{"/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}},
		{"go_memstats_heap_inuse_bytes", gauge, "Parts of the heap with at least one object.", []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"}},
		{"go_memstats_heap_objects", gauge, "Heap objects, live or not yet collected.", []string{"/gc/heap/objects:objects"}},
		{"go_memstats_heap_released_bytes", gauge, "Parts of the heap given back to the system.", []string{"/memory/classes/heap/released:bytes"}},
		{"go_memstats_heap_sys_bytes", gauge, "Address space of the heap.", []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}},
		{"go_memstats_mallocs_total", counter, "Heap objects ever allocated.", []string{"/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"}},
		{"go_memstats_mcache_inuse_bytes", gauge, "Caches of the allocator that are in use.", []string{"/memory/classes/metadata/mcache/inuse:bytes"}},
		{"go_memstats_mcache_sys_bytes", gauge, "Caches of the allocator, in use or free.", []string{"/memory/classes/metadata/mcache/inuse:bytes", "/memory/classes/metadata/mcache/free:bytes"}},
		{"go_memstats_mspan_inuse_bytes", gauge, "Descriptions of heap spans that are in use.", []string{"/memory/classes/metadata/mspan/inuse:bytes"}},
		{"go_memstats_mspan_sys_bytes", gauge, "Descriptions of heap spans, in use or free.", []string{"/memory/classes/metadata/mspan/inuse:bytes", "/memory/classes/metadata/mspan/free:bytes"}},
		{"go_memstats_next_gc_bytes", gauge, "Size of the heap at which the next collection ends.", []string{"/gc/heap/goal:bytes"}},
		{"go_memstats_other_sys_bytes", gauge, "Memory of the runtime that none of the others counts.", []string{"/memory/classes/other:bytes"}},
		{"go_memstats_stack_inuse_bytes", gauge, "Stacks of goroutines.", []string{"/memory/classes/heap/stacks:bytes"}},
		{"go_memstats_stack_sys_bytes", gauge, "Stacks of goroutines and of threads.", []string{"/memory/classes/heap/stacks:bytes", "/memory/classes/os-stacks:bytes"}},
		{"go_memstats_sys_bytes", gauge, "All memory that the runtime has from the system.", []string{"/memory/classes/total:bytes"}},
		{"go_sched_gomaxprocs_threads", gauge, "Threads that can run Go code at a time; see GOMAXPROCS.", []string{"/sched/gomaxprocs:threads"}},
	}
}

// writeGo writes the series of the Go runtime.
func writeGo(w text) {
	for _, f := range goFigures() {
		samples := make([]metrics.Sample, len(f.sources))
		for i, name := range f.sources {
			samples[i].Name = name
		}
		metrics.Read(samples)
		sum := 0.0
		for _, s := range samples {
			if s.Value.Kind() == metrics.KindUint64 {
				sum += float64(s.Value.Uint64())
			}
		}
		w.single(f.name, f.kind, f.help, sum)
	}
	threads, _ := runtime.ThreadCreateProfile(nil)
	w.single("go_goroutines", gauge, "Goroutines at this moment.", float64(runtime.NumGoroutine()))
	w.single("go_threads", gauge, "Threads of the system, ever created.", float64(threads))
	w.head("go_info", gauge, "The version of Go that built this.")
	w.value("go_info", labels("version", runtime.Version()), 1)
	writePauses(w)
}

// writePauses writes what the collector's pauses took.
func writePauses(w text) {
	const name = "go_gc_duration_seconds"
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	w.single("go_memstats_last_gc_time_seconds", gauge, "When the last garbage collection ended, in Unix time.", seconds(stats.LastGC))
	w.head(name, summary, "How long garbage collections have stopped everything.")
	for i, quantile := range []string{"0", "0.25", "0.5", "0.75", "1"} {
		w.value(name, labels("quantile", quantile), stats.PauseQuantiles[i].Seconds())
	}
	w.value(name+"_sum", "", stats.PauseTotal.Seconds())
	w.value(name+"_count", "", float64(stats.NumGC))
}
