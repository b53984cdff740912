package postgres

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
	if err := n.Check(t.next); err != nil {
		return err
	}
	n.ID = storage.GroupID(b.id(groupIDs))
	g := &group{id: n.ID, topic: t, name: storage.Fold(n.Name), epoch: n.Epoch}
	b.addGroup(g)
	b.addOne(insertGroup, int64(n.ID), int64(n.Topic), n.Name, g.name, n.Filter, n.Settle.String(), n.Exclusive, n.Paused, n.Ephemeral,
		n.LegacyMask, n.Creator, n.Created, n.Updated, n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version, n.Epoch, n.Cursor, n.Read, n.Settled.String())
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
	if _, err := b.group(n.ID); err != nil {
		return err
	}
	b.addOne(alterGroup, int64(n.ID), n.Filter, n.Settle.String(), n.Exclusive, n.Paused, n.Ephemeral, n.LegacyMask, n.Updated,
		n.AckTimeout, n.AckWindow, n.MaxDeliver, n.Version)
	b.journal(op.Entry)
	return nil
}

func (b *batch) dropGroup(op *storage.RemoveGroup) error {
	g, err := b.group(op.Group)
	if err != nil {
		return err
	}
	b.removeGroup(g)
	b.add(deleteGroupParked, int64(op.Group))
	b.add(deleteGroupHistory, int64(g.topic.id), int64(op.Group))
	b.addOne(deleteGroup, int64(op.Group))
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
	b.addOne(moveGroup, id, op.Position.Cursor, op.Position.Read, op.Position.Settled.String())
	for _, p := range op.Park {
		b.addOne(putParked, id, p.Offset, p.Count, p.Due, p.Cause)
	}
	for _, offset := range op.Unpark {
		b.add(deleteParked, id, offset)
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
	b.add(deleteGroupParked, int64(op.Group))
	b.addOne(relocateGroup, int64(op.Group), op.Position.Cursor, op.Position.Read, op.Position.Settled.String(), g.epoch, now)
	b.journal(op.Entry)
	return nil
}

func (b *batch) journal(e *storage.JournalEntry) {
	if e == nil {
		return
	}
	e.ID = b.id(journalIDs)
	b.addOne(insertJournal, e.ID, int64(e.Topic), int64(e.Group), e.Time, e.Kind, e.Actor.Name, e.Actor.Address, e.Actor.Token, e.Reason,
		e.From.Cursor, e.From.Read, e.From.Settled.String(), e.To, e.FilterFrom, e.FilterTo)
}
