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

// manyTopics opens a store with topics 1 to n.
func manyTopics(t testing.TB, n int, limits freshLimits) *Store {
	t.Helper()
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db"), fresh: limits})
	for i := range n {
		addTopic(t, s, fmt.Sprint("t", i+1))
	}
	return s
}

// spread appends n messages of some bytes to each of the topics from lo to hi, in one
// commit.
func spread(lo, hi storage.TopicID, n, size int) []storage.Op {
	var ops []storage.Op
	for id := lo; id <= hi; id++ {
		ops = append(ops, &storage.Append{Topic: id, Records: messages(n, size)})
	}
	return ops
}

func mustMaintain(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Maintain(); err != nil {
		t.Fatal(err)
	}
}

// count is the result of a query that counts.
func count(t *testing.T, s *Store, query string) int64 {
	t.Helper()
	n, err := s.writer.value(query)
	if err != nil {
		t.Fatal(err)
	}
	return integer(n)
}

func readAll(t testing.TB, s *Store, topic storage.TopicID) []storage.Record {
	t.Helper()
	rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestCommitForManyTopicsIsOneRowUntilItIsMerged(t *testing.T) {
	s := manyTopics(t, 100, limitsOfFresh["fresh forever"])
	for range 7 {
		mustCommit(t, s, spread(1, 100, 1, 256)...)
		mustMaintain(t, s)
	}
	if fresh, blocks := count(t, s, "SELECT count(*) FROM fresh"), count(t, s, "SELECT count(*) FROM blocks"); fresh != 7 || blocks != 0 {
		t.Errorf("%d rows are fresh and there are %d blocks, want 7 and 0", fresh, blocks)
	}
	s.options.fresh = freshLimits{step: 1 << 30}
	mustMaintain(t, s)
	if fresh, blocks := count(t, s, "SELECT count(*) FROM fresh"), count(t, s, "SELECT count(*) FROM blocks"); fresh != 0 || blocks != 100 {
		t.Errorf("merged: %d rows are fresh and there are %d blocks, want 0 and 100", fresh, blocks)
	}
	for id := range storage.TopicID(100) {
		if rs := readAll(t, s, id+1); len(rs) != 7 || rs[6].Damaged() {
			t.Fatalf("topic %d has %d messages", id+1, len(rs))
		}
	}
	checkCatalog(t, s)
}

func TestCommitForOneTopicIsABlock(t *testing.T) {
	s := manyTopics(t, 2, defaultFresh())
	mustCommit(t, s, spread(1, 1, 3, 100)...)
	mustCommit(t, s, spread(1, 2, 10, 1000)...) // of one topic more than a piece has
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 0 {
		t.Errorf("%d rows are fresh", n)
	}
	mustCommit(t, s, spread(1, 2, 1, 100)...)
	mustCommit(t, s, spread(1, 1, 1, 100)...) // follows a piece, so it is one
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 2 {
		t.Errorf("%d rows are fresh, want 2", n)
	}
	checkCatalog(t, s)
}

// Should merging not get on, commits do it: what is in memory stays within bounds.
func TestFreshMessagesAreBounded(t *testing.T) {
	const most = 100 << 10
	s := manyTopics(t, 200, freshLimits{bytes: 1 << 30, most: most, age: time.Hour})
	for range 50 {
		mustCommit(t, s, spread(1, 200, 1, 256)...)
		mustMaintain(t, s)
		if n := s.catalog.fresh.bytes; n > most+200*500 {
			t.Fatalf("%d bytes are fresh", n)
		}
	}
	for id := range storage.TopicID(200) {
		if n := len(readAll(t, s, id+1)); n != 50 {
			t.Fatalf("topic %d has %d messages, want 50", id+1, n)
		}
	}
	checkCatalog(t, s)
}

func TestDamageOfAFreshMessageStaysItsOwn(t *testing.T) {
	s := manyTopics(t, 3, limitsOfFresh["fresh forever"])
	ops := spread(1, 3, 3, 0)
	body := []byte("a body that is easy to find")
	ops[1].(*storage.Append).Records[1].Body = body
	mustCommit(t, s, ops...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, s.options.Path, int64(bytes.Index(data, body)), []byte{body[0] ^ 4})
	s = mustOpen(t, s.options)
	for _, merged := range []bool{false, true} {
		for id := range storage.TopicID(3) {
			for i, r := range readAll(t, s, id+1) {
				if r.Damaged() != (id == 1 && i == 1) || r.Offset != int64(i) {
					t.Errorf("merged: %v, topic %d, message %d: damaged is %v", merged, id+1, i, r.Damaged())
				}
			}
		}
		s.options.fresh = freshLimits{step: 1 << 30}
		mustMaintain(t, s)
	}
}

// Where messages are can't be guessed: a row that does not say so is refused, and
// with it the file.
func TestFreshRowThatDoesNotFitIsRefused(t *testing.T) {
	for name, damage := range map[string]string{
		"not JSONB":      "UPDATE fresh SET pieces = x'ff00' WHERE seq = 2",
		"cut short":      "UPDATE fresh SET pieces = substr(pieces, 1, length(pieces) - 3) WHERE seq = 2",
		"bodies missing": "UPDATE fresh SET bodies = x'' WHERE seq = 2",
	} {
		t.Run(name, func(t *testing.T) {
			s := manyTopics(t, 3, limitsOfFresh["fresh forever"])
			mustCommit(t, s, spread(1, 3, 2, 100)...)
			mustCommit(t, s, spread(1, 3, 2, 100)...)
			if err := s.writer.run(damage); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(context.Background(), s.options); !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

func TestFreshRowThatIsLostIsReadAsDamage(t *testing.T) {
	for name, c := range map[string]struct {
		damage string
		gap    storage.Range
	}{
		"the row":               {"DELETE FROM fresh WHERE seq = 1", storage.Range{Lo: 0, Hi: 2}},
		"a row in the middle":   {"DELETE FROM fresh WHERE seq = 2", storage.Range{Lo: 2, Hi: 4}},
		"another first message": {"UPDATE fresh SET pieces = jsonb_set(pieces, '$[0][1]', 9) WHERE seq = 3", storage.Range{Lo: 4, Hi: 9}},
	} {
		s := manyTopics(t, 3, limitsOfFresh["fresh forever"])
		for range 3 {
			mustCommit(t, s, spread(1, 3, 2, 100)...)
		}
		if err := errors.Join(s.writer.run(c.damage), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, s.options)
		at, gap := int64(0), storage.Range{}
		for _, r := range readAll(t, s, 1) {
			if r.Missing > 0 {
				gap = storage.Range{Lo: r.Offset, Hi: r.End()}
			}
			if r.Offset != at {
				t.Errorf("%s: offset %d instead of %d", name, r.Offset, at)
			}
			at = r.End()
		}
		if gap != c.gap {
			t.Errorf("%s: the gap is %v, want %v", name, gap, c.gap)
		}
	}
}

func TestFullDatabaseTakesNothingFresh(t *testing.T) {
	s := manyTopics(t, 50, limitsOfFresh["fresh forever"])
	mustCommit(t, s, spread(1, 50, 1, 300)...)
	if err := s.writer.run(fmt.Sprint("PRAGMA max_page_count = ", count(t, s, "PRAGMA page_count"))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		errs, err := s.Commit(spread(1, 50, 1, 300))
		if i := slices.IndexFunc(errs, func(err error) bool { return !errors.Is(err, storage.ErrFull) }); err != nil || i >= 0 {
			t.Fatalf("committed: %v, %v", errs, err)
		}
		mustMaintain(t, s)
		checkCatalog(t, s)
	}
	if err := s.writer.run("PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	resumes(t, s)
	mustCommit(t, s, spread(1, 50, 1, 300)...)
	if n := len(readAll(t, s, 50)); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	checkCatalog(t, s)
}

func TestViewsShowFreshMessages(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["merged a topic a time"])
	mustCommit(t, s,
		&storage.Append{Topic: 1, Records: []storage.Record{{Time: 1, Body: []byte("gone")}, {Time: 1_700_000_000_123, ID: "a", Tag: "x", Headers: `{"k":"v"}`, Body: []byte("hello")}}},
		&storage.Append{Topic: 2, Records: []storage.Record{{Time: 7, Body: []byte("other")}}},
		&storage.Trim{Topic: 1, First: 1, Bytes: 4},
		&storage.CreateGroup{Group: &storage.Group{Topic: 1, Name: "g"}},
	)
	check := func() {
		t.Helper()
		for sql, want := range map[string]string{
			`SELECT group_concat(topic || '/' || "offset" || id || tag || size || body, ' ') FROM (SELECT * FROM message_view ORDER BY topic)`: "t1/1ax5hello t2/05other",
			"SELECT headers ->> 'k' || time FROM message_view WHERE id = 'a'":                                                                  "v2023-11-14T22:13:20.123Z",
			"SELECT group_concat(name || ' ' || depth || ' ' || bytes, ', ') FROM (SELECT * FROM topic_view ORDER BY name)":                    "t1 1 16, t2 1 5",
			"SELECT last_message FROM topic_view WHERE name = 't1'":                                                                            "2023-11-14T22:13:20.123Z",
			"SELECT 'lags by ' || lag FROM group_view":                                                                                         "lags by 1",
		} {
			if got, err := s.writer.value(sql); err != nil || got != want {
				t.Errorf("%s: %v, %v; want %v", sql, got, err, want)
			}
		}
	}
	for range 3 { // nothing, one topic, and both are merged
		check()
		mustMaintain(t, s)
	}
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 0 {
		t.Errorf("%d rows are fresh", n)
	}
}
