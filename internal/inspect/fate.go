package inspect

import (
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What became of a message in a group.
const (
	FateSettled      = "settled"      // delivered, and acked where that is asked for
	FateInFlight     = "inFlight"     // delivered, waiting for its ack
	FateReturned     = "returned"     // came back, waiting for another delivery
	FatePending      = "pending"      // to be delivered
	FateFiltered     = "filtered"     // the filter does not let it through
	FateBeforeCursor = "beforeCursor" // passed over: the group began or was moved behind it
)

// Fate is what became of one message in one group.
type Fate struct {
	Group, Fate string
	Pattern     string // of a filtered one, see [Filter.Mismatch]
	Part        int
	Deliveries  int64 // of one in flight or returned
}

// Fates is a picture of a group that tells the fate of any message. It is made
// once and read by one goroutine.
type Fates struct {
	group    string
	filter   *filter.Filter
	cursor   int64
	settled  storage.Ranges
	flying   map[int64]int64 // offset → deliveries
	returned map[int64]int64
	past     []consumed
}

// consumed is a part of the log that a group went through between two journal
// entries, with the filter it had then.
type consumed struct {
	lo, hi  int64
	settled storage.Ranges // beyond hi
	kept    storage.Ranges // of all these, what was settled before
	filter  *filter.Filter
}

// historyEntries is how far back the journal is read to tell what was consumed
// from what was passed over.
const historyEntries = 1000

// FatesOf takes the picture.
func FatesOf(ctx context.Context, g *broker.Group) (*Fates, error) {
	journal, err := g.Journal(ctx, 0, historyEntries)
	if err != nil {
		return nil, err
	}
	now := g.Snapshot()
	f := &Fates{
		group: g.Name(), filter: now.Filter, cursor: now.Position.Cursor, settled: now.Position.Settled,
		flying: now.InFlight, returned: now.Returned,
	}
	f.replay(journal)
	return f, nil
}

// replay goes through a journal, newest entry first as it is listed.
func (f *Fates) replay(journal []storage.JournalEntry) {
	at := int64(0) // where the group began, as far as the journal says
	var kept storage.Ranges
	then := f.filter
	if n := len(journal); n > 0 {
		then, _ = filter.Parse(journal[n-1].FilterFrom)
	}
	for _, e := range slices.Backward(journal) {
		if e.Kind != "create" {
			f.past = append(f.past, consumed{at, e.From.Cursor, e.From.Settled, kept, then})
		}
		if at, kept = e.To, nil; e.FilterFrom != e.FilterTo {
			kept = e.From.Settled // the group stays where it is
		}
		if now, err := filter.Parse(e.FilterTo); err == nil {
			then = now
		}
	}
	f.past = append(f.past, consumed{at, f.cursor, f.settled, kept, f.filter})
}

// Of tells what became of a message of the group's topic.
func (f *Fates) Of(r *storage.Record) Fate {
	fate := Fate{Group: f.group}
	if n, ok := f.flying[r.Offset]; ok {
		fate.Fate, fate.Deliveries = FateInFlight, n
		return fate
	}
	if n, ok := f.returned[r.Offset]; ok && !f.settled.Has(r.Offset) {
		fate.Fate, fate.Deliveries = FateReturned, n
		return fate
	}
	judge := f.filter
	fate.Fate = FatePending
	if r.Offset < f.cursor || f.settled.Has(r.Offset) {
		fate.Fate = FateBeforeCursor
		for _, c := range slices.Backward(f.past) {
			if (c.lo <= r.Offset && r.Offset < c.hi || c.settled.Has(r.Offset)) && !c.kept.Has(r.Offset) {
				fate.Fate, judge = FateSettled, c.filter
				break
			}
		}
	}
	if pattern, part, ok := judge.Mismatch(r.Tag); ok && !r.Damaged() && fate.Fate != FateBeforeCursor {
		fate.Fate, fate.Pattern, fate.Part = FateFiltered, pattern, part
	}
	return fate
}

// Pending reports whether the group has still to deliver the message or to hear of
// its ack, whatever its filter says.
func (f *Fates) Pending(offset int64) bool {
	return offset >= f.cursor && !f.settled.Has(offset)
}
