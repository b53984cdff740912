package sqlite

import "github.com/rushmore/zbus-go/internal/storage"

func (b *batch) InsertGroup(_ *group, n *storage.Group) {
	settled := n.Settled.String()
	b.add(insertGroup, 1, int64(n.ID), int64(n.Topic), n.Name, n.Filter, n.LegacyMask, n.Creator, n.Created, n.Updated,
		n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Epoch, n.Cursor, n.Read, settled,
		groupSum(n), groupPlaceSum(n.ID, n.Epoch, &n.Progress, settled),
		n.Settle.String(), truth(n.Exclusive), truth(n.Paused), truth(n.Ephemeral))
}

func (b *batch) AlterGroup(g *group, n *storage.Group) {
	now := *n
	now.Topic, now.Name = g.Topic.ID, g.Name
	b.add(alterGroup, 1, int64(n.ID), n.Filter, n.LegacyMask, n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Updated,
		n.Settle.String(), truth(n.Exclusive), truth(n.Paused), truth(n.Ephemeral), groupSum(&now))
}

func (b *batch) DeleteGroup(g *group) {
	b.add(deleteGroupParked, anyRows, int64(g.ID))
	b.add(deleteGroupHistory, anyRows, int64(g.Topic.ID), int64(g.ID))
	b.add(deleteGroup, 1, int64(g.ID))
}

func (b *batch) MoveGroup(g *group, op *storage.SaveProgress) {
	id := int64(g.ID)
	settled := op.Position.Settled.String()
	b.add(moveGroup, 1, id, op.Position.Cursor, op.Position.Read, settled, groupPlaceSum(g.ID, g.Epoch, &op.Position, settled))
	for _, p := range op.Park {
		p.Group = g.ID
		b.add(putParked, 1, id, p.Offset, p.Count, p.Due, p.Cause, parkedSum(&p))
	}
	for _, offset := range op.Unpark {
		b.add(deleteParked, anyRows, id, offset)
	}
}

func (b *batch) RelocateGroup(g *group, to *storage.Progress, now int64) {
	b.add(deleteGroupParked, anyRows, int64(g.ID))
	settled := to.Settled.String()
	b.add(relocateGroup, 1, int64(g.ID), to.Cursor, g.Epoch, now, to.Read, settled,
		groupPlaceSum(g.ID, g.Epoch, to, settled))
}

func (b *batch) InsertJournal(e *storage.JournalEntry) {
	b.add(insertJournal, 1, e.ID, int64(e.Topic), int64(e.Group), e.Time, e.Kind, e.Actor.Name, e.Reason,
		e.From.Cursor, e.From.Read, e.From.Settled.String(), e.To, e.FilterFrom, e.FilterTo, e.Actor.Address, e.Actor.Token)
}
