package broker

import (
	"cmp"
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Transaction is some changes that happen in one commit, all or nothing.
type Transaction struct {
	Messages []Message
	Acks     []Acks
	Moves    []GroupMove
	Actor    storage.Actor
}

// Acks settles deliveries of one explicit group.
type Acks struct {
	Group   *Group
	Handles []DeliveryHandle
}

// DeliveryHandle names a delivery, see [Batch.Handle].
type DeliveryHandle struct {
	Offset int64
	Handle string
}

// GroupMove relocates one group.
type GroupMove struct {
	Group    *Group
	Position Position
	Reason   string
}

// part of a transaction that concerns a group: what has to be stored, and what
// has to be done in memory when that is known to have happened, or not.
type groupPart struct {
	group *Group
	op    storage.Op // nil when nothing has to be stored
	end   func(committed bool)
}

// transact does all of a transaction or, with an error, nothing of it. A message
// whose id is known is not stored again; the rest happens all the same. The groups
// in it deliver nothing while it is being committed.
func (b *Broker) transact(ctx context.Context, tx Transaction) ([]Stored, []storage.JournalEntry, error) {
	s, err := tx.check()
	if err != nil {
		return nil, nil, err
	}
	positions := make([]int64, len(tx.Moves))
	for i, m := range tx.Moves { // before the lock: a search for a message id may take long
		to, err := b.resolve(ctx, m.Group.t, m.Group, m.Position)
		if err != nil {
			return nil, nil, err
		}
		positions[i] = to
	}
	defer tx.lock()()
	s.saver.turn.Lock() // a save that has looked at positions from before goes first
	parts, entries, err := tx.prepare(b, positions)
	s.saver.turn.Unlock()
	var stored []Stored
	if err == nil {
		var ops []storage.Op
		for _, p := range parts {
			if p.op != nil {
				ops = append(ops, p.op)
			}
		}
		for i, m := range tx.Moves {
			ops = append(ops, b.audit(tx.Actor, "group.relocate", m.Group.t.name+"/"+m.Group.name,
				moveDetail(entries[i].From.Cursor, entries[i].To, m.Reason)))
		}
		stored, err = s.publishAndWait(context.WithoutCancel(ctx), tx.Messages, ops)
	}
	for _, p := range parts {
		p.end(err == nil)
		p.group.wakeUp()
		p.group.toSave(true)
	}
	if err != nil {
		return nil, nil, err
	}
	done := make([]storage.JournalEntry, len(entries))
	for i, e := range entries {
		done[i] = s.stored(e)
	}
	return stored, done, nil
}

// lock takes Topic.changes of all topics whose groups are part of it, and returns a
// function that gives them back. Publishing needs none.
func (tx *Transaction) lock() (unlock func()) {
	var topics []*Topic
	for _, a := range tx.Acks {
		topics = append(topics, a.Group.t)
	}
	for _, m := range tx.Moves {
		topics = append(topics, m.Group.t)
	}
	slices.SortFunc(topics, func(x, y *Topic) int { return cmp.Compare(x.id, y.id) }) // all of one shard
	topics = slices.Compact(topics)
	for _, t := range topics {
		t.changes.Lock()
	}
	return func() {
		for _, t := range topics {
			t.changes.Unlock()
		}
	}
}

// check refuses what can't be one commit, and says whose it is.
func (tx *Transaction) check() (*shard, error) {
	if len(tx.Messages)+len(tx.Acks)+len(tx.Moves) == 0 {
		return nil, errorf(Invalid, "the transaction is empty: it needs messages, acks or relocations")
	}
	var in oneShard
	for i := range tx.Messages {
		t := tx.Messages[i].Topic
		if t.Memory() {
			return nil, errorf(Invalid, "Topic(%s) is in memory: a transaction can only publish to topics on disk", t.name)
		}
		if err := in.add(t); err != nil {
			return nil, err
		}
	}
	var seen []*Group
	note := func(g *Group) error {
		if slices.Contains(seen, g) {
			return errorf(Invalid, "ConsumeGroup(%s) of Topic(%s) is there twice: name each group once", g.name, g.t.name)
		}
		seen = append(seen, g)
		return in.add(g.t)
	}
	for _, a := range tx.Acks {
		if err := note(a.Group); err != nil {
			return nil, err
		}
	}
	for _, m := range tx.Moves {
		if err := note(m.Group); err != nil {
			return nil, err
		}
	}
	return in.first.shard, nil
}

// prepare takes the groups' parts out of the hands of others. The parts that are
// returned have to be ended, also with an error. Called with Topic.changes held.
func (tx *Transaction) prepare(b *Broker, positions []int64) (parts []groupPart, entries []*storage.JournalEntry, err error) {
	for _, a := range tx.Acks {
		p, err := a.prepare()
		if err != nil {
			return parts, nil, err
		}
		parts = append(parts, p)
	}
	for i, m := range tx.Moves {
		g, to := m.Group, storage.At(positions[i])
		_, op, err := g.prepare(relocation{to: to, kind: "relocate", actor: tx.Actor, reason: m.Reason})
		if err != nil {
			return parts, nil, err
		}
		entries = append(entries, op.Entry)
		parts = append(parts, groupPart{group: g, op: op, end: func(committed bool) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.moving = false
			if committed {
				g.apply(to)
			}
		}})
	}
	return parts, entries, nil
}

// prepare takes deliveries out of flight and says what has to be stored to settle
// them.
func (a *Acks) prepare() (groupPart, error) {
	g := a.Group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return groupPart{}, groupNotFound(g.name)
	}
	var taken []*flight
	back := func() {
		for _, f := range taken {
			if f.sub.closed && !f.sub.left {
				g.requeue(f, 0, "connection lost")
				continue
			}
			f.sub.held++
			g.flying.put(f)
		}
	}
	for _, h := range a.Handles {
		f, err := g.claim(h.Offset, h.Handle)
		if err != nil {
			back()
			return groupPart{}, err
		}
		if f == nil {
			continue
		}
		g.land(f)
		f.sent = true // a consumer has its handle
		taken = append(taken, f)
	}
	p := groupPart{group: g}
	op := g.saveOp(g.progressWith(taken))
	if op != nil {
		p.op = op
	}
	g.moving = true
	p.end = func(committed bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.moving = false
		if !committed {
			back()
			return
		}
		for _, f := range taken {
			g.settle(f.offset, f.offset+1)
		}
		if op != nil {
			g.saved(op)
		}
	}
	return p, nil
}
