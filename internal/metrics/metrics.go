// Package metrics shows the broker's counters to Prometheus. They are read when
// somebody asks, so they cost nothing otherwise; labels are the names of topics and
// groups, and a topic or group that is removed takes its series along.
package metrics

import (
	"bufio"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
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
	Durability  func() string // in the words of the API
	Conditions  *condition.Board
	Connections func() int64
	Database    func() int64 // bytes of the database's files
	Backups     func() Backups
	Space       func() storage.Space
	Scrub       func() storage.Scrub
	Refused     func() map[string]int64 // what limits have refused
	Accounts    func(most int) []access.Usage
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

// New creates the handler of /metrics.
func New(opts Options) http.Handler {
	return &handler{Options: opts, broker: opts.Broker, calls: opts.Calls, all: figures(opts), lists: newLists(opts)}
}

// handler writes all series, first those of the broker as a whole.
type handler struct {
	Options
	broker *broker.Broker
	calls  *rpc.Table
	all    []figure
	lists  *lists
}

func (h *handler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	rw.Header().Set("Content-Type", contentType)
	topics := h.broker.System().Topics()
	if a, ok := rw.(interface{ Hold(n int64) bool }); ok && !a.Hold(h.lists.held(topics)) {
		http.Error(rw, "answers that clients are slow to read fill the memory: try again later", http.StatusServiceUnavailable)
		return
	}
	if req.Method == http.MethodHead {
		return
	}
	w := text{bufio.NewWriterSize(rw, 32<<10)}
	h.writeBroker(w)
	h.writeAccounts(w)
	h.writeCalls(w)
	writeGo(w)
	writeProcess(w)
	h.lists.write(w, topics)
	_ = w.Flush() // an error is that the client is gone
}

// writeBroker writes the series of the broker as a whole.
func (h *handler) writeBroker(w text) {
	w.head("zbus_build_info", gauge, "The version that runs; always 1.")
	w.value("zbus_build_info", labels("version", h.Version), 1)
	w.head("zbus_durability_info", gauge, "What a message that is stored now survives; always 1.")
	w.value("zbus_durability_info", labels("durability", h.Durability()), 1)
	if all := h.Conditions.List(); len(all) > 0 {
		w.head("zbus_condition", gauge, "What is wrong right now; always 1.")
		for _, c := range all {
			w.value("zbus_condition", labels("kind", c.Kind, "severity", string(c.Severity), "subject", c.Subject), 1)
		}
	}
	if all := h.Refused(); len(all) > 0 {
		w.head("zbus_refused_total", counter, "Connections, streams and requests refused by a limit.")
		for _, limit := range slices.Sorted(maps.Keys(all)) {
			w.value("zbus_refused_total", labels("limit", limit), float64(all[limit]))
		}
	}
	for _, f := range h.all {
		w.single(f.name, f.kind, f.help, f.read())
	}
	backups := h.Backups()
	for _, f := range backupFigures() {
		w.single(f.name, f.kind, f.help, f.read(backups))
	}
}

// figure is one series of the broker as a whole.
type figure struct {
	kind       kind
	name, help string
	read       func() float64
}

func figures(o Options) []figure {
	b := o.Broker
	room := func(read func(storage.Space) int64) func() float64 {
		return func() float64 {
			s := o.Space()
			if s == (storage.Space{}) { // the database is not on a disk of this machine
				return math.NaN()
			}
			return float64(read(s))
		}
	}
	return []figure{
		{gauge, "zbus_connections", "Open connections.", func() float64 { return float64(o.Connections()) }},
		{gauge, "zbus_database_size_bytes", "Size of the database's files.", func() float64 { return float64(o.Database()) }},
		{gauge, "zbus_disk_free_bytes", "Bytes free on the disk of the database.", room(func(s storage.Space) int64 { return s.Free })},
		{gauge, "zbus_database_unused_bytes", "Bytes of the database's file that removed messages have left.", room(func(s storage.Space) int64 { return s.Unused })},
		{gauge, "zbus_disk_room_bytes", "Bytes that messages can take: free on the disk, or unused in the database.", room(func(s storage.Space) int64 { return s.Room })},
		{gauge, "zbus_disk_floor_bytes", "Publishing is stopped while there is less room.", room(func(s storage.Space) int64 { return s.Floor })},
		{gauge, "zbus_disk_reserve_bytes", "Bytes held for a full disk; 0 while they are given up.", room(func(s storage.Space) int64 { return s.Reserve })},
		{gauge, "zbus_publishing_stopped", "1 while messages are refused because the disk is almost full.", func() float64 { return truth(o.Space().Stopped) }},
		{gauge, "zbus_storage_backlog_bytes", "Bytes that wait to be stored.", func() float64 { return float64(b.Backlog()) }},
		{gauge, "zbus_page_bytes", "Bytes read for groups that lag behind and not yet delivered.", func() float64 { return float64(b.Pages()) }},
		{gauge, "zbus_outbound_bytes", "Bytes delivered and not yet written to sockets.", func() float64 { return float64(b.Outbound()) }},
		{gauge, "zbus_clock_offset_seconds", "How far the clock was set forward since the data directory began.", func() float64 { return float64(b.Clock().Offset) / 1000 }},
		{gauge, "zbus_memory_topics_bytes", "Bytes that memory topics hold.", func() float64 { return float64(b.InMemory()) }},
		{counter, "zbus_storage_commits_total", "Transactions committed.", func() float64 { return float64(b.Writer().Commits) }},
		{counter, "zbus_storage_commit_seconds_total", "Time spent committing.", func() float64 { return b.Writer().CommitTime.Seconds() }},
		{counter, "zbus_storage_syncs_total", "Times the log was synced.", func() float64 { return float64(b.Writer().Syncs) }},
		{counter, "zbus_storage_sync_seconds_total", "Time spent syncing.", func() float64 { return b.Writer().SyncTime.Seconds() }},
		{counter, "zbus_storage_gathers_total", "Times a commit waited for those who had just been answered.", func() float64 { return float64(b.Writer().Gathers) }},
		{counter, "zbus_storage_gather_seconds_total", "Time spent waiting for them.", func() float64 { return b.Writer().GatherTime.Seconds() }},
		{counter, "zbus_scrub_read_bytes_total", "Bytes of messages read to find damage.", func() float64 { return float64(o.Scrub().Read) }},
		{gauge, "zbus_scrub_running", "1 while everything is read to find damage.", func() float64 { return truth(o.Scrub().Running) }},
		{gauge, "zbus_scrub_progress_ratio", "How much of this round, or of the last one, is read.", func() float64 { return o.Scrub().Progress }},
		{gauge, "zbus_scrub_damaged_messages", "Messages found damaged or missing in this round, or in the last one.", func() float64 { return float64(o.Scrub().Damaged) }},
		{gauge, "zbus_scrub_findings", "Other things found wrong in this round, or in the last one.", func() float64 { return float64(o.Scrub().Findings) }},
		{gauge, "zbus_scrub_finished_timestamp_seconds", "When the last round ended; 0 when there was none since the start.", func() float64 { return seconds(o.Scrub().Finished) }},
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
