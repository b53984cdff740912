package inspect

import (
	"context"
	"math"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Ahead is how many messages the group still has to settle, as far as that is known
// without reading any. With a filter it is the most that they can be, and exact is false.
func Ahead(g *broker.Group) (n int64, exact bool) {
	at, filter := g.Position()
	if n = g.Topic().Next() - at.Cursor; filter.All() {
		return max(0, n-at.Settled.Count()), true
	}
	return n, n <= 0
}

// Lag is how many messages the group still has to settle. With a filter the log
// has to be read: at most budget messages are, and when that is not enough the rest
// is estimated from what was seen and exact is false.
func Lag(ctx context.Context, g *broker.Group, budget int) (n int64, exact bool) {
	if n, exact = Ahead(g); exact || budget == 0 {
		return n, exact
	}
	t := g.Topic()
	at, filter := g.Position()
	from, to, matched := at.Cursor, t.Next(), int64(0)
	scan := broker.Scan{From: from, To: to, Brief: true, Rows: int64(budget)}
	scanned, next, err := t.Scan(ctx, scan, func(r *storage.Record) bool {
		if r.Damaged() || filter.Match(r.Tag) {
			matched += r.End() - r.Offset - at.Settled.Within(r.Offset, r.End())
		}
		return true
	})
	if err != nil || next < to {
		return estimate(matched, scanned, to-from), false
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

// LagBytes is the size of the messages from the group's cursor to the end of the
// log, whatever the filter says of them.
func LagBytes(ctx context.Context, g *broker.Group) (int64, error) {
	return g.Topic().BytesFrom(ctx, g.Cursor())
}

// nextRows is how many messages are looked at to find the next one of a group.
const nextRows = 256

// OldestPending is the time of the next message that the group has to settle, in Unix
// milliseconds, or 0 when there is none. When messages that the filter shuts out lie
// before it, it may be a little too early, by how many are not looked at.
func OldestPending(ctx context.Context, g *broker.Group) (int64, error) {
	at, filter := g.Position()
	t, seen, found := g.Topic(), int64(0), false
	_, next, err := t.Scan(ctx, broker.Scan{From: at.Cursor, To: t.Next(), Brief: true, Rows: nextRows}, func(r *storage.Record) bool {
		seen = r.Time
		found = (r.Damaged() || filter.Match(r.Tag)) && !at.Settled.Has(r.Offset)
		return !found
	})
	if err != nil || !found && next >= t.Next() {
		return 0, err
	}
	return seen, nil
}
