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
		{"go_gc_gogc_percent", gauge, "Heap size target, set by GOGC.", []string{"/gc/gogc:percent"}},
		{"go_gc_gomemlimit_bytes", gauge, "Memory limit of the runtime, set by --max-memory or GOMEMLIMIT.", []string{"/gc/gomemlimit:bytes"}},
		{"go_memstats_alloc_bytes", gauge, "Number of bytes allocated in heap and currently in use.", []string{"/memory/classes/heap/objects:bytes"}},
		{"go_memstats_alloc_bytes_total", counter, "Total number of bytes allocated in heap until now, even if released already.", []string{"/gc/heap/allocs:bytes"}},
		{"go_memstats_buck_hash_sys_bytes", gauge, "Number of bytes used by the profiling bucket hash table.", []string{"/memory/classes/profiling/buckets:bytes"}},
		{"go_memstats_frees_total", counter, "Total number of heap objects frees.", []string{"/gc/heap/frees:objects", "/gc/heap/tiny/allocs:objects"}},
		{"go_memstats_gc_sys_bytes", gauge, "Number of bytes used for garbage collection system metadata.", []string{"/memory/classes/metadata/other:bytes"}},
		{"go_memstats_heap_alloc_bytes", gauge, "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes.", []string{"/memory/classes/heap/objects:bytes"}},
		{"go_memstats_heap_idle_bytes", gauge, "Number of heap bytes waiting to be used.", []string{"/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}},
		{"go_memstats_heap_inuse_bytes", gauge, "Number of heap bytes that are in use.", []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"}},
		{"go_memstats_heap_objects", gauge, "Number of currently allocated objects.", []string{"/gc/heap/objects:objects"}},
		{"go_memstats_heap_released_bytes", gauge, "Number of heap bytes released to OS.", []string{"/memory/classes/heap/released:bytes"}},
		{"go_memstats_heap_sys_bytes", gauge, "Number of heap bytes obtained from system.", []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}},
		{"go_memstats_mallocs_total", counter, "Total number of heap objects allocated, both live and gc-ed. Semantically a counter version for go_memstats_heap_objects gauge.", []string{"/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"}},
		{"go_memstats_mcache_inuse_bytes", gauge, "Number of bytes in use by mcache structures.", []string{"/memory/classes/metadata/mcache/inuse:bytes"}},
		{"go_memstats_mcache_sys_bytes", gauge, "Number of bytes used for mcache structures obtained from system.", []string{"/memory/classes/metadata/mcache/inuse:bytes", "/memory/classes/metadata/mcache/free:bytes"}},
		{"go_memstats_mspan_inuse_bytes", gauge, "Number of bytes in use by mspan structures.", []string{"/memory/classes/metadata/mspan/inuse:bytes"}},
		{"go_memstats_mspan_sys_bytes", gauge, "Number of bytes used for mspan structures obtained from system.", []string{"/memory/classes/metadata/mspan/inuse:bytes", "/memory/classes/metadata/mspan/free:bytes"}},
		{"go_memstats_next_gc_bytes", gauge, "Number of heap bytes when next garbage collection will take place.", []string{"/gc/heap/goal:bytes"}},
		{"go_memstats_other_sys_bytes", gauge, "Number of bytes used for other system allocations.", []string{"/memory/classes/other:bytes"}},
		{"go_memstats_stack_inuse_bytes", gauge, "Number of bytes obtained from system for stack allocator in non-CGO environments.", []string{"/memory/classes/heap/stacks:bytes"}},
		{"go_memstats_stack_sys_bytes", gauge, "Number of bytes obtained from system for stack allocator.", []string{"/memory/classes/heap/stacks:bytes", "/memory/classes/os-stacks:bytes"}},
		{"go_memstats_sys_bytes", gauge, "Number of bytes obtained from system.", []string{"/memory/classes/total:bytes"}},
		{"go_sched_gomaxprocs_threads", gauge, "Threads that can execute Go code at a time, set by GOMAXPROCS.", []string{"/sched/gomaxprocs:threads"}},
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
	w.single("go_goroutines", gauge, "Number of goroutines that currently exist.", float64(runtime.NumGoroutine()))
	w.single("go_threads", gauge, "Number of OS threads created.", float64(threads))
	w.head("go_info", gauge, "Information about the Go environment.")
	w.value("go_info", labels("version", runtime.Version()), 1)
	writePauses(w)
}

// writePauses writes what the collector's pauses took.
func writePauses(w text) {
	const name = "go_gc_duration_seconds"
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	w.single("go_memstats_last_gc_time_seconds", gauge, "Number of seconds since 1970 of last garbage collection.", seconds(stats.LastGC))
	w.head(name, summary, "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.")
	for i, quantile := range []string{"0", "0.25", "0.5", "0.75", "1"} {
		w.value(name, labels("quantile", quantile), stats.PauseQuantiles[i].Seconds())
	}
	w.value(name+"_sum", "", stats.PauseTotal.Seconds())
	w.value(name+"_count", "", float64(stats.NumGC))
}
