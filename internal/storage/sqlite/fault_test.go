package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestFlippedBitInABodyIsReportedAsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	topic := addTopic(t, s, "t")
	rs := messages(3, 0)
	for i := range rs {
		rs[i].Headers = `{"a":"b"}`
		rs[i].Body = fmt.Appendf(nil, "a body that is easy to find: %d", i)
	}
	mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, rs[1].Body)
	overwrite(t, path, int64(at), []byte{rs[1].Body[0] ^ 4})

	s = mustOpen(t, Options{Path: path})
	got, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 10}, nil)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for i, r := range got {
		if r.Damaged() != (i == 1) {
			t.Errorf("record %d: damaged is %v", i, r.Damaged())
		}
	}
	if r := got[1]; r.Body != nil || r.Headers != "" || r.CRC != 0 || r.Offset != 1 || r.ID != rs[1].ID {
		t.Errorf("damaged record %+v", r)
	}
	if got[2].Body == nil || !bytes.Equal(got[2].Body, rs[2].Body) {
		t.Errorf("record behind the damaged one: %+v", got[2])
	}
}

// A row that is in the way makes an insert fail that the catalog allowed.
func TestStatementFailureHitsOnlyItsOwnOp(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	good, bad := addTopic(t, s, "good"), addTopic(t, s, "bad")
	inTheWay := fmt.Sprintf("INSERT INTO blocks (key, n, time, total, meta, bodies) VALUES (%d, 1, 1, 1, x'', x'')", keyOf(bad, maxBlockRows))
	if err := s.writer.run(inTheWay); err != nil {
		t.Fatal(err)
	}
	purge := &storage.Purge{Limit: 1000}
	g := &storage.Group{Topic: good, Name: "g"}
	ops := []storage.Op{
		&storage.Append{Topic: good, Records: messages(100, 10)},
		&storage.Append{Topic: bad, Records: messages(maxBlockRows, 10)},
		&storage.Append{Topic: bad, Records: messages(100, 10)}, // a block of its own
		&storage.Append{Topic: 99},
		&storage.Atomic{Ops: []storage.Op{
			&storage.CreateTopic{Topic: &storage.Topic{Name: "new"}},
			&storage.Append{Topic: bad, Records: messages(100, 10)},
		}},
		&storage.CreateGroup{Group: g},
		&storage.Trim{Topic: good, First: 40},
		purge,
	}
	errs, err := s.Commit(ops)
	if err != nil {
		t.Fatal(err)
	}
	want := []error{nil, nil, storage.ErrDamaged, storage.ErrNotFound, storage.ErrDamaged, nil, nil, nil}
	for i := range errs {
		if !errors.Is(errs[i], want[i]) {
			t.Errorf("op %d: %v, want %v", i, errs[i], want[i])
		}
	}
	if purge.Deleted != 40 || g.ID == 0 {
		t.Errorf("purged %d, group %d", purge.Deleted, g.ID)
	}
	if err := s.writer.run(fmt.Sprintf("DELETE FROM blocks WHERE key = %d", keyOf(bad, maxBlockRows))); err != nil {
		t.Fatal(err)
	}
	checkCatalog(t, s)
	state, err := s.Load(context.Background())
	if err != nil || len(state.Topics) != 2 || state.Topics[0].Next != 100 || state.Topics[1].Next != maxBlockRows || len(state.Groups) != 1 {
		t.Fatalf("state %+v, %v", state, err)
	}
}

// checkCatalog compares what the writer believes with what is stored.
func checkCatalog(t *testing.T, s *Store) {
	t.Helper()
	stored, _, err := loadCatalog(s.writer)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*catalog{stored, s.catalog} {
		if len(p.Undo) != 0 {
			t.Errorf("%d changes can still be undone", len(p.Undo))
		}
	}
	if got, want := describe(s.catalog), describe(stored); got != want {
		t.Errorf("the catalog is\n%s\nbut stored is\n%s", got, want)
	}
	for id, p := range s.catalog.Topics {
		if got, err := s.recent.of(id); err != nil || got.first != p.First || got.next != p.Next || !slices.Equal(got.pieces, p.Pieces) {
			t.Errorf("readers see %v of topic %d, %v; it is %v", got, id, err, p.Marks)
		}
	}
	if n := len(s.recent.topics); n != len(s.catalog.Topics) {
		t.Errorf("readers see %d topics instead of %d", n, len(s.catalog.Topics))
	}
	checkContents(t, s)
}

// checkContents makes sure that each row of "contents" belongs to one block.
func checkContents(t *testing.T, s *Store) {
	t.Helper()
	for what, query := range map[string]string{
		"contents without a block": "SELECT count(*) FROM contents WHERE id NOT IN (SELECT contents FROM blocks WHERE contents IS NOT NULL)",
		"blocks without contents":  "SELECT count(*) FROM blocks WHERE contents IS NOT NULL AND contents NOT IN (SELECT id FROM contents)",
		"blocks sharing contents":  "SELECT count(contents) - count(DISTINCT contents) FROM blocks",
		"blocks with two contents": "SELECT count(*) FROM blocks WHERE contents IS NOT NULL AND length(meta) + length(bodies) > 0",
	} {
		if n := count(t, s, query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

func describe(p *catalog) string {
	var lines []string
	for name, t := range p.Names {
		m := t.Marks
		m.Pieces, m.Fresh = nil, 0
		lines = append(lines, fmt.Sprintf("topic %d %s %+v %d groups %v", t.ID, name, m, len(t.Groups), p.Topics[t.ID] == t))
		for _, q := range t.Pieces {
			if q.End() > t.First { // the others go when the topic is merged, or with the next start
				lines = append(lines, fmt.Sprintf("piece of %d: %d+%d in row %d at %d", t.ID, q.First, q.N, q.Row.seq, q.At))
			}
		}
	}
	for id, g := range p.Groups {
		lines = append(lines, fmt.Sprintf("group %d %s of %d at %d %v", id, g.Name, g.Topic.ID, g.Epoch, g.Topic.Groups[g.Name] == g))
	}
	for _, r := range p.fresh.rows {
		lines = append(lines, fmt.Sprintf("row %d of fresh: %d bytes for %v", r.seq, r.bytes(), r.topics))
	}
	for at, hi := range p.Dropped {
		lines = append(lines, fmt.Sprintf("dropped %+v-%d", at, hi))
	}
	slices.Sort(lines)
	return fmt.Sprint(lines, len(p.Topics), p.Last, p.fresh.bytes)
}

func TestFullDatabaseGoesOnWhenThereIsSpace(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	if err := s.writer.run("PRAGMA max_page_count = 300"); err != nil {
		t.Fatal(err)
	}
	stored := fillUp(t, s, topic)
	if err := s.writer.run("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	goesOn(t, s, topic, stored)
}

func TestFullDiskGoesOnWhenThereIsSpace(t *testing.T) {
	dir := smallDisk(t, "12m")
	s := mustOpen(t, Options{Path: filepath.Join(dir, "zbus.db")})
	topic := addTopic(t, s, "t")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 7<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stored := fillUp(t, s, topic)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	goesOn(t, s, topic, stored)
}

// fillUp appends until there is no space, and some more, and returns how many
// messages were stored.
func fillUp(t *testing.T, s *Store, topic storage.TopicID) (stored int64) {
	t.Helper()
	for refused := 0; refused < 5; {
		errs, err := s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(10, 3000)}})
		switch {
		case errors.Is(errors.Join(append(errs, err)...), storage.ErrFull):
			refused++
		case err != nil || errs[0] != nil:
			t.Fatalf("after %d messages: %v, %v", stored, errs, err)
		default:
			stored += 10
		}
		if err := s.Maintain(); err != nil {
			t.Fatalf("maintain: %v", err)
		}
	}
	checkCatalog(t, s)
	return stored
}

// resumes waits until messages are taken again, as the broker does: it calls Maintain.
func resumes(t *testing.T, s *Store) {
	t.Helper()
	for began := time.Now(); s.Space().Stopped; {
		mustMaintain(t, s)
		if time.Since(began) > 5*time.Second {
			t.Fatalf("messages are refused after 5 s: %+v", s.Space())
		}
	}
}

// goesOn checks that exactly the given number of messages is there and that
// more can be stored, also after closing and opening.
func goesOn(t *testing.T, s *Store, topic storage.TopicID, stored int64) {
	t.Helper()
	for range 2 {
		resumes(t, s)
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(3, 3000)})
		stored += 3
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
		rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil || int64(len(rs)) != stored || rs[stored-1].Offset != stored-1 {
			t.Fatalf("%d records, want %d; %v", len(rs), stored, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, s.options)
	}
}

// A write error that is not "disk full": nobody knows what is stored.
func TestWriteErrorStopsTheStore(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	limitFileSize(t, 1<<20)
	stored := 0
	var err error
	for err == nil {
		if _, err = s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(10, 3000)}}); err == nil {
			stored += 10
		}
	}
	if !errors.Is(err, storage.ErrUnavailable) || stored == 0 {
		t.Fatalf("after %d messages: %v", stored, err)
	}
	if _, err := s.Commit([]storage.Op{&storage.Purge{Limit: 1}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("commit after it: %v", err)
	}
	if err := s.Maintain(); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("maintain after it: %v", err)
	}
	before := hash(t, s.options.Path) + hash(t, s.options.Path+"-wal")
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if hash(t, s.options.Path)+hash(t, s.options.Path+"-wal") != before {
		t.Error("closing wrote to the disk that failed")
	}
	s = mustOpen(t, s.options)
	rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
	if err != nil || len(rs) != stored {
		t.Fatalf("%d records, want %d; %v", len(rs), stored, err)
	}
}

func TestCancelledReadLeavesTheReaderUsable(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 * maxReaders {
		if _, err := s.Read(ctx, topic, 0, storage.Page{Rows: 1}, nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if _, err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Where no more readers can be opened, reads wait for those that are.
func TestReadsWaitWhenNoReaderCanBeOpened(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	s.readers.setup.path = filepath.Join(t.TempDir(), "nowhere.db")
	first, err := s.readers.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Read(ctx, topic, 0, storage.Page{Rows: 1}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the only reader is taken: %v", err)
	}
	s.readers.put(first)
	if _, err := s.Read(t.Context(), topic, 0, storage.Page{Rows: 1}, nil); err != nil {
		t.Error(err)
	}
}
