package broker

import (
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// What the store knows of a message that is not settled is its row in the parked
// table, or without one what its position says: not delivered yet when it is at or above
// Progress.Read, and otherwise delivered once. So a first delivery costs no row, nor
// does its ack; only what comes back has one, and keeps it until it is settled. The
// row of a message that is in flight again gets the new count when the delivery is
// reported as written, so a crash repeats at most what was not yet saved of that.

// causeStopped is why a message comes back that was in flight when the broker stopped.
const causeStopped = "broker stopped"

// note has the row of a message looked at by the next save. Called with g.mu held.
func (g *Group) note(f *flight) {
	if g.t.Memory() {
		return
	}
	if g.noted == nil {
		g.noted = make(map[int64]*flight)
	}
	g.noted[f.offset] = f
}

// noteAgain replaces a message that was noted by its next delivery. Called with g.mu
// held.
func (g *Group) noteAgain(f *flight) {
	if _, ok := g.noted[f.offset]; ok {
		g.noted[f.offset] = f
	}
}

// noteSent notes a delivery that was reported as written, unless it is a first one,
// which is known from the group's position. Called with g.mu held.
func (g *Group) noteSent(f *flight) {
	_, parked := g.parked[f.offset]
	if f.count > 1 || parked {
		g.note(f)
	}
}

// row is what the parked table has to say about a message, and whether it has to say
// anything. Called with g.mu held.
func (g *Group) row(f *flight) (p storage.Parked, needed bool) {
	p = storage.Parked{Group: g.id, Offset: f.offset, Count: f.count, Due: f.due, Cause: f.cause}
	if f.condemned { // a row does not say so otherwise
		p.Count = max(f.count, g.def.MaxDeliver)
	}
	if f.sub == nil {
		return p, f.count > 0 || g.explicit()
	}
	if p.Due, p.Cause = 0, causeStopped; !f.sent {
		p.Count--
	}
	return p, p.Count > 1
}

// unsaved is the row that a message needs and the store does not have. Called with
// g.mu held.
func (g *Group) unsaved(f *flight) (p storage.Parked, missing bool) {
	p, needed := g.row(f)
	if old, ok := g.parked[f.offset]; ok {
		return p, old != p
	}
	return p, needed
}

// known reports whether more is known of a message than its position says: it came back,
// or is being delivered for another time. Called with g.mu held.
func (g *Group) known(offset int64) bool {
	_, parked := g.parked[offset]
	_, noted := g.noted[offset]
	return parked || noted
}

// settledAt reports whether a message is settled in a group at a position.
func settledAt(position *storage.Progress, offset int64) bool {
	return position.Done(offset)
}

// saveOp is what has to be stored to have the group at a position, or nil when that
// is stored, or never is. Called with g.mu and saver.turn held.
func (g *Group) saveOp(position storage.Progress) *storage.SaveProgress {
	if g.t.Memory() {
		return nil
	}
	op := &storage.SaveProgress{Group: g.id, Epoch: g.def.Epoch, Position: position}
	for offset, f := range g.noted {
		if settledAt(&position, offset) {
			continue
		}
		if p, missing := g.unsaved(f); missing {
			op.Park = append(op.Park, p)
		}
	}
	for offset := range g.parked {
		if settledAt(&position, offset) {
			op.Unpark = append(op.Unpark, offset)
		}
	}
	if !g.dirty(op) {
		return nil
	}
	return op
}

// dirty reports whether op differs from what is stored.
func (g *Group) dirty(op *storage.SaveProgress) bool {
	old, p := &g.def.Progress, &op.Position
	return len(op.Park) > 0 || len(op.Unpark) > 0 ||
		old.Cursor != p.Cursor || old.Read != p.Read || !slices.Equal(old.Settled, p.Settled)
}

// saved notes that op is on disk. Called with g.mu held.
func (g *Group) saved(op *storage.SaveProgress) {
	if op.Epoch != g.def.Epoch {
		return
	}
	g.def.Progress = op.Position
	for _, p := range op.Park {
		g.parked[p.Offset] = p
	}
	for _, offset := range op.Unpark {
		delete(g.parked, offset)
	}
	for offset, f := range g.noted {
		if _, missing := g.unsaved(f); !missing || settledAt(&op.Position, offset) {
			delete(g.noted, offset)
		}
	}
}

// load takes over the rows that an earlier process stored, when the group's position is
// known. What was in flight comes back at once. In a group that delivers only once,
// that is too often already, with or without a row.
func (g *Group) load(rows []storage.Parked) {
	first := g.t.First()
	for _, p := range rows {
		g.parked[p.Offset] = p
		if p.Offset >= first && !settledAt(&g.def.Progress, p.Offset) {
			due := min(p.Due, g.b.clock()+maxDelay) // as stored by a build that did not keep its clock
			g.comeBack(&flight{offset: p.Offset, count: p.Count, due: due, cause: p.Cause})
		}
	}
	if !g.diesOf(1) {
		return
	}
	settled := g.settled
	for at := max(g.cursor, first); at < g.seen && len(g.dead) < maxDead; at++ {
		for len(settled) > 0 && settled[0].Hi <= at {
			settled = settled[1:]
		}
		if len(settled) > 0 && settled[0].Lo <= at {
			at = settled[0].Hi - 1
			continue
		}
		if _, ok := g.parked[at]; !ok {
			f := &flight{offset: at, count: 1, cause: causeStopped}
			g.note(f)
			g.comeBack(f)
		}
	}
}
