// Package metrics shows the broker's counters to Prometheus. They are read when
// somebody asks, so they cost nothing otherwise; labels are the names of topics and
// groups, and a topic or group that is removed takes its series along.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Options are what is shown besides what the broker knows.
type Options struct {
	Broker      *broker.Broker
	Calls       *rpc.Table
	Stats       *stats.Sampler
	Version     string
	Conditions  *condition.Board
	Connections func() int64
	Database    func() int64 // bytes of the database's files
	Backups     func() Backups
	Space       func() storage.Space
	Scrub       func() storage.Scrub
	Refused     func() map[string]int64 // what limits have refused
	Log         *slog.Logger
}

// Backups are figures of the broker's backups. Last is the last complete one.
type Backups struct {
	Running       bool
	Taken, Missed int64     // complete ones and others since the start
	Time          time.Time // of the last; zero if there is none
	Bytes         int64     // of the last
	Checked       time.Time // when the last was read back; zero if it was not by the broker
	Findings      int64     // of that
}

// New makes the handler of /metrics.
func New(opts Options) (http.Handler, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		newCollector(opts),
		newCallCollector(opts),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(opts.Log.Handler(), slog.LevelError),
	}), nil
}

// figure is one series of the broker as a whole.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

// perTopic and perGroup are series with a value for each.
type (
	perTopic struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		read func(*broker.Topic) float64
	}
	perGroup struct {
		desc *prometheus.Desc
		kind prometheus.ValueType
		read func(*groupFigures) float64
	}
)

// groupFigures are read once for all series of a group.
type groupFigures struct {
	broker.GroupInfo
	broker.GroupCounts
	lag stats.Lag
}

// collector reads the broker when it is asked to.
type collector struct {
	broker   *broker.Broker
	stats    *stats.Sampler
	board    *condition.Board
	holds    *prometheus.Desc // a series for each condition
	refusals *prometheus.Desc // a series for each limit
	refused  func() map[string]int64
	build    prometheus.Metric
	all      []figure
	topics   []perTopic
	groups   []perGroup
}

func newCollector(o Options) *collector {
	b := o.Broker
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	info := prometheus.NewDesc("zbus_build_info", "The version that runs; always 1.", []string{"version"}, nil)
	holds := prometheus.NewDesc("zbus_condition", "What is wrong right now; always 1.", []string{"kind", "subject", "severity"}, nil)
	refusals := prometheus.NewDesc("zbus_refused_total", "Connections, streams and requests refused by a limit.", []string{"limit"}, nil)
	c := &collector{refusals: refusals, refused: o.Refused, broker: b, stats: o.Stats, board: o.Conditions, holds: holds, build: prometheus.MustNewConstMetric(info, gauge, 1, o.Version)}
	all := func(kind prometheus.ValueType, name, help string, read func() float64) {
		c.all = append(c.all, figure{prometheus.NewDesc(name, help, nil, nil), kind, read})
	}
	topic := func(kind prometheus.ValueType, name, help string, read func(*broker.Topic) float64) {
		c.topics = append(c.topics, perTopic{prometheus.NewDesc(name, help, []string{"topic"}, nil), kind, read})
	}
	group := func(kind prometheus.ValueType, name, help string, read func(*groupFigures) float64) {
		c.groups = append(c.groups, perGroup{prometheus.NewDesc(name, help, []string{"topic", "group"}, nil), kind, read})
	}
	all(gauge, "zbus_connections", "Open connections.", func() float64 { return float64(o.Connections()) })
	all(gauge, "zbus_database_size_bytes", "Size of the database's files.", func() float64 { return float64(o.Database()) })
	all(gauge, "zbus_disk_free_bytes", "Bytes free on the disk of the database.", func() float64 { return float64(o.Space().Free) })
	all(gauge, "zbus_database_unused_bytes", "Bytes of the database's file that removed messages have left.", func() float64 { return float64(o.Space().Unused) })
	all(gauge, "zbus_disk_room_bytes", "Bytes that messages can take: free on the disk, or unused in the database.", func() float64 { return float64(o.Space().Room) })
	all(gauge, "zbus_disk_floor_bytes", "Publishing is stopped while there is less room.", func() float64 { return float64(o.Space().Floor) })
	all(gauge, "zbus_disk_reserve_bytes", "Bytes held for a full disk; 0 while they are given up.", func() float64 { return float64(o.Space().Reserve) })
	all(gauge, "zbus_publishing_stopped", "1 while messages are refused because the disk is almost full.", func() float64 { return truth(o.Space().Stopped) })
	all(gauge, "zbus_storage_backlog_bytes", "Bytes that wait to be stored.", func() float64 { return float64(b.Backlog()) })
	all(gauge, "zbus_page_bytes", "Bytes read for groups that lag behind and not yet delivered.", func() float64 { return float64(b.Pages()) })
	all(gauge, "zbus_outbound_bytes", "Bytes delivered and not yet written to sockets.", func() float64 { return float64(b.Outbound()) })
	all(gauge, "zbus_clock_offset_seconds", "How far the clock was set forward since the data directory began.", func() float64 { return float64(b.Clock().Offset) / 1000 })
	all(gauge, "zbus_memory_topics_bytes", "Bytes that memory topics hold.", func() float64 { return float64(b.InMemory()) })
	all(counter, "zbus_storage_commits_total", "Transactions committed.", func() float64 { return float64(b.Writer().Commits) })
	all(counter, "zbus_storage_commit_seconds_total", "Time spent committing.", func() float64 { return b.Writer().CommitTime.Seconds() })
	all(counter, "zbus_storage_syncs_total", "Times the log was synced.", func() float64 { return float64(b.Writer().Syncs) })
	all(counter, "zbus_storage_sync_seconds_total", "Time spent syncing.", func() float64 { return b.Writer().SyncTime.Seconds() })
	all(counter, "zbus_scrub_read_bytes_total", "Bytes of messages read to find damage.", func() float64 { return float64(o.Scrub().Read) })
	all(gauge, "zbus_scrub_running", "1 while everything is read to find damage.", func() float64 { return truth(o.Scrub().Running) })
	all(gauge, "zbus_scrub_progress_ratio", "How much of this round, or of the last one, is read.", func() float64 { return o.Scrub().Progress })
	all(gauge, "zbus_scrub_damaged_messages", "Messages found damaged or missing in this round, or in the last one.", func() float64 { return float64(o.Scrub().Damaged) })
	all(gauge, "zbus_scrub_findings", "Other things found wrong in this round, or in the last one.", func() float64 { return float64(o.Scrub().Findings) })
	all(gauge, "zbus_scrub_finished_timestamp_seconds", "When the last round ended; 0 when there was none since the start.", func() float64 { return seconds(o.Scrub().Finished) })
	for _, f := range backupFigures() {
		all(f.kind, f.name, f.help, func() float64 { return f.read(o.Backups()) })
	}

	topic(counter, "zbus_topic_published_messages_total", "Messages published.", func(t *broker.Topic) float64 { return float64(t.Published()) })
	topic(gauge, "zbus_topic_messages", "Messages that are there.", func(t *broker.Topic) float64 { return float64(t.Next() - t.First()) })
	topic(gauge, "zbus_topic_size_bytes", "Size of these.", func(t *broker.Topic) float64 { return float64(t.Definition().Bytes) })
	topic(gauge, "zbus_topic_consumers", "Consumers over all groups.", func(t *broker.Topic) float64 { return float64(t.Subscriptions()) })

	group(counter, "zbus_group_delivered_messages_total", "Deliveries, repeated ones included.", func(g *groupFigures) float64 { return float64(g.Delivered) })
	group(counter, "zbus_group_redelivered_messages_total", "Deliveries that were repeated.", func(g *groupFigures) float64 { return float64(g.Redelivered) })
	group(counter, "zbus_group_dead_messages_total", "Dead letters stored, of messages that were delivered too often.", func(g *groupFigures) float64 { return float64(g.Dead) })
	group(counter, "zbus_group_damaged_messages_total", "Messages not delivered because they are damaged or missing.", func(g *groupFigures) float64 { return float64(g.Damaged) })
	group(counter, "zbus_group_ack_timeouts_total", "Deliveries that were not acked in time.", func(g *groupFigures) float64 { return float64(g.Timeouts) })
	group(gauge, "zbus_group_lag_messages", "Messages that pass the filter and have still to be settled; see zbus_group_lag_estimated.", func(g *groupFigures) float64 { return float64(g.lag.Messages) })
	group(gauge, "zbus_group_lag_estimated", "1 while zbus_group_lag_messages is scaled up from a part that was counted.", func(g *groupFigures) float64 { return truth(!g.lag.Exact) })
	group(gauge, "zbus_group_oldest_seconds", "Age of the next message to settle; 0 when there is none.", func(g *groupFigures) float64 { return g.lag.Seconds })
	group(gauge, "zbus_group_in_flight_messages", "Deliveries that wait for their ack.", func(g *groupFigures) float64 { return float64(g.InFlight) })
	group(gauge, "zbus_group_unburied_messages", "Messages that were delivered too often and whose dead letters are not stored yet.", func(g *groupFigures) float64 { return float64(g.DeadLetters.Waiting) })
	group(gauge, "zbus_group_consumers", "Consumers.", func(g *groupFigures) float64 { return float64(len(g.Consumers)) })
	return c
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.build.Desc()
	out <- c.holds
	out <- c.refusals
	for _, f := range c.all {
		out <- f.desc
	}
	for _, f := range c.topics {
		out <- f.desc
	}
	for _, f := range c.groups {
		out <- f.desc
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	out <- c.build
	for _, h := range c.board.List() {
		out <- prometheus.MustNewConstMetric(c.holds, prometheus.GaugeValue, 1, h.Kind, h.Subject, string(h.Severity))
	}
	for limit, n := range c.refused() {
		out <- prometheus.MustNewConstMetric(c.refusals, prometheus.CounterValue, float64(n), limit)
	}
	for _, f := range c.all {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read())
	}
	for _, t := range c.broker.Topics() {
		for _, f := range c.topics {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(t), t.Name())
		}
		for _, g := range t.Groups() {
			figures := &groupFigures{GroupInfo: g.Info(), GroupCounts: g.Counts(), lag: c.stats.Lag(g)}
			for _, f := range c.groups {
				out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.read(figures), t.Name(), g.Name())
			}
		}
	}
}
