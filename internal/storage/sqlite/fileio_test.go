package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// SQLite does not look at the answer to "that was the last page" and has everybody
// read what it takes to be in the database. Nobody may get to see that.
func TestCheckpointThatIsNotWrittenToItsEndStopsTheStore(t *testing.T) {
	needsOwnIO(t)
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	const n = 60
	for range n {
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1, 3000)})
	}
	pages, err := s.writer.value("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	end := pages.(int64) * pageBytes
	failed := false
	s.copier.files.OnWrite(func(offset, n int64) int32 {
		if offset+n != end {
			return lib.SQLITE_OK
		}
		failed = true
		// Behind a commit made in between, the checkpoint is not the whole log, and
		// SQLite neither cuts the database nor syncs it.
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1, 3000)})
		return lib.SQLITE_IOERR_WRITE
	})
	if _, err := s.copier.copy(); !errors.Is(err, storage.ErrUnavailable) || !failed {
		t.Fatalf("the checkpoint: %v (a write failed: %v)", err, failed)
	}
	if rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("read after it: %d records, %v", len(rs), err)
	}
	if _, err := s.Commit([]storage.Op{&storage.Append{Topic: topic, Records: messages(1, 3000)}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("commit after it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s = mustOpen(t, s.options)
	rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
	if err != nil || len(rs) != n+1 {
		t.Fatalf("%d records, want %d; %v", len(rs), n+1, err)
	}
	for i, r := range rs {
		if r.Offset != int64(i) || len(r.Body) != 3000 {
			t.Errorf("record %d: offset %d, %d bytes", i, r.Offset, len(r.Body))
		}
	}
}

// What was read ahead is old when the next read begins: checkpoints write to the
// database between them.
func TestNothingIsReadAheadForTheNextTransaction(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	keeper := addTopic(t, s, "keeper") // has pages behind those that are freed
	for round := range 5 {
		topic := addTopic(t, s, "t")
		for i := range 20 {
			rs := messages(1, 30_000)
			for j := range rs[0].Body {
				rs[0].Body[j] = byte(round*20 + i)
			}
			mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
		}
		mustCommit(t, s, &storage.Append{Topic: keeper, Records: messages(1, 100)})
		if err := s.checkpointHere(checkpointRestart, time.Now()); err != nil {
			t.Fatal(err)
		}
		rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil || len(rs) != 20 {
			t.Fatalf("round %d: %d records, %v", round, len(rs), err)
		}
		for i, r := range rs {
			if len(r.Body) != 30_000 || r.Body[0] != byte(round*20+i) || r.Body[29_999] != r.Body[0] {
				t.Errorf("round %d: record %d is another one", round, i)
			}
		}
		mustCommit(t, s, &storage.RemoveTopic{Topic: topic})
		mustCommit(t, s, &storage.Purge{Limit: 1 << 20})
	}
}
