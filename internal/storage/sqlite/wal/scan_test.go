package wal_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"
)

const page = 4096

// logOfSix is the log of a database, and its index, of six transactions of one frame or more:
// the files as they are while SQLite has them open.
func logOfSix(t *testing.T) (log, index string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		"CREATE TABLE t (a)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)",
		"INSERT INTO t VALUES (zeroblob(20000))", "INSERT INTO t VALUES (3)", "DELETE FROM t WHERE a = 1",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".copy"+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path + ".copy-wal", path + ".copy-shm"
}

func scan(t *testing.T, path string) *wal.Scanned {
	t.Helper()
	s, err := wal.Scan(path, page)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogIsReadAsSQLiteWroteIt(t *testing.T) {
	log, index := logOfSix(t)
	s := scan(t, log)
	if s.Head != wal.GoodHead || s.Valid < 10 || s.Valid != s.Whole || len(s.Rest) != 0 || s.Size != wal.Head+s.Valid*(wal.FrameHead+page) {
		t.Fatalf("scan: %+v", s)
	}
	if r, err := wal.ReadRound(log); err != nil || r != s.Round {
		t.Errorf("round %+v, %v; scanned %+v", r, err, s.Round)
	}
	if i, ok := wal.ReadIndex(index, s.Round); !ok || i.Frames != s.Valid || i.Attempted != 0 {
		t.Errorf("index %+v, %t; want %d frames", i, ok, s.Valid)
	}
	if i, ok := wal.ReadIndex(index, wal.Round{Salt1: s.Round.Salt1 + 1, Salt2: s.Round.Salt2}); ok {
		t.Errorf("the index is taken for that of another round: %+v", i)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head, body := make([]byte, wal.Head), make([]byte, page)
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(body, wal.Head+(s.Valid-1)*(wal.FrameHead+page)+wal.FrameHead); err != nil {
		t.Fatal(err)
	}
	last, err := wal.FrameAt(f, head, s.Valid, page)
	if err != nil || last.Size == 0 || !last.Matches(body) {
		t.Errorf("last frame %+v, %v", last, err)
	}
	if body[100]++; last.Matches(body) {
		t.Error("the last frame matches a page that it does not hold")
	}
}

// Wherever a bit is wrong, the scan ends before it, and tells of what is behind.
func TestFlippedBitEndsWhatIsValid(t *testing.T) {
	log, _ := logOfSix(t)
	good := scan(t, log)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for frame := range good.Valid {
		// Salts, checksum, page: the first two words of the head are covered, too.
		for _, at := range []int64{3, 7, 9, 17, wal.FrameHead + 1000} {
			bad := append([]byte(nil), data...)
			bad[wal.Head+frame*(wal.FrameHead+page)+at] ^= 0x10
			if err := os.WriteFile(log, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s := scan(t, log)
			if s.Whole != frame || s.Valid > frame || int64(len(s.Rest)) != good.Valid-frame {
				t.Errorf("frame %d, byte %d: %d whole, %d valid, %d left", frame+1, at, s.Whole, s.Valid, len(s.Rest))
			}
			// The frames behind the damaged one are of the same round: that is how it is told
			// from the end of the log.
			if behind, _ := s.Beyond(good.Round, frame+1, false); behind != good.Valid-frame-1 {
				t.Errorf("frame %d, byte %d: %d behind it, want %d", frame+1, at, behind, good.Valid-frame-1)
			}
		}
	}
}

func TestLogsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	log, _ := logOfSix(t)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), data...)
	other[20]++
	for _, c := range []struct {
		path string
		want wal.HeadState
	}{
		{filepath.Join(dir, "none"), wal.NoHead},
		{write("empty", nil), wal.NoHead},
		{write("short", data[:20]), wal.BadHead},
		{write("text", []byte("this is a text of more than thirty-two bytes")), wal.BadHead},
		{write("head", other), wal.BadHead},
		{write("good", data), wal.GoodHead},
	} {
		s := scan(t, c.path)
		if s.Head != c.want || c.want != wal.GoodHead && s.Valid != 0 {
			t.Errorf("%s: head %d, %d valid; want head %d", filepath.Base(c.path), s.Head, s.Valid, c.want)
		}
		if r, err := wal.ReadRound(c.path); err != nil || (r != wal.Round{}) != (c.want == wal.GoodHead) {
			t.Errorf("%s: round %+v, %v", filepath.Base(c.path), r, err)
		}
	}
}

func TestLaterRounds(t *testing.T) {
	first := wal.Round{Salt1: 7, Salt2: 1, Seq: 3}
	for _, c := range []struct {
		of   wal.Round
		want bool
	}{
		{wal.Round{Salt1: 8, Salt2: 99, Seq: 4}, true},
		{wal.Round{Salt1: 10, Salt2: 99, Seq: 6}, true},
		{first, false},
		{wal.Round{Salt1: 6, Salt2: 1, Seq: 2}, false},
		{wal.Round{Salt1: 9, Salt2: 1, Seq: 4}, false}, // of another file
	} {
		if got := c.of.After(first); got != c.want {
			t.Errorf("%+v after %+v: %t", c.of, first, got)
		}
	}
}
