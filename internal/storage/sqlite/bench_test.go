package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func openBench(b *testing.B, d Durability) (*Store, storage.TopicID) {
	s := mustOpen(b, Options{Path: filepath.Join(b.TempDir(), "bench.db"), Durability: d})
	return s, addTopic(b, s, "t")
}

func addTopic(t testing.TB, s *Store, name string) storage.TopicID {
	t.Helper()
	topic := &storage.Topic{Name: name}
	mustCommit(t, s, &storage.CreateTopic{Topic: topic})
	return topic.ID
}

func mustCommit(t testing.TB, s *Store, ops ...storage.Op) {
	t.Helper()
	errs, err := s.Commit(ops)
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range errs {
		if err != nil {
			t.Fatalf("op %d: %v", i, err)
		}
	}
}

// messages makes n records with bodies of the given size.
func messages(n, size int) []storage.Record {
	rs := make([]storage.Record, n)
	for i := range rs {
		rs[i] = storage.Record{Time: int64(i), ID: fmt.Sprintf("0198f1c2-%08x", i), Tag: "tag", Body: make([]byte, size)}
	}
	return rs
}

// BenchmarkCommit commits and syncs one-record ops, as many a batch as the name
// says, one batch after the other. "raw" leaves out Maintain: what checkpoints cost is the difference.
func BenchmarkCommit(b *testing.B) {
	for _, d := range []Durability{Fsync, Relaxed} {
		for _, rows := range []int{1, 16, 128, 512} {
			for _, maintain := range []bool{true, false} {
				name := fmt.Sprintf("%v/rows=%d", d, rows)
				if !maintain {
					name += "/raw"
				}
				b.Run(name, func(b *testing.B) { benchmarkCommit(b, d, rows, maintain) })
			}
		}
	}
}

func benchmarkCommit(b *testing.B, d Durability, rows int, maintain bool) {
	s, topic := openBench(b, d)
	rs := messages(rows, 256)
	ops := make([]storage.Op, rows)
	for i := range ops {
		ops[i] = &storage.Append{Topic: topic, Records: rs[i : i+1]}
	}
	var took []time.Duration
	var log int64
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		mustCommit(b, s, ops...)
		if err := s.Sync(); err != nil {
			b.Fatal(err)
		}
		if maintain {
			if err := s.Maintain(); err != nil {
				b.Fatal(err)
			}
		}
		took = append(took, time.Since(start))
		if len(took)%64 == 0 {
			log = max(log, size(s.options.Path+"-wal"))
		}
	}
	b.ReportMetric(float64(rows*len(took))/b.Elapsed().Seconds(), "rows/s")
	slices.Sort(took)
	at := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1e3 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(0.999), "p99.9-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(log)/(1<<20), "wal-MiB")
}

// BenchmarkSaveProgress saves the places of 1,000 groups in a batch.
func BenchmarkSaveProgress(b *testing.B) {
	s, topic := openBench(b, Fsync)
	mustCommit(b, s, &storage.Append{Topic: topic, Records: messages(100, 10)})
	ops := make([]storage.Op, 1000)
	for i := range ops {
		g := &storage.Group{Topic: topic, Name: fmt.Sprint("g", i)}
		mustCommit(b, s, &storage.CreateGroup{Group: g})
		ops[i] = &storage.SaveProgress{Group: g.ID, Position: storage.Progress{Cursor: 10, Read: 20, Settled: storage.Ranges{{Lo: 12, Hi: 14}}}}
	}
	b.ReportAllocs()
	for b.Loop() {
		mustCommit(b, s, ops...)
		if err := s.Maintain(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads pages of 256 messages.
func BenchmarkRead(b *testing.B) {
	const depth = 200_000
	s, topic := openBench(b, Relaxed)
	for range depth / 1000 {
		mustCommit(b, s, &storage.Append{Topic: topic, Records: messages(1000, 256)})
	}
	if err := s.Maintain(); err != nil {
		b.Fatal(err)
	}
	for _, brief := range []bool{false, true} {
		b.Run(fmt.Sprintf("brief=%v", brief), func(b *testing.B) {
			b.ReportAllocs()
			var rs []storage.Record
			var from, n int64
			for b.Loop() {
				var err error
				rs, err = s.Read(context.Background(), topic, from, storage.Page{Rows: 256, Brief: brief}, rs[:0])
				if err != nil || len(rs) == 0 {
					b.Fatal(len(rs), err)
				}
				n += int64(len(rs))
				from = (from + 256) % (depth - 256)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkOffsetAt looks times up in a log of 200,000 messages.
func BenchmarkOffsetAt(b *testing.B) {
	s, topic := openBench(b, Relaxed)
	for range 200 {
		mustCommit(b, s, &storage.Append{Topic: topic, Records: messages(1000, 256)})
	}
	for b.Loop() {
		if _, err := s.OffsetAt(context.Background(), topic, 500); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriter has tickets of 16 messages go through the group-commit writer,
// so many unanswered at a time as the name says.
func BenchmarkWriter(b *testing.B) {
	for _, d := range []Durability{Fsync, Relaxed} {
		for _, open := range []int{1, 16} {
			b.Run(fmt.Sprintf("%v/open=%d", d, open), func(b *testing.B) { benchmarkWriter(b, d, open) })
		}
	}
}

func benchmarkWriter(b *testing.B, d Durability, open int) {
	const rows = 16
	s, topic := openBench(b, d)
	w := storage.NewWriter(s, storage.WriterLimits{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	free := make(chan *storage.Ticket, open)
	for range open {
		free <- &storage.Ticket{
			Ops:  []storage.Op{&storage.Append{Topic: topic, Records: messages(rows, 256)}},
			Done: func(t *storage.Ticket) { free <- t }, Bytes: rows * 300,
		}
	}
	n := 0
	for b.Loop() {
		t := <-free
		if err := w.Submit(t); err != nil {
			b.Fatal(err)
		}
		n += rows
	}
	for range open {
		<-free
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTopics has 256 messages unanswered at a time go through the group-commit
// writer, to as many topics in turn as the name says.
func BenchmarkTopics(b *testing.B) {
	for _, d := range []Durability{Fsync, Relaxed} {
		for _, topics := range []int{1, 2, 10, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%v/topics=%d", d, topics), func(b *testing.B) { benchmarkTopics(b, d, topics) })
		}
	}
}

func benchmarkTopics(b *testing.B, d Durability, topics int) {
	s := mustOpen(b, Options{Path: filepath.Join(b.TempDir(), "bench.db"), Durability: d})
	ids := make([]storage.TopicID, topics)
	for i := range ids {
		ids[i] = addTopic(b, s, fmt.Sprint("t", i))
	}
	w := storage.NewWriter(s, storage.WriterLimits{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	free := make(chan *storage.Ticket, 256)
	began := make(map[*storage.Ticket]time.Time, cap(free))
	for range cap(free) {
		free <- &storage.Ticket{
			Ops:  []storage.Op{&storage.Append{Records: messages(1, 256)}},
			Done: func(t *storage.Ticket) { free <- t }, Bytes: 400,
		}
	}
	var took []time.Duration
	for b.Loop() {
		t := <-free
		now := time.Now()
		if before := began[t]; !before.IsZero() {
			took = append(took, now.Sub(before))
		}
		began[t] = now
		t.Ops[0].(*storage.Append).Topic = ids[len(took)%topics]
		if err := w.Submit(t); err != nil {
			b.Fatal(err)
		}
	}
	for range cap(free) {
		<-free
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	if slices.Sort(took); len(took) > 1000 {
		b.ReportMetric(took[len(took)-1-len(took)/1000].Seconds()*1e3, "p99.9-ms")
	}
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
