package postgres

import "github.com/rushmore/zbus-go/internal/storage"

func (b *batch) InsertGroup(g *group, n *storage.Group) {
	b.addOne(insertGroup, int64(n.ID), int64(n.Topic), n.Name, g.Name, n.Filter, n.Settle.String(), n.Exclusive, n.Paused, n.Ephemeral,
		n.LegacyMask, n.Creator, n.Created, n.Updated, n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Epoch, n.Cursor, n.Read, n.Settled.String())
}

func (b *batch) AlterGroup(_ *group, n *storage.Group) {
	b.addOne(alterGroup, int64(n.ID), n.Filter, n.Settle.String(), n.Exclusive, n.Paused, n.Ephemeral, n.LegacyMask, n.Updated,
		n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version)
}

func (b *batch) DeleteGroup(g *group) {
	b.add(deleteGroupParked, int64(g.ID))
	b.add(deleteGroupHistory, int64(g.Topic.ID), int64(g.ID))
	b.addOne(deleteGroup, int64(g.ID))
}

func (b *batch) MoveGroup(g *group, op *storage.SaveProgress) {
	id := int64(g.ID)
	b.addOne(moveGroup, id, op.Position.Cursor, op.Position.Read, op.Position.Settled.String())
	for _, p := range op.Park {
		b.addOne(putParked, id, p.Offset, p.Count, p.Due, p.Cause)
	}
	for _, offset := range op.Unpark {
		b.add(deleteParked, id, offset)
	}
}

func (b *batch) RelocateGroup(g *group, to *storage.Progress, now int64) {
	b.add(deleteGroupParked, int64(g.ID))
	b.addOne(relocateGroup, int64(g.ID), to.Cursor, to.Read, to.Settled.String(), g.Epoch, now)
}

func (b *batch) InsertJournal(e *storage.JournalEntry) {
	b.addOne(insertJournal, e.ID, int64(e.Topic), int64(e.Group), e.Time, e.Kind, e.Actor.Name, e.Actor.Address, e.Actor.Token, e.Reason,
		e.From.Cursor, e.From.Read, e.From.Settled.String(), e.To, e.FilterFrom, e.FilterTo)
}
