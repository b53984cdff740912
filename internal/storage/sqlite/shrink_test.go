package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// takes is how much the database's file takes on the disk.
func takes(t *testing.T, s *Store) int64 {
	t.Helper()
	n, err := vfs.Allocated(s.copier.file)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shrinks has a store give back what is unused, if it wants to, without the wait.
func shrinks(t *testing.T, s *Store) {
	t.Helper()
	s.copier.last = time.Time{}
	s.guard.checked = time.Time{}
	mustMaintain(t, s)
	if err := s.collect(untilEnd); err != nil {
		t.Fatal(err)
	}
	if !s.shrinker.since.IsZero() {
		s.shrinker.since = s.shrinker.since.Add(-shrinkInterval)
	}
	mustMaintain(t, s)
	if err := s.collect(untilEnd); err != nil {
		t.Fatal(err)
	}
}

// sound has SQLite check everything.
func sound(t *testing.T, s *Store) {
	t.Helper()
	if v, err := s.writer.value("PRAGMA integrity_check"); err != nil || v != "ok" {
		t.Fatalf("integrity: %v, %v", v, err)
	}
	checkCatalog(t, s)
}

// seen reads all messages of a topic, whose bodies say which they are.
func seen(t *testing.T, s *Store, topic storage.TopicID, from, n int64) {
	t.Helper()
	rs, err := s.Read(context.Background(), topic, from, storage.Page{Rows: int(n) + 1}, nil)
	if err != nil || int64(len(rs)) != n {
		t.Fatalf("%d messages of topic %d, want %d: %v", len(rs), topic, n, err)
	}
	for i, r := range rs {
		if r.Offset != from+int64(i) || r.Damaged() || len(r.Body) < 8 || binary.BigEndian.Uint64(r.Body) != uint64(r.Offset) {
			t.Fatalf("message %d of topic %d: offset %d, damaged: %t", from+int64(i), topic, r.Offset, r.Damaged())
		}
	}
}

// numbered makes messages that say which they are.
func numbered(from int64, n, size int) []storage.Record {
	rs := make([]storage.Record, n)
	for i := range rs {
		rs[i].Body = binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(from)+uint64(i))[:size]
	}
	return rs
}

func TestUnusedSpaceGoesBackToTheFileSystem(t *testing.T) {
	dir := smallDisk(t, "160m")
	s := mustOpen(t, onDisk(dir))
	kept, gone := addTopic(t, s, "kept"), addTopic(t, s, "gone")
	w := &worker{s: s, topic: gone}
	for range 2 { // what is given back can be used again
		before := s.catalog.Topics[kept].Next
		for i := range int64(80) {
			mustCommit(t, s, &storage.Append{Topic: kept, Records: numbered(before+i, 1, 2000)})
			mustCommit(t, s, &storage.Append{Topic: gone, Records: messages(100, 5000)})
			mustMaintain(t, s)
		}
		full := takes(t, s)
		if full < 30<<20 {
			t.Fatalf("the database takes %d bytes", full)
		}
		w.empty(t)
		if now := takes(t, s); now < full*9/10 {
			t.Fatalf("%d bytes of %d are left at once", now, full)
		}
		shrinks(t, s)
		if now := takes(t, s); now > full/10 {
			t.Errorf("the database takes %d bytes, %d before messages were removed", now, full)
		}
		sound(t, s)
		seen(t, s, kept, 0, before+80)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, s.options)
		w.s = s
		seen(t, s, kept, 0, before+80)
	}
}

// Who has begun to read before messages were removed reads them to the end.
func TestUnusedSpaceStaysWhileSomebodyReadsIt(t *testing.T) {
	s := mustOpen(t, onDisk(smallDisk(t, "160m")))
	gone := addTopic(t, s, "gone")
	next := int64(0)
	for range 80 {
		mustCommit(t, s, &storage.Append{Topic: gone, Records: numbered(next, 100, 5000)})
		mustMaintain(t, s)
		next += 100
	}
	c, err := open(readerSetup(s.options))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	if err := c.run("BEGIN"); err != nil {
		t.Fatal(err)
	}
	sum := func() (n int64) {
		for row, err := range c.ask("SELECT sum(length(bodies)), group_concat(hex(substr(bodies, 1, 8))) FROM blocks") {
			if err != nil {
				t.Fatal(err)
			}
			n = integer(row[0])
		}
		return n
	}
	all, full := sum(), takes(t, s)
	(&worker{s: s, topic: gone}).empty(t)
	for range 3 {
		shrinks(t, s)
	}
	if now := takes(t, s); now < full*9/10 {
		t.Errorf("%d bytes of %d are left", now, full)
	}
	if n := sum(); n != all {
		t.Errorf("%d bytes can be read of %d", n, all)
	}
	if err := c.run("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	shrinks(t, s)
	shrinks(t, s)
	if now := takes(t, s); now > full/10 {
		t.Errorf("%d bytes of %d are left when nobody reads", now, full)
	}
	sound(t, s)
}

// Whatever is appended, removed and read in between, nothing that is used is lost.
func TestHolesAreOnlyMadeOfUnusedPages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := mustOpen(t, onDisk(smallDisk(t, "160m")))
	topics := make([]storage.TopicID, 6)
	for i := range topics {
		topics[i] = addTopic(t, s, fmt.Sprint("t", i))
	}
	holes := 0
	for round := range faultreport.ScaleAlways(t, 20, 200) {
		for range 1 + random.IntN(20) {
			var ops []storage.Op
			for _, id := range topics {
				if random.IntN(2) == 0 {
					ops = append(ops, &storage.Append{Topic: id, Records: numbered(s.catalog.Topics[id].Next, 1+random.IntN(30), 8+random.IntN(9000))})
				}
			}
			mustCommit(t, s, append(ops, &storage.Purge{Limit: 1 + random.IntN(50)})...)
			mustMaintain(t, s)
		}
		id := topics[random.IntN(len(topics))]
		m := s.catalog.Topics[id].Marks
		if first := m.First + random.Int64N(m.Next-m.First+1); first > m.First {
			mustCommit(t, s, &storage.Trim{Topic: id, First: first}, &storage.Purge{Limit: 1 << 20})
		}
		s.shrinker.most, s.shrinker.part = 0, 1<<40
		before := takes(t, s)
		shrinks(t, s)
		if takes(t, s) < before {
			holes++
		}
		if round%10 == 9 {
			sound(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, s.options)
		}
		for _, id := range topics {
			m := s.catalog.Topics[id].Marks
			seen(t, s, id, m.First, m.Next-m.First)
		}
	}
	if holes == 0 {
		t.Error("no hole was made")
	}
}

// A file with holes is copied to like any other when the disk is full.
func TestFullDiskAndADatabaseWithHoles(t *testing.T) {
	dir := smallDisk(t, "160m")
	s := mustOpen(t, onDisk(dir))
	topic := addTopic(t, s, "t")
	w := newWorker(t, s, topic)
	for range 80 {
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(100, 5000)})
		mustMaintain(t, s)
	}
	w.empty(t)
	shrinks(t, s)
	if sp := look(t, s); s.guard.holes < 30<<20 || sp.Room > sp.Free+sp.Unused-s.guard.holes {
		t.Fatalf("%+v with %d bytes of holes", sp, s.guard.holes)
	}
	other := leave(t, dir, 0)
	w.work(t, 300)
	w.save(t, 3000)
	refusesMessages(t, s, topic)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	resumes(t, s)
	sound(t, s)
}

func TestDamagedListOfUnusedPagesIsNotBelieved(t *testing.T) {
	s := mustOpen(t, onDisk(smallDisk(t, "64m")))
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(1000, 5000)})
	(&worker{s: s, topic: topic}).empty(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(s.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.options.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pages, size, end, err := unusedPages(f, 0)
	if err != nil || !end || len(pages) < 1000 || size != 4096 {
		t.Fatalf("%d pages of %d bytes, %t, %v", len(pages), size, end, err)
	}
	trunk := int64(binary.BigEndian.Uint32(good[32:])-1) * size
	for name, damage := range map[string]struct {
		at    int64
		bytes []byte
	}{
		"a page that is no page":  {trunk + 8, []byte{0x7f, 0, 0, 0}},
		"page 1":                  {trunk + 8, []byte{0, 0, 0, 1}},
		"one page twice":          {trunk + 8, good[trunk+12 : trunk+16]},
		"more leaves than fit":    {trunk + 4, []byte{0, 1, 0, 0}},
		"fewer leaves":            {trunk + 4, []byte{0, 0, 0, 3}},
		"a trunk that is no page": {trunk, []byte{0x7f, 0, 0, 0}},
		"a chain without an end":  {trunk, good[32:36]},
		"another count":           {36, []byte{0, 0, 0, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			overwrite(t, s.options.Path, damage.at, damage.bytes)
			if _, err := punchUnused(f, 0); !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("got %v", err)
			}
			overwrite(t, s.options.Path, damage.at, good[damage.at:damage.at+int64(len(damage.bytes))])
		})
	}
}
