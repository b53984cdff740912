package broker

import (
	"context"
	"math"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Lag is how many messages the group still has to settle. With a filter the log
// has to be read: at most budget rows are, and when that is not enough the rest
// is estimated from what was seen and exact is false.
func (g *Group) Lag(budget int) (n int64, exact bool) {
	g.mu.Lock()
	filter, place := g.filter, g.standing()
	g.mu.Unlock()
	from, to, settled := place.Cursor, g.t.Next(), place.Settled
	if filter.All() {
		return max(0, to-from-settled.Count()), true
	}
	matched, scanned := int64(0), int64(0)
	for at := from; at < to; {
		if scanned >= int64(budget) {
			return estimate(matched, scanned, to-from), false
		}
		rows := min(512, budget-int(scanned))
		recs, err := g.t.load(g.b.run, at, storage.Page{Rows: rows, Brief: true})
		if err != nil || len(recs) == 0 {
			return estimate(matched, scanned, to-from), err == nil && g.t.Memory()
		}
		for i := range recs {
			r := &recs[i]
			if r.Offset < to && (r.Damaged() || filter.Match(r.Tag)) {
				matched += r.End() - r.Offset - settled.Within(r.Offset, r.End())
			}
		}
		scanned += int64(len(recs))
		at = recs[len(recs)-1].End()
	}
	return matched, true
}

// estimate scales what was counted in a part up to the whole.
func estimate(matched, scanned, total int64) int64 {
	if scanned == 0 {
		return total
	}
	return int64(math.Round(float64(matched) * float64(total) / float64(scanned)))
}

// Behind is how many messages lie between the group's cursor and the end of the log,
// whatever the filter says of them and what is settled among them.
func (g *Group) Behind() int64 {
	return max(0, g.t.Next()-max(g.settledTo.Load(), g.t.First()))
}

// TimeAt is the time of the message at an offset, in Unix milliseconds, or 0 when
// there is none.
func (t *Topic) TimeAt(ctx context.Context, offset int64) (int64, error) {
	if offset < t.First() || offset >= t.Next() {
		return 0, nil
	}
	recs, err := t.load(ctx, offset, storage.Page{Rows: 1, Brief: true})
	if err != nil || len(recs) == 0 {
		return 0, err
	}
	return recs[0].Time, nil
}

// LagBytes is the size of the messages from the group's cursor to the end of the
// log, whatever the filter says of them.
func (g *Group) LagBytes(ctx context.Context) (int64, error) {
	t := g.t
	from := g.Cursor()
	if from >= t.Next() {
		return 0, nil
	}
	if !t.Memory() {
		return t.shard.reader().BytesFrom(ctx, t.id, from)
	}
	size := int64(0)
	_, _, err := t.Scan(ctx, Scan{From: from, To: t.Next()}, func(r *storage.Record) bool {
		size += r.Size()
		return true
	})
	return size, err
}

// nextRows is how many messages are looked at to find the next one of a group.
const nextRows = 256

// Waiting is the time of the next message that the group has to settle, in Unix
// milliseconds, or 0 when there is none. When messages that the filter shuts out lie
// before it, it may be a little too early, by how many are not looked at.
func (g *Group) Waiting(ctx context.Context) (int64, error) {
	g.mu.Lock()
	filter, place := g.filter, g.standing()
	g.mu.Unlock()
	t, seen, found := g.t, int64(0), false
	_, next, err := t.Scan(ctx, Scan{From: place.Cursor, To: t.Next(), Brief: true, Rows: nextRows}, func(r *storage.Record) bool {
		seen = r.Time
		found = (r.Damaged() || filter.Match(r.Tag)) && !place.Settled.Has(r.Offset)
		return !found
	})
	if err != nil || !found && next >= t.Next() {
		return 0, err
	}
	return seen, nil
}
