package sqlite

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

var _ rules.Tables[*freshRow] = (*batch)(nil)

// plan checks an op against the catalog and queues what it takes to do it. A
// refused op leaves no trace.
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
		return b.accept(op)
	}
	return b.Plan(op, b)
}

func (b *batch) append(op *storage.Append) error {
	t, size, err := b.Appended(op)
	switch {
	case err != nil:
		return err
	case t.Cut:
		return cutOffError(t)
	case len(op.Records) == 0:
		return nil
	case b.refuse || size > b.largest:
		return errLow
	}
	b.Touch(t)
	for i := range op.Records {
		r := &op.Records[i]
		t.Append(t.ID, r, &b.sums)
		b.rows = append(b.rows, row{keyOf(t.ID, r.Offset), t.Total, r})
	}
	return nil
}

// InsertTopic implements [rules.Tables], as do the methods below.
func (b *batch) InsertTopic(t *topic, n *storage.Topic) {
	b.add(insertTopic, 1, int64(n.ID), n.Name, n.LegacyMask, n.Creator, n.Created, n.Updated,
		n.First, int64(0), n.Next, int64(0), n.LastTime, n.Retention.MaxAge, n.Retention.MaxCount, n.Retention.MaxBytes,
		truth(!n.Kind.Stored()), truth(n.Paused), topicSum(n), int64(0), topicPlaceSum(n.ID, &t.Marks),
		n.Kind.String(), truth(n.Replies), n.Owner)
}

func (b *batch) AlterTopic(t *topic, op *storage.AlterTopic) {
	r := op.Retention
	sum := topicSum(&storage.Topic{ID: t.ID, Name: t.Name, Kind: t.Kind, Replies: op.Replies, LegacyMask: op.LegacyMask, Retention: r, Paused: op.Paused, Owner: op.Owner})
	b.add(alterTopic, 1, int64(op.Topic), op.LegacyMask, r.MaxAge, r.MaxCount, r.MaxBytes, op.Updated, truth(op.Paused),
		t.Kind.String(), truth(op.Replies), sum, op.Owner) // a damaged row of an older schema has no kind
}

func (b *batch) DeleteTopic(t *topic) {
	id := int64(t.ID)
	b.add(deleteTopicParked, anyRows, id)
	b.add(deleteTopicGroups, int64(len(t.Groups)), id)
	b.add(deleteTopicKept, anyRows, id)
	b.add(deleteTopicHistory, anyRows, id)
	b.add(deleteTopic, 1, id)
}

func (b *batch) PutDropped(at rules.Span, hi int64) {
	b.add(putDropped, 1, keyOf(at.Topic, at.Lo), keyOf(at.Topic, hi))
}

func (b *batch) DeleteDropped(at rules.Span) { b.add(deleteDropped, 1, keyOf(at.Topic, at.Lo)) }

func (b *batch) DeleteBlocks(at rules.Span, hi int64) {
	if b.purges = true; b.leave {
		return
	}
	lo, end := keyOf(at.Topic, at.Lo), keyOf(at.Topic, hi)
	before := max(lo-maxBlockRows, lo&^storage.MaxOffset-1)
	b.add(deleteContents, anyRows, lo, end, before).rows = len(b.rows)
	b.add(deleteBlocks, anyRows, lo, end, before)
}

// accept writes the rows of a damaged topic and its groups anew.
func (b *batch) accept(op *storage.Accept) error {
	t, err := b.Topic(op.Topic.ID)
	if err != nil {
		return err
	}
	if !t.Damaged || op.Topic.Next < t.Next {
		return fmt.Errorf("topic %d is not damaged, or has more messages: %w", t.ID, storage.ErrInvalid)
	}
	if t.Cut {
		return cutOffError(t)
	}
	b.Touch(t)
	b.OnUndo(func() { t.Damaged = true })
	t.Damaged, t.Next, t.Lost = false, op.Topic.Next, op.Topic.Next
	b.Store(t)
	n := op.Topic
	b.AlterTopic(t, &storage.AlterTopic{Topic: n.ID, Replies: n.Replies, LegacyMask: n.LegacyMask, Retention: n.Retention, Paused: n.Paused, Owner: n.Owner, Updated: n.Updated})
	for _, g := range op.Groups {
		if err := b.Plan(&storage.AlterGroup{Group: g}, b); err != nil {
			return err
		}
		if err := b.Plan(&storage.SaveProgress{Group: g.ID, Epoch: g.Epoch, Position: g.Progress}, b); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) InsertAudit(e *storage.AuditEntry) {
	b.add(insertAudit, 1, e.ID, e.Time, e.Actor.Name, e.Action, e.Target, e.Detail, e.Actor.Address, e.Actor.Token)
}

func (b *batch) PutDocument(d *storage.Document) {
	if d.Value == "" {
		b.add(deleteDocument, anyRows, d.Kind, d.Name)
	} else {
		b.add(putDocument, 1, d.Kind, d.Name, d.Value, documentSum(d))
	}
}

func (b *batch) PutClock(c *storage.Clock) {
	b.add(putClock, 1, c.Boot, c.Since, c.Last, c.Ahead, c.Jump, c.Held, clockSum(c))
}

// truth is how a bool is stored.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
