package broker

import (
	"context"
	"slices"
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

// SaveHistory stores changes of what is kept of figures, which take so many bytes. It returns
// when they are stored, with an error for each: one that fails does so alone.
func (b *Broker) SaveHistory(ops []storage.Op, bytes int64) []error {
	over := make(chan struct{})
	t := &storage.Ticket{Ops: ops, Bytes: bytes, Done: func(*storage.Ticket) { close(over) }}
	if err := b.home().Submit(t); err != nil {
		return slices.Repeat([]error{err}, len(ops))
	}
	<-over
	return t.Errs
}

// History reads what is kept of a topic's or a group's figures: see [storage.Store].
func (b *Broker) History(ctx context.Context, of storage.Series, least, most uint8) ([]storage.HistoryChunk, error) {
	return b.home().reader().History(ctx, of, least, most)
}

// HistorySizes says how much is kept of all.
func (b *Broker) HistorySizes(ctx context.Context) ([]storage.HistorySize, error) {
	return b.home().reader().HistorySizes(ctx)
}

// How many entries of the audit trail are read at a time to find what was done lately, and in all.
const (
	trailPage = 200
	trailMost = 5000
)

// Trail is what was done since a time in Unix milliseconds as far as it may concern a topic with a
// history, newest first: at most the last 5000 entries. It reads no further back than where 200
// entries in a row are older: the trail is in the order in which things were done, and the wall
// clock may have been set back since.
func (b *Broker) Trail(ctx context.Context, since int64) ([]storage.AuditEntry, error) {
	return trail(ctx, b.home().reader(), since)
}

func trail(ctx context.Context, r Reader, since int64) (list []storage.AuditEntry, err error) {
	for before, n := int64(0), 0; n < trailMost; n += trailPage {
		page, err := r.Audit(ctx, before, trailPage)
		if err != nil {
			return nil, err
		}
		found := len(list)
		for i := range page {
			if before = page[i].ID; page[i].Time >= since {
				list = append(list, page[i])
			}
		}
		if len(page) < trailPage || len(list) == found {
			break
		}
	}
	return list, nil
}
