package broker

import (
	"context"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Place names a position in a topic's log. The zero Place is "as usual": the
// start position of a new group.
type Place struct {
	At     At
	Offset int64  // for AtOffset: the offset; for AtShift: how far, negative for back
	Time   int64  // for AtTime: Unix milliseconds
	ID     string // for AtMessage; for AtOffset the message there must have it, unless ""
	Group  string // for AtGroup: another group of the topic
}

// At is the kind of a Place.
type At int

// The ways to name a place.
const (
	AtDefault  At = iota // where the topic's most advanced group is, or the earliest message
	AtEarliest           // the oldest message
	AtLatest             // behind the newest message
	AtOffset             // a message's offset
	AtTime               // the first message not older than a time
	AtMessage            // the newest message with an id
	AtGroup              // the cursor of another group
	AtShift              // relative to the group's own cursor
)

// Resolve finds the offset that a place means in a topic now. An offset beyond
// either end of the log means that end. The group is the one that is to move,
// for AtShift; it may be nil otherwise.
func (b *Broker) Resolve(ctx context.Context, t *Topic, g *Group, p Place) (int64, error) {
	to := int64(0)
	switch p.At {
	case AtEarliest:
		to = t.First()
	case AtLatest:
		to = t.Next()
	case AtOffset:
		to = p.Offset
		if p.ID != "" {
			m, err := t.Message(ctx, p.Offset)
			if err != nil {
				return 0, err
			}
			if m.ID != p.ID {
				return 0, errorf(Invalid, "the message at offset %d has the id %q, not %q", p.Offset, m.ID, p.ID)
			}
		}
	case AtTime:
		at, err := t.offsetAt(ctx, p.Time)
		if err != nil {
			return 0, err
		}
		to = at
	case AtMessage:
		at, err := t.findID(ctx, p.ID)
		if err != nil {
			return 0, err
		}
		to = at
	case AtGroup:
		other, err := t.Group(p.Group)
		if err != nil {
			return 0, err
		}
		to = other.settledTo.Load()
	case AtShift:
		if g == nil {
			return 0, errorf(Invalid, "a shift needs a group to start from")
		}
		to = g.settledTo.Load() + p.Offset
	default:
		return 0, errorf(Invalid, "no place given: name an offset, a time, a message id, a group, earliest or latest")
	}
	return min(max(to, t.First()), t.Next()), nil
}

// startOf is where a new group begins.
func (b *Broker) startOf(ctx context.Context, t *Topic, p Place) (int64, error) {
	if p.At != AtDefault {
		return b.Resolve(ctx, t, nil, p)
	}
	start := t.First()
	for _, g := range t.Groups() {
		start = max(start, g.settledTo.Load())
	}
	return start, nil
}

// offsetAt finds the first message not older than a time by binary search.
func (t *Topic) offsetAt(ctx context.Context, time int64) (int64, error) {
	if !t.memory {
		return t.b.store.OffsetAt(ctx, t.id, time)
	}
	first, n := t.First(), int(t.Next()-t.First())
	i := sort.Search(n, func(i int) bool {
		v := t.view(first + int64(i))
		return len(v) == 0 || v[0].Time >= time
	})
	return first + int64(i), nil
}

// findID finds the newest message with an id.
func (t *Topic) findID(ctx context.Context, id string) (int64, error) {
	if t.memory {
		for at := t.Next() - 1; at >= t.First(); at-- {
			if v := t.view(at); len(v) > 0 && v[0].ID == id {
				return at, nil
			}
		}
	} else if at, err := t.b.store.FindID(ctx, t.id, id); err == nil || CodeOf(err) != NotFound {
		return at, err
	}
	return 0, errorf(NotFound, "Topic(%s) has no message with the id %q", t.name, id)
}

// Move describes a relocation that was done.
type Move struct {
	From storage.Progress
	To   int64
}

// Relocate moves a group's cursor. Consumers stay connected and go on from the
// new place; messages in flight become void (their acks are refused), so each is
// delivered again or skipped as the new place says. The move is journalled with
// actor and reason.
func (g *Group) Relocate(ctx context.Context, p Place, kind, actor, reason string) (Move, error) {
	b := g.b
	// Before the lock: a search for a message id may take long.
	to, err := b.Resolve(ctx, g.t, g, p)
	if err != nil {
		return Move{}, err
	}
	b.admin.Lock()
	defer b.admin.Unlock()
	g.mu.Lock()
	if g.gone {
		g.mu.Unlock()
		return Move{}, groupNotFound(g.name)
	}
	// From here until the commit nothing is delivered, and the saver leaves the
	// group alone: what it would store belongs to the place that is left.
	g.moving = true
	move := Move{From: g.progress(), To: to}
	epoch, stored := g.def.Epoch, to
	g.mu.Unlock()
	if g.t.memory {
		stored = 0 // places in a memory topic mean nothing to the next process
	}

	err = b.writer.Do(context.WithoutCancel(ctx), &storage.Atomic{Ops: []storage.Op{
		&storage.Relocate{Group: g.id, Epoch: epoch, To: stored, Entry: &storage.JournalEntry{
			Topic: g.t.id, Group: g.id, Time: b.now(), Kind: kind, Actor: actor, Reason: reason,
			From: move.From, To: to,
		}},
		b.audit(actor, "group."+kind, g.t.name+"/"+g.name),
	}})

	g.mu.Lock()
	g.moving = false
	if err == nil {
		g.apply(to)
	}
	g.mu.Unlock()
	g.wakeUp()
	b.saver.mark(g, true)
	return move, err
}

// Journal lists the group's relocations and filter changes, newest first.
func (g *Group) Journal(ctx context.Context, limit int) ([]storage.JournalEntry, error) {
	return g.b.store.Journal(ctx, g.id, limit)
}
