package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// Latencies of calls are shown in buckets from 2^leastPower to 2^mostPower
// microseconds: 64 µs to 67 s, each four times as wide as the one before.
const (
	leastPower = 6
	mostPower  = 26
)

// callCollector reads the table of calls when it is asked to.
type callCollector struct {
	broker *broker.Broker
	calls  *rpc.Table

	total, failed, waiting, inFlight, providers, dropped, duration *prometheus.Desc
}

func newCallCollector(o Options) *callCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &callCollector{
		broker: o.Broker, calls: o.Calls,
		total:     desc("zbus_rpc_calls_total", "Calls that are over, by how they ended.", "topic", "method", "outcome"),
		failed:    desc("zbus_rpc_failed_answers_total", "Answers with a status of 400 or more.", "topic", "method"),
		waiting:   desc("zbus_rpc_waiting_calls", "Calls that no provider has got yet.", "topic"),
		inFlight:  desc("zbus_rpc_in_flight_calls", "Calls that providers work on.", "topic"),
		providers: desc("zbus_rpc_providers", "Providers that take calls.", "topic"),
		dropped:   desc("zbus_rpc_dropped_answers_total", "Answers that went nowhere: late, from somebody who did not get the call (foreign), or to a caller that was gone (orphaned).", "reason"),
		duration:  desc("zbus_rpc_duration_seconds", "From the call to its answer, of answered calls.", "topic"),
	}
}

// Describe is part of prometheus.Collector.
func (c *callCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.total, c.failed, c.waiting, c.inFlight, c.providers, c.dropped, c.duration} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *callCollector) Collect(out chan<- prometheus.Metric) {
	c.calls.Forget(func(topic string) bool { _, err := c.broker.Topic(topic); return err == nil })
	for _, s := range c.calls.Figures() {
		gauge := func(d *prometheus.Desc, n int) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), s.Topic)
		}
		gauge(c.waiting, s.Waiting)
		gauge(c.inFlight, s.InFlight)
		gauge(c.providers, len(s.Providers))
		var all rpc.Latencies
		for _, m := range s.Methods {
			for outcome, n := range m.Outcomes {
				out <- prometheus.MustNewConstMetric(c.total, prometheus.CounterValue, float64(n), s.Topic, m.Name, outcome)
			}
			out <- prometheus.MustNewConstMetric(c.failed, prometheus.CounterValue, float64(m.Failed), s.Topic, m.Name)
			all.Merge(&m.Total)
		}
		buckets := make(map[float64]uint64)
		for k := leastPower; k <= mostPower; k += 2 {
			buckets[(time.Microsecond << k).Seconds()] = all.Below(k)
		}
		out <- prometheus.MustNewConstHistogram(c.duration, all.Count(), all.Sum().Seconds(), buckets, s.Topic)
	}
	d := c.calls.Drops()
	for reason, n := range map[string]uint64{"late": d.Late, "foreign": d.Foreign, "orphaned": d.Orphaned} {
		out <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), reason)
	}
}
