package sqlite

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

func (b *batch) createGroup(op *storage.CreateGroup) error {
	n := op.Group
	if n == nil || n.Name == "" {
		return fmt.Errorf("definition of group: %w", storage.ErrInvalid)
	}
	t, err := b.topic(n.Topic)
	if err != nil {
		return err
	}
	if t.groups[storage.Fold(n.Name)] != nil {
		return fmt.Errorf("group %q: %w", n.Name, storage.ErrExists)
	}
	if err := n.Progress.Check(t.next); err != nil {
		return err
	}
	n.ID = storage.GroupID(b.nextID(&b.lastGroup))
	b.addGroup(&group{id: n.ID, topic: t, name: storage.Fold(n.Name), epoch: n.Epoch})
	settled := n.Settled.String()
	b.add(insertGroup, 1, int64(n.ID), int64(n.Topic), n.Name, n.Filter, n.LegacyMask, n.Creator, n.Created, n.Updated,
		n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Epoch, n.Cursor, n.Read, settled,
		groupSum(n), groupPlaceSum(n.ID, n.Epoch, &n.Progress, settled),
		n.Settle.String(), truth(n.Exclusive), truth(n.Paused), truth(n.Ephemeral))
	if op.Entry != nil {
		op.Entry.Group = n.ID
	}
	b.journal(op.Entry)
	return nil
}

func (b *batch) alterGroup(op *storage.AlterGroup) error {
	n := op.Group
	if n == nil {
		return fmt.Errorf("definition of group: %w", storage.ErrInvalid)
	}
	g, err := b.group(n.ID)
	if err != nil {
		return err
	}
	now := *n
	now.Topic, now.Name = g.topic.id, g.name
	b.add(alterGroup, 1, int64(n.ID), n.Filter, n.LegacyMask, n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Updated,
		n.Settle.String(), truth(n.Exclusive), truth(n.Paused), truth(n.Ephemeral), groupSum(&now))
	b.journal(op.Entry)
	return nil
}

func (b *batch) dropGroup(op *storage.RemoveGroup) error {
	g, err := b.group(op.Group)
	if err != nil {
		return err
	}
	b.removeGroup(g)
	b.add(deleteGroupParked, anyRows, int64(op.Group))
	b.add(deleteGroupHistory, anyRows, int64(g.topic.id), int64(op.Group))
	b.add(deleteGroup, 1, int64(op.Group))
	return nil
}

func (b *batch) saveProgress(op *storage.SaveProgress) error {
	g, err := b.groupAt(op.Group, op.Epoch)
	if err != nil {
		return err
	}
	if err := op.Position.Check(g.topic.next); err != nil {
		return err
	}
	for _, p := range op.Park {
		if p.Offset < 0 || p.Offset >= g.topic.next || p.Count < 0 {
			return fmt.Errorf("parked offset %d with count %d: %w", p.Offset, p.Count, storage.ErrInvalid)
		}
	}
	id := int64(op.Group)
	settled := op.Position.Settled.String()
	b.add(moveGroup, 1, id, op.Position.Cursor, op.Position.Read, settled, groupPlaceSum(g.id, g.epoch, &op.Position, settled))
	for _, p := range op.Park {
		p.Group = g.id
		b.add(putParked, 1, id, p.Offset, p.Count, p.Due, p.Cause, parkedSum(&p))
	}
	for _, offset := range op.Unpark {
		b.add(deleteParked, anyRows, id, offset)
	}
	return nil
}

func (b *batch) relocate(op *storage.Relocate) error {
	g, err := b.groupAt(op.Group, op.Epoch)
	if err != nil {
		return err
	}
	if err := op.Position.Check(g.topic.next); err != nil {
		return err
	}
	b.raiseEpoch(g)
	var now int64
	if op.Entry != nil {
		now = op.Entry.Time
	}
	b.add(deleteGroupParked, anyRows, int64(op.Group))
	settled := op.Position.Settled.String()
	b.add(relocateGroup, 1, int64(op.Group), op.Position.Cursor, g.epoch, now, op.Position.Read, settled,
		groupPlaceSum(g.id, g.epoch, &op.Position, settled))
	b.journal(op.Entry)
	return nil
}

func (b *batch) journal(e *storage.JournalEntry) {
	if e == nil {
		return
	}
	e.ID = b.nextID(&b.lastJournal)
	b.add(insertJournal, 1, e.ID, int64(e.Topic), int64(e.Group), e.Time, e.Kind, e.Actor.Name, e.Reason,
		e.From.Cursor, e.From.Read, e.From.Settled.String(), e.To, e.FilterFrom, e.FilterTo, e.Actor.Address, e.Actor.Token)
}
