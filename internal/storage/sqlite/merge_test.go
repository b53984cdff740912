package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// What a block's worth of pieces is merged into is a block.
func TestTopicIsMergedWhenItFillsABlock(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["fresh forever"])
	for range 80 {
		mustCommit(t, s, spread(1, 2, 2, 600)...)
	}
	if n := count(t, s, "SELECT count(*) FROM blocks"); n < 2 || n > 6 {
		t.Errorf("%d blocks", n)
	}
	for id := range storage.TopicID(2) {
		if fresh := s.catalog.Topics[id+1].Fresh; fresh > maxBlockBytes {
			t.Errorf("topic %d has %d fresh bytes", id+1, fresh)
		}
		if n := len(readAll(t, s, id+1)); n != 160 {
			t.Errorf("topic %d has %d messages, want 160", id+1, n)
		}
	}
	checkCatalog(t, s)
}

func TestOldRowsAreMergedWhileNothingHappens(t *testing.T) {
	s := manyTopics(t, 20, freshLimits{bytes: 1 << 20, most: 1 << 20, age: time.Nanosecond, step: 1})
	mustCommit(t, s, spread(1, 20, 1, 100)...)
	for range 20 { // a topic each time
		mustMaintain(t, s)
	}
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 0 || s.catalog.fresh.bytes != 0 {
		t.Errorf("%d rows are fresh, %d bytes", n, s.catalog.fresh.bytes)
	}
	checkCatalog(t, s)
}

// Readers that begin before, while and after pieces are merged see all of what was
// committed before, once, and in order.
func TestReadersMissNothingWhilePiecesAreMerged(t *testing.T) {
	const topics, rounds = 12, 150
	s := manyTopics(t, topics, freshLimits{bytes: 4 << 10, most: 1 << 30, age: time.Hour, step: 6 << 10})
	var committed sync.Map // topic → next offset
	for id := range storage.TopicID(topics) {
		committed.Store(id+1, int64(0))
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Go(func() {
			for n := i; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				checkReaders(t, s, storage.TopicID(n%topics)+1, &committed)
			}
		})
	}
	for i := range rounds {
		mustCommit(t, s, spread(1, topics, 1+i%3, 200)...)
		if i%10 == 9 {
			mustCommit(t, s, spread(storage.TopicID(i%topics)+1, storage.TopicID(i%topics)+1, 3, 2000)...)
		}
		for id := range storage.TopicID(topics) {
			committed.Store(id+1, s.catalog.Topics[id+1].Next)
		}
		mustMaintain(t, s)
	}
	close(done)
	readers.Wait()
	if count(t, s, "SELECT count(*) FROM blocks") < 3*topics {
		t.Error("little was merged")
	}
	checkCatalog(t, s)
}

// checkReaders asks about a topic whose log begins at 0 in every way.
func checkReaders(t *testing.T, s *Store, topic storage.TopicID, committed *sync.Map) {
	ctx := context.Background()
	least := func() int64 { n, _ := committed.Load(topic); return n.(int64) }
	want := least()
	rs, err := s.Read(ctx, topic, 0, storage.Page{Rows: 1 << 20}, nil)
	if err != nil || int64(len(rs)) < want {
		t.Errorf("topic %d: %d messages, %v; %d are there", topic, len(rs), err, want)
	}
	size := int64(0)
	for i := range rs {
		size += rs[i].Size()
		if rs[i].Offset != int64(i) || rs[i].Damaged() {
			t.Errorf("topic %d: offset %d instead of %d, damaged: %v", topic, rs[i].Offset, i, rs[i].Damaged())
			return
		}
	}
	if got, err := s.BytesFrom(ctx, topic, 0); err != nil || got < size {
		t.Errorf("topic %d: %d bytes, %v; %d are there", topic, got, err, size)
	}
	if len(rs) == 0 {
		return
	}
	last := rs[len(rs)-1]
	if at, err := s.OffsetAt(ctx, topic, last.Time); err != nil || at > last.Offset {
		t.Errorf("topic %d: the first message from the time of %d is %d, %v", topic, last.Offset, at, err)
	}
	if at, err := s.FindID(ctx, topic, rs[0].ID); err != nil || at < 0 {
		t.Errorf("topic %d: id of message 0: %d, %v", topic, at, err)
	}
	want = least()
	state, err := s.Load(ctx)
	if err != nil || state.Topics[topic-1].Next < want || state.Topics[topic-1].Bytes < size {
		t.Errorf("topic %d: loaded %+v, %v; %d messages are there", topic, state.Topics, err, want)
	}
}

// Without room, what is fresh stays where it is.
func TestMergeWithoutSpaceIsTriedAgain(t *testing.T) {
	s := manyTopics(t, 60, limitsOfFresh["fresh forever"])
	for range 4 {
		mustCommit(t, s, spread(1, 60, 1, 500)...)
	}
	pages := count(t, s, "PRAGMA page_count")
	if err := s.writer.run(fmt.Sprint("PRAGMA max_page_count = ", pages)); err != nil {
		t.Fatal(err)
	}
	s.options.fresh = freshLimits{step: 1 << 30}
	mustMaintain(t, s)
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 4 || s.mergeAfter.IsZero() {
		t.Fatalf("%d rows are fresh, want 4", n)
	}
	checkCatalog(t, s)
	if err := s.writer.run("PRAGMA max_page_count = 100000"); err != nil {
		t.Fatal(err)
	}
	mustMaintain(t, s) // not yet
	s.mergeAfter = time.Time{}
	mustMaintain(t, s)
	if n := count(t, s, "SELECT count(*) FROM fresh"); n != 0 {
		t.Errorf("%d rows are fresh", n)
	}
	if n := len(readAll(t, s, 60)); n != 4 {
		t.Errorf("%d messages", n)
	}
	checkCatalog(t, s)
}

// What was trimmed while it was fresh is not merged: the purge has been there.
func TestTrimmedPiecesAreNotMerged(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["fresh forever"])
	for range 60 {
		mustCommit(t, s, spread(1, 2, 1, 900)...)
	}
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 60, Bytes: 60 * 900}, &storage.Purge{Limit: 1000})
	checkCatalog(t, s)
	mustCommit(t, s, spread(1, 1, 1, 10_000)...)
	if rs := readAll(t, s, 1); len(rs) != 1 || rs[0].Offset != 60 {
		t.Errorf("%d messages", len(rs))
	}
	if n := count(t, s, "SELECT count(*) FROM blocks"); n != 1 {
		t.Errorf("%d blocks, want 1", n)
	}
	checkCatalog(t, s)
}

// A row stays as long as one of its pieces counts. The others may be of a topic whose
// log has begun again far behind them.
func TestRowOutlivesPiecesThatWereTrimmed(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["fresh forever"])
	mustCommit(t, s, spread(1, 2, 5, 100)...)
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 5, Bytes: 500}, &storage.Purge{Limit: 1000})
	s.options.fresh.bytes, s.options.fresh.step = 0, 1
	mustMaintain(t, s) // topic 1, of which nothing is left
	s.options.fresh = limitsOfFresh["fresh forever"]
	mustCommit(t, s, spread(1, 1, 10, 1000)...) // a block
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 15, Bytes: 10_000}, &storage.Purge{Limit: 1000})
	mustCommit(t, s, spread(1, 2, 5, 100)...)
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 17})
	checkCatalog(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, s.options)
	if a, b := readAll(t, s, 1), readAll(t, s, 2); len(a) != 3 || a[0].Offset != 17 || len(b) != 10 {
		t.Errorf("%d and %d messages, want 3 and 10", len(a), len(b))
	}
	checkCatalog(t, s)
}

// A commit that merges is more than one statement: all of them count, or none.
func TestCommitThatMergesIsTakenBackAsAWhole(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["fresh forever"])
	for range 55 {
		mustCommit(t, s, spread(1, 2, 1, 900)...)
	}
	for offset := int64(56); offset < 70; offset++ { // one of these is where the second block begins
		inTheWay := fmt.Sprintf("INSERT INTO blocks (key, n, time, total, meta, bodies) VALUES (%d, 1, 1, 1, x'', x'')", keyOf(1, offset))
		if err := s.writer.run(inTheWay); err != nil {
			t.Fatal(err)
		}
	}
	if errs, err := s.Commit(spread(1, 1, 20, 2000)); err != nil || !errors.Is(errs[0], storage.ErrDamaged) {
		t.Fatalf("committed: %v, %v", errs, err)
	}
	if err := s.writer.run(fmt.Sprintf("DELETE FROM blocks WHERE key >= %d AND key < %d", keyOf(1, 56), keyOf(2, 0))); err != nil {
		t.Fatal(err)
	}
	checkCatalog(t, s)
	mustCommit(t, s, spread(1, 1, 20, 2000)...)
	if n := len(readAll(t, s, 1)); n != 75 {
		t.Errorf("%d messages, want 75", n)
	}
	checkCatalog(t, s)
}

// Removing a topic leaves nothing of it behind, also where it is fresh.
func TestRemovedTopicIsNotMerged(t *testing.T) {
	s := manyTopics(t, 3, limitsOfFresh["fresh forever"])
	mustCommit(t, s, spread(1, 3, 2, 100)...)
	mustCommit(t, s, &storage.RemoveTopic{Topic: 2}, &storage.Trim{Topic: 3, First: 1, Bytes: 100})
	again := addTopic(t, s, "t2")
	mustCommit(t, s, spread(again, again, 1, 100)...)
	mustCommit(t, s, spread(3, again, 1, 100)...)
	checkCatalog(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.options.fresh = freshLimits{step: 1 << 30, most: 1 << 30}
	s = mustOpen(t, s.options)
	for range 2 {
		if a, b, c := len(readAll(t, s, 1)), len(readAll(t, s, 3)), len(readAll(t, s, again)); a != 2 || b != 2 || c != 2 {
			t.Fatalf("%d, %d and %d messages, want 2 of each", a, b, c)
		}
		if _, err := s.Read(context.Background(), 2, 0, storage.Page{Rows: 1}, nil); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the removed topic: %v", err)
		}
		mustMaintain(t, s)
	}
	if n := count(t, s, fmt.Sprintf("SELECT count(*) FROM blocks WHERE key >> %d = 2", offsetBits)); n != 0 {
		t.Errorf("%d blocks of the removed topic", n)
	}
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 2}, &storage.Trim{Topic: 3, First: 3}, &storage.Trim{Topic: again, First: 2}, &storage.Purge{Limit: 100})
	mustMaintain(t, s)
	if n := count(t, s, "SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM fresh)"); n != 0 {
		t.Errorf("%d rows are left of nothing", n)
	}
	checkCatalog(t, s)
}

// What blocks that are merged hold is in a table of its own, unless it is little, and
// goes when the block does.
func TestContentsOfMergedBlocksAreKeptApart(t *testing.T) {
	apart := "SELECT count(*) FROM contents"
	s := manyTopics(t, 40, limitsOfFresh["fresh forever"])
	s.batch.limits.inline = defaultFresh().inline
	mustCommit(t, s, spread(21, 40, 1, 100)...)
	for range 5 {
		mustCommit(t, s, spread(1, 20, 2, 256)...)
	}
	s.options.fresh = freshLimits{step: 1 << 30}
	mustMaintain(t, s)
	mustCommit(t, s, spread(1, 1, 10, 256)...)   // one topic's: stays with its block
	mustCommit(t, s, spread(1, 2, 2, 10_000)...) // more than fits a piece, of several topics
	if blocks, n := count(t, s, "SELECT count(*) FROM blocks"), count(t, s, apart); blocks != 43 || n != 22 {
		t.Errorf("%d of %d blocks have their contents apart, want 22 of 43", n, blocks)
	}
	checkCatalog(t, s)
	for id, want := range map[storage.TopicID]int{1: 22, 2: 12, 3: 10, 40: 1} {
		if rs := readAll(t, s, id); len(rs) != want || slices.ContainsFunc(rs, func(r storage.Record) bool { return r.Damaged() || len(r.Body) == 0 }) {
			t.Errorf("topic %d has %d messages, want %d", id, len(rs), want)
		}
	}
	mustCommit(t, s, &storage.Trim{Topic: 1, First: 10, Bytes: 10 * 256}, &storage.RemoveTopic{Topic: 2}, &storage.Purge{Limit: 15})
	checkContents(t, s)
	mustCommit(t, s, &storage.Purge{Limit: 100})
	if n := count(t, s, apart); n != 19 {
		t.Errorf("%d contents are left, want 19", n)
	}
	checkCatalog(t, s)
}

// A block whose contents are gone still says which messages it had.
func TestBlockWithoutItsContentsIsDamaged(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["merged at once"])
	mustCommit(t, s, spread(1, 2, 3, 200)...)
	mustMaintain(t, s)
	gone := fmt.Sprintf("DELETE FROM contents WHERE id = (SELECT contents FROM blocks WHERE key = %d)", keyOf(2, 0))
	if err := s.writer.run(gone); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, s.options)
	mustCommit(t, s, spread(2, 2, 1, 200)...)
	for id := range storage.TopicID(2) {
		rs := readAll(t, s, id+1)
		if len(rs) != 3+int(id) {
			t.Fatalf("topic %d has %d messages", id+1, len(rs))
		}
		for i := range rs {
			if rs[i].Damaged() != (id == 1 && i < 3) || rs[i].Offset != int64(i) {
				t.Errorf("topic %d, message %d at %d: damaged is %v", id+1, i, rs[i].Offset, rs[i].Damaged())
			}
		}
	}
}

// What one commit appends, trims and purges is not there behind it.
func TestPurgeReachesWhatTheSameCommitAppended(t *testing.T) {
	s := manyTopics(t, 2, limitsOfFresh["fresh forever"])
	ops := spread(1, 2, 2, 10_000)
	for id := range storage.TopicID(2) {
		ops = append(ops, &storage.Trim{Topic: id + 1, First: 2, Bytes: 20_000})
	}
	mustCommit(t, s, append(ops, &storage.Purge{Limit: 100})...)
	if n := count(t, s, "SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM contents)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	checkCatalog(t, s)
}
