package metrics

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/rpc"
)

// Latencies of calls are shown in buckets from 2^leastPower to 2^mostPower
// microseconds: 64 µs to 67 s, each four times as wide as the one before.
const (
	leastPower = 6
	mostPower  = 26
)

// writeCalls writes the series of the table of calls.
func (h *handler) writeCalls(w text) {
	h.calls.Forget(func(topic string) bool { _, err := h.broker.System().Topic(topic); return err == nil })
	if all := h.calls.Figures(); len(all) > 0 {
		writeMethods(w, all)
		for _, f := range []struct {
			name, help string
			read       func(*rpc.ServiceFigures) int
		}{
			{"zbus_rpc_waiting_calls", "Calls that no provider has got yet.", func(s *rpc.ServiceFigures) int { return s.Waiting }},
			{"zbus_rpc_in_flight_calls", "Calls that providers work on.", func(s *rpc.ServiceFigures) int { return s.InFlight }},
			{"zbus_rpc_providers", "Providers that take calls.", func(s *rpc.ServiceFigures) int { return len(s.Providers) }},
		} {
			w.head(f.name, gauge, f.help)
			for i := range all {
				w.value(f.name, labels("topic", all[i].Topic), float64(f.read(&all[i])))
			}
		}
		writeDurations(w, all)
	}
	const dropped = "zbus_rpc_dropped_answers_total"
	d := h.calls.Drops()
	w.head(dropped, counter, "Answers that went nowhere: late, from a client that did not get the call (foreign), or to a caller that was gone (orphaned).")
	w.value(dropped, labels("reason", "foreign"), float64(d.Foreign))
	w.value(dropped, labels("reason", "late"), float64(d.Late))
	w.value(dropped, labels("reason", "orphaned"), float64(d.Orphaned))
}

// writeMethods writes what became of the calls of each method.
func writeMethods(w text, all []rpc.ServiceFigures) {
	const total, failed = "zbus_rpc_calls_total", "zbus_rpc_failed_answers_total"
	w.head(total, counter, "Calls that are over, by how they ended.")
	for i := range all {
		for _, m := range all[i].Methods {
			for _, outcome := range slices.Sorted(maps.Keys(m.Outcomes)) {
				w.value(total, labels("method", m.Name, "outcome", outcome, "topic", all[i].Topic), float64(m.Outcomes[outcome]))
			}
		}
	}
	w.head(failed, counter, "Answers with a status of 400 or more.")
	for i := range all {
		for _, m := range all[i].Methods {
			w.value(failed, labels("method", m.Name, "topic", all[i].Topic), float64(m.Failed))
		}
	}
}

// writeDurations writes the latencies of each service.
func writeDurations(w text, all []rpc.ServiceFigures) {
	const name = "zbus_rpc_duration_seconds"
	w.head(name, histogram, "From the call to its answer, of answered calls.")
	for i := range all {
		topic := all[i].Topic
		var l rpc.Latencies
		for _, m := range all[i].Methods {
			l.Merge(&m.Total)
		}
		for k := leastPower; k <= mostPower; k += 2 {
			most := strconv.FormatFloat((time.Microsecond << k).Seconds(), 'g', -1, 64)
			w.value(name+"_bucket", labels("topic", topic, "le", most), float64(l.Below(k)))
		}
		w.value(name+"_bucket", labels("topic", topic, "le", "+Inf"), float64(l.Count()))
		w.value(name+"_sum", labels("topic", topic), l.Sum().Seconds())
		w.value(name+"_count", labels("topic", topic), float64(l.Count()))
	}
}
