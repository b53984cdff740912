package broker

import (
	"context"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Position names a position in a topic's log. The zero Position is "as usual": the
// start position of a new group.
type Position struct {
	At     At
	Offset int64  // for AtOffset: the offset; for AtShift: how far, negative for back
	Time   int64  // for AtTime: Unix milliseconds
	ID     string // for AtMessage; for AtOffset the message there must have it, unless ""
	Group  string // for AtGroup: another group of the topic
}

// At is the kind of a Position.
type At int

// The ways to name a position.
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

// resolve finds the offset that a position means in a topic now. An offset beyond
// either end of the log means that end. The group is the one that is to move,
// for AtShift; it may be nil otherwise.
func (b *Broker) resolve(ctx context.Context, t *Topic, g *Group, p Position) (int64, error) {
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
		at, err := t.log.offsetAt(ctx, p.Time)
		if err != nil {
			return 0, err
		}
		to = at
	case AtMessage:
		at, err := t.log.findID(ctx, p.ID)
		if err != nil {
			return 0, orNotFound(err, "Topic(%s) has no message with the id %q", t.name, p.ID)
		}
		to = at
	case AtGroup:
		other, err := t.group(p.Group)
		if err != nil {
			return 0, err
		}
		to = other.Cursor()
	case AtShift:
		if g == nil {
			return 0, errorf(Invalid, "a shift needs a group to start from")
		}
		// Cut to the log before it is added: a shift may be as large as numbers get.
		from := g.Cursor()
		to = from + min(max(p.Offset, t.First()-from), t.Next()-from)
	default:
		return 0, errorf(Invalid, "no position given: name an offset, a time, a message id, a group, earliest or latest")
	}
	return min(max(to, t.First()), t.Next()), nil
}

// startOf is where a new group begins.
func (b *Broker) startOf(ctx context.Context, t *Topic, p Position) (int64, error) {
	if p.At != AtDefault {
		return b.resolve(ctx, t, nil, p)
	}
	start := t.First()
	for _, g := range t.Groups() {
		start = max(start, g.Cursor())
	}
	return start, nil
}

// Move describes a relocation that was done.
type Move struct {
	From  storage.Progress
	To    int64
	Entry storage.JournalEntry
}

// relocation is a move that has been decided on.
type relocation struct {
	to           storage.Progress
	kind, reason string
	actor        storage.Actor
	// still says whether the move may happen, with g.mu held, when no other goroutine can
	// still change the group, which has this version and cursor. Nil: it may.
	still func(version string, cursor int64) error
}

// Relocate moves a group's cursor. Consumers stay connected and continue from the
// new position; messages in flight become void (their acks are refused), so each is
// delivered again or skipped as the new position says. The move is journalled with
// actor and reason.
func (g *Group) relocate(ctx context.Context, p Position, kind string, actor storage.Actor, reason string) (Move, error) {
	// Before the lock: a search for a message id may take long.
	to, err := g.b.resolve(ctx, g.t, g, p)
	if err != nil {
		return Move{}, err
	}
	return g.move(ctx, relocation{to: storage.At(to), kind: kind, actor: actor, reason: reason})
}

// move commits a relocation and puts the group at its new position.
func (g *Group) move(ctx context.Context, r relocation) (Move, error) {
	b := g.b
	g.t.changes.Lock()
	defer g.t.changes.Unlock()
	move, op, err := g.prepare(r)
	if err != nil {
		return Move{}, err
	}
	err = g.t.shard.commit(ctx, &storage.Atomic{Ops: []storage.Op{
		op, b.audit(r.actor, "group."+r.kind, g.t.name+"/"+g.name, moveDetail(op.Entry.From.Cursor, op.Entry.To, r.reason)),
	}})
	g.mu.Lock()
	g.moving = false
	if err == nil {
		g.apply(r.to)
	}
	g.mu.Unlock()
	g.wakeUp()
	g.toSave(true)
	if err != nil {
		return Move{}, err
	}
	move.Entry = g.t.shard.stored(op.Entry)
	return move, nil
}

// prepare makes a relocation the group's next change: from here until g.moving is
// cleared nothing is delivered, and the saver leaves the group alone, as what it
// would store belongs to the position that is left. Called with Topic.changes held.
func (g *Group) prepare(r relocation) (Move, *storage.Relocate, error) {
	if err := g.t.Refused(); err != nil {
		return Move{}, nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return Move{}, nil, groupNotFound(g.name)
	}
	if r.still != nil {
		if err := r.still(g.version(), g.standing().Cursor); err != nil {
			return Move{}, nil, err
		}
	}
	g.moving = true
	move := Move{From: g.standing(), To: r.to.Cursor}
	return move, &storage.Relocate{Group: g.id, Epoch: g.def.Epoch, Position: g.t.lasting(r.to), Entry: &storage.JournalEntry{
		Topic: g.t.id, Group: g.id, Time: g.b.now(), Kind: r.kind, Actor: r.actor, Reason: r.reason,
		From: move.From, To: r.to.Cursor, FilterFrom: g.def.Filter, FilterTo: g.def.Filter,
	}}, nil
}

// revert undoes a journal entry: it puts the group's position, or its filter, back to
// what the entry changed. Of the position only what retention dropped since is lost.
// The revert is journalled, too.
func (b *Broker) revert(ctx context.Context, g *Group, e storage.JournalEntry, actor storage.Actor, reason string) (*Group, storage.JournalEntry, error) {
	if e.Kind == "create" {
		return nil, e, errorf(Invalid, "journal entry %d says how the group began: that can't be undone, remove the group instead", e.ID)
	}
	if e.FilterFrom != e.FilterTo {
		var done storage.JournalEntry
		_, _, err := b.declareGroup(ctx, GroupSpec{
			Topic: g.t.name, Name: g.name, Filter: &e.FilterFrom, Actor: actor, Reason: reason,
			kind: "revert", entry: &done,
		})
		if err == nil && done.ID == 0 {
			err = errorf(Conflict, "the filter of ConsumeGroup(%s) is %q already", g.name, e.FilterFrom)
		}
		return g, done, err
	}
	move, err := g.move(ctx, relocation{to: g.clip(e.From), kind: "revert", actor: actor, reason: reason})
	return g, move.Entry, err
}

// clip fits a position from the past into the log as it is now.
func (g *Group) clip(p storage.Progress) storage.Progress {
	first, next := g.t.First(), g.t.Next()
	fit := func(offset int64) int64 { return min(max(offset, first), next) }
	to := storage.Progress{Cursor: fit(p.Cursor), Read: fit(p.Read)}
	for _, r := range p.Settled {
		to.Settled.Add(fit(r.Lo), fit(r.Hi))
	}
	to.Cursor = to.Settled.Advance(to.Cursor)
	to.Read = max(to.Read, to.Cursor)
	return to
}
