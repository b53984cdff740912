package broker

import (
	"context"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Snapshot is a group at one moment: what tells which messages it has had, which are under way
// and which are to come. It shares nothing with the group.
type Snapshot struct {
	Filter    *filter.Filter
	Position  storage.Progress // what the topic has just dropped needs no settling
	Version   string
	Consumers int
	InFlight  map[int64]int64 // deliveries, by offset; as of those that came back
	Returned  map[int64]int64
}

// Snapshot takes it.
func (g *Group) Snapshot() Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Snapshot{
		Filter: g.filter, Position: g.standing(), Version: g.version(), Consumers: len(g.subs),
		InFlight: g.flying.deliveries(), Returned: g.returned.deliveries(),
	}
	for _, x := range g.dead {
		s.Returned[x.offset] = x.count
	}
	return s
}

// deliveries are how often each message was delivered, by offset.
func (f *flights) deliveries() map[int64]int64 {
	m := make(map[int64]int64, f.len())
	for _, x := range f.queue {
		m[x.offset] = x.count
	}
	return m
}

// Position is where the group is, and its filter: the part of a Snapshot that costs little.
func (g *Group) Position() (storage.Progress, *filter.Filter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.standing(), g.filter
}

// Removed reports whether the group was removed.
func (g *Group) Removed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

// BytesFrom is the size of the messages from an offset to the end of the log.
func (t *Topic) BytesFrom(ctx context.Context, from int64) (int64, error) {
	if from >= t.Next() {
		return 0, nil
	}
	return t.log.bytesFrom(ctx, from)
}
