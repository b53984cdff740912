package rules

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

func (c *Catalog[R]) createGroup(op *storage.CreateGroup, to Tables[R]) error {
	n := op.Group
	if n == nil || n.Name == "" {
		return fmt.Errorf("definition of group: %w", storage.ErrInvalid)
	}
	t, err := c.Topic(n.Topic)
	if err != nil {
		return err
	}
	if t.Groups[storage.Fold(n.Name)] != nil {
		return fmt.Errorf("group %q: %w", n.Name, storage.ErrExists)
	}
	if err := n.Check(t.Next); err != nil {
		return err
	}
	n.ID = storage.GroupID(c.nextID(GroupIDs))
	g := &Group[R]{ID: n.ID, Topic: t, Name: storage.Fold(n.Name), Epoch: n.Epoch}
	c.addGroup(g)
	to.InsertGroup(g, n)
	if op.Entry != nil {
		op.Entry.Group = n.ID
	}
	c.journal(op.Entry, to)
	return nil
}

func (c *Catalog[R]) alterGroup(op *storage.AlterGroup, to Tables[R]) error {
	n := op.Group
	if n == nil {
		return fmt.Errorf("definition of group: %w", storage.ErrInvalid)
	}
	g, err := c.group(n.ID)
	if err != nil {
		return err
	}
	to.AlterGroup(g, n)
	c.journal(op.Entry, to)
	return nil
}

func (c *Catalog[R]) saveProgress(op *storage.SaveProgress, to Tables[R]) error {
	g, err := c.groupAt(op.Group, op.Epoch)
	if err != nil {
		return err
	}
	if err := op.Position.Check(g.Topic.Next); err != nil {
		return err
	}
	for _, p := range op.Park {
		if p.Offset < 0 || p.Offset >= g.Topic.Next || p.Count < 0 {
			return fmt.Errorf("parked offset %d with count %d: %w", p.Offset, p.Count, storage.ErrInvalid)
		}
	}
	to.MoveGroup(g, op)
	return nil
}

func (c *Catalog[R]) relocate(op *storage.Relocate, to Tables[R]) error {
	g, err := c.groupAt(op.Group, op.Epoch)
	if err != nil {
		return err
	}
	if err := op.Position.Check(g.Topic.Next); err != nil {
		return err
	}
	c.raiseEpoch(g)
	var now int64
	if op.Entry != nil {
		now = op.Entry.Time
	}
	to.RelocateGroup(g, &op.Position, now)
	c.journal(op.Entry, to)
	return nil
}

func (c *Catalog[R]) journal(e *storage.JournalEntry, to Tables[R]) {
	if e != nil {
		e.ID = c.nextID(JournalIDs)
		to.InsertJournal(e)
	}
}
