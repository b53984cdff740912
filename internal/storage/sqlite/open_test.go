package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/migrations"
)

func TestSettingsTakeEffect(t *testing.T) {
	for _, d := range []Durability{Fsync, Relaxed} {
		s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: d})
		reader, err := s.readers.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.readers.put(reader)
		for _, c := range []struct {
			conn   *conn
			pragma string
			want   any
		}{
			{s.writer, "journal_mode", "wal"},
			{s.writer, "synchronous", int64(1)}, // Sync does the rest
			{s.writer, "wal_autocheckpoint", int64(0)},
			{s.writer, "busy_timeout", int64(5000)},
			{s.writer, "trusted_schema", int64(0)},
			{s.writer, "cell_size_check", int64(1)},
			{s.writer, "mmap_size", int64(0)},
			{s.writer, "page_size", int64(4096)},
			{s.writer, "application_id", int64(applicationID)},
			{s.copier.conn, "wal_autocheckpoint", int64(0)},
			{s.copier.conn, "synchronous", int64(1)},
			{reader, "query_only", int64(1)},
			{reader, "journal_mode", "wal"},
		} {
			if got, err := c.conn.value("PRAGMA " + c.pragma); err != nil || got != c.want {
				t.Errorf("%v: %s is %v, %v; want %v", d, c.pragma, got, err, c.want)
			}
		}
		if err := reader.run("DELETE FROM topics"); err == nil {
			t.Errorf("%v: a reader can write", d)
		}
	}
}

func TestSettingThatDoesNotTakeEffectIsRefused(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	setup := writerSetup(s.options)
	setup.settings = append(setup.settings, setting{"synchronous", "off", int64(2)})
	if c, err := open(setup); err == nil {
		_ = c.close()
		t.Fatal("opened with synchronous=off")
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	addTopic(t, s, "t")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.options.Path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", suffix, info, err)
		}
	}
}

func TestCloseLeavesTheDatabaseAndItsMark(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	addTopic(t, s, "t")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(s.options.Path + "*")
	if len(names) != 2 || names[1] != s.options.Path+markSuffix {
		t.Fatalf("left: %v", names)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
	if _, err := s.Load(context.Background()); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("load after close: %v", err)
	}
}

func TestUncleanFileIsCheckedAndComplete(t *testing.T) {
	path := uncleanCopy(t)
	var log bytes.Buffer
	s := mustOpen(t, Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "checking it") {
		t.Errorf("not checked; log: %s", &log)
	}
	if w, err := checkpoint(s.writer, checkpointPassive); err != nil || w.left() != 0 {
		t.Errorf("the log is not copied: %+v, %v", w, err)
	}
	rs, err := s.Read(context.Background(), 1, 0, storage.Page{Rows: 5000}, nil)
	if err != nil || len(rs) != 1000 {
		t.Fatalf("%d records, %v", len(rs), err)
	}
}

// uncleanCopy makes a database with 1,000 messages, of which the later half is
// in the log, as a killed process leaves it.
func uncleanCopy(t *testing.T) (path string) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(500, 300)})
	if _, err := checkpoint(s.writer, checkpointRestart); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(500, 300)})
	path = filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		copyFile(t, s.options.Path+suffix, path+suffix)
	}
	return path
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// cleanFile makes a closed database with 1,000 messages and two topics.
func cleanFile(t *testing.T) (path string) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	mustCommit(t, s, &storage.Append{Topic: addTopic(t, s, "t"), Records: messages(1000, 300)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s.options.Path
}

// edit runs SQL on a closed database and closes it properly.
func edit(t *testing.T, path string, sql ...string) {
	t.Helper()
	c, err := open(writerSetup(Options{Path: path}.withDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range sql {
		if err := c.run(sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedCreationIsStartedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	if err := os.WriteFile(path+".new", []byte("half a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	addTopic(t, mustOpen(t, Options{Path: path}), "t")
}

func TestViewsShowWhatCounts(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "orders")
	mustCommit(t, s,
		&storage.Append{Topic: topic, Records: []storage.Record{{Time: 1}, {Time: 1_700_000_000_123, Body: []byte("hello")}}},
		&storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: "billing"}},
		&storage.Trim{Topic: topic, First: 1},
		&storage.Audit{Entry: &storage.AuditEntry{Action: "topic.create"}},
	)
	reader, err := s.readers.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.readers.put(reader)
	for sql, want := range map[string]any{
		`SELECT topic || '/' || "offset" || ' ' || time || ' ' || body FROM message_view`: "orders/1 2023-11-14T22:13:20.123Z hello",
		"SELECT count(*) FROM message_view":                                               int64(1),
		"SELECT depth FROM topic_view":                                                    int64(1),
		"SELECT topic || '/' || name || ' lags by ' || lag FROM group_view":               "orders/billing lags by 1",
		"SELECT count(*) FROM cursor_journal_view":                                        int64(0),
		"SELECT action FROM audit_view":                                                   "topic.create",
	} {
		if got, err := reader.value(sql); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", sql, got, err, want)
		}
	}
}

// A database of the first schema is brought up to date, with what is in it.
func TestOlderSchemaIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO topics (name, mask, memory, creator, created, updated, first, dropped, next, total, last_time, max_age, max_count, max_bytes)
		VALUES ('orders', 0, 0, 'ann', 1, 2, 7, 0, 7, 0, 0, 0, 0, 0)`)
	if err != nil {
		t.Fatal(err)
	}
	var b block
	b.fill(rowsFrom(1, 7, messages(3, 20)))
	_, err = db.Exec("INSERT INTO blocks (key, n, time, total, meta, bodies) VALUES (?, ?, ?, ?, ?, ?)", b.key, b.n, b.time, b.total, b.meta, b.body)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	state, err := s.Load(context.Background())
	if err != nil || len(state.Topics) != 1 || state.Topics[0].Name != "orders" || state.Topics[0].Next != 10 || state.Topics[0].Paused {
		t.Fatalf("loaded %+v, %v", state.Topics, err)
	}
	if rs := readAll(t, s, 1); len(rs) != 3 || rs[0].Offset != 7 || rs[2].Damaged() {
		t.Errorf("%d messages: %+v", len(rs), rs)
	}
	checkCatalog(t, s)
}

// The log stays where its end can't be noted in the mark: the next start would miss it.
func TestCloseThatFailsLeavesTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	mustCommit(t, s, &storage.CreateTopic{Topic: &storage.Topic{Name: "t"}})
	if err := s.writer.run("ALTER TABLE identity RENAME TO hidden"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("closed without a fault")
	}
	if size(path+"-wal") == 0 {
		t.Error("the log is gone")
	}
}

// After an error nothing says that the database was ever synced, so the log stays, also
// where all of it is copied: without it the database is what it was at some earlier sync.
func TestFailedStoreLeavesALogThatIsCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path, PlainIO: plainIO()})
	mustCommit(t, s, &storage.CreateTopic{Topic: &storage.Topic{Name: "t"}})
	if w, err := checkpoint(s.writer, checkpointPassive); err != nil || w.left() != 0 {
		t.Fatalf("%+v, %v", w, err)
	}
	_ = s.fail(errors.New("sync failed"))
	_ = s.Close()
	if size(path+"-wal") == 0 {
		t.Error("the log is gone")
	}
}
