package broker

import (
	"context"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Durations is how long some things took. Times are microseconds.
type Durations struct{ N, Sum, Longest int64 }

// durations adds up Durations. Any number of goroutines may add, one takes.
type durations struct{ n, sum, longest atomic.Int64 }

// add notes that n things took so many microseconds together, and the longest of them.
func (d *durations) add(n, sum, longest int64) {
	d.sum.Add(sum)
	for {
		most := d.longest.Load()
		if longest <= most || d.longest.CompareAndSwap(most, longest) {
			break
		}
	}
	d.n.Add(n)
}

// take is what was added since it was last called.
func (d *durations) take() Durations {
	if d.n.Load() == 0 {
		return Durations{}
	}
	return Durations{N: d.n.Swap(0), Sum: d.sum.Swap(0), Longest: d.longest.Swap(0)}
}

// TakeCommits is how long the messages of a topic waited until they were stored, since it was
// last called. It is for one caller.
func (t *Topic) TakeCommits() Durations { return t.commits.take() }

// TakeDeliveries is how old messages were when they were delivered for the first time, since
// it was last called. It is for one caller.
func (g *Group) TakeDeliveries() Durations { return g.deliveries.take() }

// noteAges notes how old the messages of a batch are. Called with g.mu held.
func (g *Group) noteAges(b *Batch) {
	var d Durations
	now := g.b.now()
	for i := range b.Items {
		if item := &b.Items[i]; item.Count <= 1 {
			age := max(0, now-item.Record.Time) * 1000
			d.N, d.Sum, d.Longest = d.N+1, d.Sum+age, max(d.Longest, age)
		}
	}
	if d.N > 0 {
		g.deliveries.add(d.N, d.Sum, d.Longest)
	}
}

// Wall is the wall clock in Unix milliseconds, for people to read: compare Micros.
func (b *Broker) Wall() int64 { return b.now() }

// KeepsHistory reports whether there is a place for the topic's history: it is kept in one storage,
// for the topics in it.
func (t *Topic) KeepsHistory() bool { return t.shard == t.b.home() }

// SaveHistory stores changes of what is kept of figures. It returns when they are stored; one
// that fails does so alone.
func (b *Broker) SaveHistory(ctx context.Context, ops []storage.Op) error {
	return b.home().commit(ctx, ops...)
}

// History reads what is kept of a topic's or a group's figures: see [storage.Store].
func (b *Broker) History(ctx context.Context, of storage.Series, level uint8) ([]storage.HistoryChunk, error) {
	return b.home().reader().History(ctx, of, level)
}

// HistorySizes says how much is kept of all.
func (b *Broker) HistorySizes(ctx context.Context) ([]storage.HistorySize, error) {
	return b.home().reader().HistorySizes(ctx)
}
