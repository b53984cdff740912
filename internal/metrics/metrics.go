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
	"github.com/prometheus/common/expfmt"

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
	return &handler{all: r, lists: newLists(opts), log: opts.Log}, nil
}

// handler writes all series, first those of the broker as a whole.
type handler struct {
	all   *prometheus.Registry
	lists *lists
	log   *slog.Logger
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	families, err := h.all.Gather()
	if err != nil {
		h.log.Error("figures not gathered", "err", err)
		http.Error(w, "figures not gathered: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	topics := h.lists.broker.Topics()
	if a, ok := w.(interface{ Hold(n int64) bool }); ok && !a.Hold(h.lists.held(topics)) {
		http.Error(w, "answers that clients are slow to read fill the memory: try again later", http.StatusServiceUnavailable)
		return
	}
	if req.Method == http.MethodHead {
		return
	}
	for _, f := range families {
		if _, err = expfmt.MetricFamilyToText(w, f); err != nil {
			return // the client is gone
		}
	}
	_ = h.lists.write(w, topics) // the same
}

// figure is one series of the broker as a whole.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

// collector reads the broker when it is asked to.
type collector struct {
	board    *condition.Board
	holds    *prometheus.Desc // a series for each condition
	refusals *prometheus.Desc // a series for each limit
	refused  func() map[string]int64
	build    prometheus.Metric
	all      []figure
}

func newCollector(o Options) *collector {
	b := o.Broker
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	info := prometheus.NewDesc("zbus_build_info", "The version that runs; always 1.", []string{"version"}, nil)
	holds := prometheus.NewDesc("zbus_condition", "What is wrong right now; always 1.", []string{"kind", "subject", "severity"}, nil)
	refusals := prometheus.NewDesc("zbus_refused_total", "Connections, streams and requests refused by a limit.", []string{"limit"}, nil)
	c := &collector{refusals: refusals, refused: o.Refused, board: o.Conditions, holds: holds, build: prometheus.MustNewConstMetric(info, gauge, 1, o.Version)}
	all := func(kind prometheus.ValueType, name, help string, read func() float64) {
		c.all = append(c.all, figure{prometheus.NewDesc(name, help, nil, nil), kind, read})
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
}
