package contract

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// fetchBackup takes a backup into a file.
func fetchBackup(t testing.TB, c *client) (path string) {
	t.Helper()
	r := c.get("/backup")
	if kind := r.header.Get("Content-Type"); kind != "application/vnd.sqlite3" || r.header.Get("Content-Length") != strconv.Itoa(len(r.raw)) {
		t.Errorf("type %q, length %s, %d bytes", kind, r.header.Get("Content-Length"), len(r.raw))
	}
	path = filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(path, r.raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBackupBecomesABrokerAgain(t *testing.T) {
	c := startClient(t)
	explicitGroup(c, 5)
	c.post("/topics/T/groups/g:pull", object{"max": 1, "timeout": 5000}).want(200)
	path := fetchBackup(t, c)
	c.get("/server").is("backup.taken", 1, "backup.missed", 0, "backup.running", false, "backup.last.bytes", size(t, path), "backup.last.findings", 0, "backup.failure", nil, "backup.schedule", nil)
	c.get("/audit"+query("action", "backup")).is("entries.0.action", "backup", "entries.0.detail", fmt.Sprint(size(t, path), " bytes"))
	c.post("/topics/T/messages", object{"body": "later"}).want(201)

	restored := config.Default()
	restored.Listen, restored.Data = []string{"127.0.0.1:0"}, filepath.Join(t.TempDir(), "restored")
	if _, err := backup.Restore(t.Context(), path, restored.Data); err != nil {
		t.Fatal(err)
	}
	again := run(t, restored).client(t)
	again.get("/topics/T").is("depth", 5)
	again.get("/topics/T/groups/g").is("cursor", 0, "settle", "explicit")
	again.post("/topics/T/messages", object{"body": "new"}).want(201).is("offset", 5)
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// stalledBackup begins a backup and reads nothing of it.
func stalledBackup(t *testing.T, b *instance) *http.Response {
	t.Helper()
	c := b.client(t)
	c.post("/topics", object{"name": "large"}).want(201)
	for range 8 { // more than what sockets hold
		c.post("/topics/large/messages", object{"body": strings.Repeat("x", 4<<20)}).want(201)
	}
	wire := &http.Transport{}
	t.Cleanup(wire.CloseIdleConnections)
	resp, err := (&http.Client{Transport: wire}).Get("http://" + b.addr + base + "/backup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestOneBackupIsTakenAtATimeAndOneThatIsCutShortIsToldOf(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.client(t)
	stalled := stalledBackup(t, b)
	c.do("GET", "/backup").refused(409, "conflict", "another backup")
	c.get("/server").is("backup.running", true, "backup.taken", 0)
	_ = stalled.Body.Close()
	eventually(t, "the backup ends with its client", func() bool { return c.get("/server").at("backup.running") == false })
	c.get("/server").is("backup.missed", 1, "backup.taken", 0, "backup.last", nil)
	if text := c.get("/server").str("backup.failure.text"); text == "" {
		t.Error("nothing says why")
	}
	fetchBackup(t, c)
	c.get("/server").is("backup.taken", 1, "backup.failure", nil)
}

func TestBrokerStopsUnderABackupThatNobodyReads(t *testing.T) {
	t.Parallel()
	b := start(t)
	stalledBackup(t, b)
	b.stop(t) // within its time
}

// loadTopics are published to while backups are taken.
const loadTopics = 4

// load publishes to a topic until it is told to stop: message i has the body i. It counts
// what it has sent and what was answered.
type load struct{ sent, answered atomic.Int64 }

func (l *load) run(c *client, topic string, stop <-chan struct{}) error {
	for i := int64(0); ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		l.sent.Store(i + 1)
		r, err := c.try("POST", "/topics/"+topic+"/messages", object{"body": strconv.FormatInt(i, 10)})
		if err != nil || r.status != 201 {
			return fmt.Errorf("message %d: %v %w", i, r, err)
		}
		l.answered.Store(i + 1)
	}
}

// All that was answered before a backup began is in it, nothing that was sent after it
// ended, and no message is torn or missing.
func TestBackupUnderLoadIsOneMoment(t *testing.T) {
	rounds := faultreport.ScaleAlways(t, 4, 50)
	b := start(t)
	c := b.client(t)
	var loads [loadTopics]load
	stop, failed := make(chan struct{}), make(chan error, loadTopics)
	var all sync.WaitGroup
	for i := range loads {
		topic := fmt.Sprint("t", i)
		c.post("/topics", object{"name": topic}).want(201)
		mine := b.client(t)
		all.Go(func() { failed <- loads[i].run(mine, topic, stop) })
	}
	for range rounds {
		var before, after [loadTopics]int64
		eventually(t, "more is published", func() bool { return loads[0].answered.Load() > before[0]+20 })
		for i := range loads {
			before[i] = loads[i].answered.Load()
		}
		path := fetchBackup(t, c)
		for i := range loads {
			after[i] = loads[i].sent.Load()
		}
		checkMoment(t, path, before, after)
	}
	close(stop)
	all.Wait()
	record := faultreport.Record{
		Test: "backup-under-load", Fault: "backups while messages are published, each restored and read",
		Promise: "a backup is one moment between its start and its end", Runs: rounds,
	}
	if t.Failed() {
		record.Broken = 1
	}
	record.Save(t)
	for range loads {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func checkMoment(t *testing.T, path string, before, after [loadTopics]int64) {
	t.Helper()
	report, err := sqlite.Verify(t.Context(), path, sqlite.VerifyOptions{})
	if err != nil || !report.Sound() || len(report.Topics) != loadTopics {
		t.Fatalf("%+v %v", report, err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := backup.Restore(t.Context(), path, dir); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Listen, cfg.Data = []string{"127.0.0.1:0"}, dir
	b := run(t, cfg)
	defer b.stop(t)
	c := b.client(t)
	for i := range before {
		topic := fmt.Sprint("/topics/t", i)
		next := c.get(topic).num("depth")
		if next < before[i] || next > after[i] {
			t.Errorf("%s has %d messages; %d were answered before the backup, %d were sent by its end", topic, next, before[i], after[i])
		}
		for from := int64(0); from < next; {
			r := c.get(topic + "/messages" + query("limit", "500", "from", strconv.FormatInt(from, 10)))
			for k := range r.list("messages") {
				at := "messages." + strconv.Itoa(k) + "."
				r.is(at+"offset", from, at+"body", strconv.FormatInt(from, 10))
				from++
			}
		}
	}
}
