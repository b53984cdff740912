package postgres

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

var _ rules.Tables[*none] = (*batch)(nil)

// plan checks an op against the catalog and queues what it takes to do it. A refused op leaves no
// trace.
func (b *batch) plan(op storage.Op) error {
	atomic, ok := op.(*storage.Atomic)
	if !ok {
		return b.planOne(op)
	}
	start := b.place()
	err := rules.Each(atomic, b.planOne)
	if err != nil {
		b.takeBack(start)
	}
	return err
}

func (b *batch) planOne(op storage.Op) error {
	switch op := op.(type) {
	case *storage.Append:
		return b.append(op)
	case *storage.Accept:
		return fmt.Errorf("no topic is damaged here: %w", storage.ErrInvalid)
	}
	return b.Plan(op, b)
}

func (b *batch) append(op *storage.Append) error {
	t, _, err := b.Appended(op)
	if err != nil || len(op.Records) == 0 {
		return err
	}
	b.Touch(t)
	for i := range op.Records {
		r := &op.Records[i]
		t.Append(t.ID, r, &b.sums)
		b.rows = append(b.rows, row{t.ID, t.Total, r})
	}
	return nil
}

// InsertTopic implements [rules.Tables], as do the methods below.
func (b *batch) InsertTopic(t *topic, n *storage.Topic) {
	r := n.Retention
	b.addOne(insertTopic, int64(n.ID), n.Name, t.Name, n.Kind.String(), n.Replies, n.Paused, n.LegacyMask, n.Creator, n.Owner,
		n.Created, n.Updated, r.MaxAge, r.MaxCount, r.MaxBytes, n.First, int64(0), n.Next, int64(0), n.LastTime)
}

func (b *batch) AlterTopic(_ *topic, op *storage.AlterTopic) {
	r := op.Retention
	b.addOne(alterTopic, int64(op.Topic), op.Replies, op.Paused, op.LegacyMask, op.Owner, op.Updated, r.MaxAge, r.MaxCount, r.MaxBytes)
}

func (b *batch) DeleteTopic(t *topic) {
	id := int64(t.ID)
	b.add(deleteTopicParked, id)
	b.add(deleteTopicGroups, id)
	b.add(deleteTopicKept, id)
	b.add(deleteTopicHistory, id)
	b.addOne(deleteTopic, id)
}

func (b *batch) KeepIDs(op *storage.Trim) {
	if op.Forget > 0 {
		b.add(forgetKept, int64(op.Topic), op.Forget)
	}
	if n := len(op.IDs); n > 0 {
		b.addOne(putKept, int64(op.Topic), op.IDs[n-1].Offset, packIDs(op.IDs))
	}
}

func (b *batch) PutDropped(at rules.Span, hi int64) { b.addOne(putDropped, int64(at.Topic), at.Lo, hi) }

func (b *batch) DeleteDropped(at rules.Span) { b.addOne(deleteDropped, int64(at.Topic), at.Lo) }

func (b *batch) DeleteBlocks(at rules.Span, hi int64) {
	b.add(deleteBlocks, int64(at.Topic), at.Lo, hi, max(0, at.Lo-maxBlockRows)).rows = len(b.rows)
}

func (b *batch) InsertAudit(e *storage.AuditEntry) {
	b.addOne(insertAudit, e.ID, e.Time, e.Actor.Name, e.Actor.Address, e.Actor.Token, e.Action, e.Target, e.Detail)
}

func (b *batch) PutDocument(d *storage.Document) {
	if d.Value == "" {
		b.add(deleteDocument, d.Kind, d.Name)
	} else {
		b.addOne(putDocument, d.Kind, d.Name, d.Value)
	}
}

func (b *batch) PutClock(c *storage.Clock) {
	b.addOne(putClock, c.Boot, c.Since, c.Last, c.Ahead, c.Jump, c.Held)
}

func (b *batch) InsertHistory(op *storage.PutHistory) error {
	b.addOne(insertHistory, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.Data)
	return nil
}

func (b *batch) DeleteHistory(op *storage.DropHistory) {
	b.add(deleteHistory, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.To)
}

func (b *batch) ForgetHistory(of storage.Series) {
	b.add(deleteGroupHistory, int64(of.Topic), int64(of.Group))
}
