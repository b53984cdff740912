package postgres

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxRecord is the largest record that is tried, in bytes. PostgreSQL takes values of up to 2³⁰ bytes.
const maxRecord = 512 << 20

// plan checks an op against the catalog and queues what it takes to do it. A refused op leaves no
// trace.
func (b *batch) plan(op storage.Op) error {
	atomic, ok := op.(*storage.Atomic)
	if !ok {
		return b.planOne(op)
	}
	start := b.place()
	for i, op := range atomic.Ops {
		if err := b.planOne(op); err != nil {
			b.takeBack(start)
			return fmt.Errorf("op %d of %d: %w", i+1, len(atomic.Ops), err)
		}
	}
	return nil
}

func (b *batch) planOne(op storage.Op) error {
	switch op := op.(type) {
	case *storage.Append:
		return b.append(op)
	case *storage.SaveProgress:
		return b.saveProgress(op)
	case *storage.CreateTopic:
		return b.createTopic(op.Topic)
	case *storage.AlterTopic:
		return b.alterTopic(op)
	case *storage.RemoveTopic:
		return b.dropTopic(op)
	case *storage.Trim:
		return b.trim(op)
	case *storage.Purge:
		return b.purge(op)
	case *storage.CreateGroup:
		return b.createGroup(op)
	case *storage.AlterGroup:
		return b.alterGroup(op)
	case *storage.RemoveGroup:
		return b.dropGroup(op)
	case *storage.Relocate:
		return b.relocate(op)
	case *storage.Audit:
		return b.audit(op.Entry)
	case *storage.PutDocument:
		return b.putDocument(&op.Document)
	case *storage.PutHistory:
		return b.putHistory(op)
	case *storage.DropHistory:
		b.add(deleteHistory, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.To)
		return nil
	case *storage.ForgetHistory:
		b.add(deleteGroupHistory, int64(op.Series.Topic), int64(op.Series.Group))
		return nil
	case *storage.SaveClock:
		c := op.Clock
		b.addOne(putClock, c.Boot, c.Since, c.Last, c.Ahead, c.Jump, c.Held)
		return nil
	case *storage.Accept:
		return fmt.Errorf("no topic is damaged here: %w", storage.ErrInvalid)
	}
	return fmt.Errorf("op of type %T here: %w", op, storage.ErrInvalid)
}

func (b *batch) append(op *storage.Append) error {
	t, err := b.topic(op.Topic)
	if err != nil {
		return err
	}
	if int64(len(op.Records)) > storage.MaxOffset+1-t.next {
		return fmt.Errorf("topic %d: offsets used up: %w", op.Topic, storage.ErrInvalid)
	}
	for i := range op.Records {
		if n := op.Records[i].Size(); n > maxRecord {
			return fmt.Errorf("record of %d bytes: %w", n, storage.ErrInvalid)
		}
	}
	if len(op.Records) == 0 {
		return nil
	}
	b.touch(t)
	for i := range op.Records {
		r := &op.Records[i]
		r.Offset = t.next
		r.Time = max(r.Time, t.lastTime)
		r.CRC = b.sums.Checksum(t.id, r)
		t.next++
		t.lastTime = r.Time
		t.total += r.Size()
		b.rows = append(b.rows, row{t.id, t.total, r})
	}
	return nil
}

func (b *batch) createTopic(n *storage.Topic) error {
	switch {
	case n == nil || n.Name == "" || n.First != n.Next || n.Next < 0 || n.Next > storage.MaxOffset+1 || n.Bytes != 0:
		return fmt.Errorf("definition of topic: %w", storage.ErrInvalid)
	case b.names[storage.Fold(n.Name)] != nil:
		return fmt.Errorf("topic %q: %w", n.Name, storage.ErrExists)
	}
	n.ID = storage.TopicID(b.id(topicIDs))
	t := &topic{
		id: n.ID, name: storage.Fold(n.Name), kind: n.Kind, groups: map[string]*group{},
		marks: marks{first: n.First, next: n.Next, lastTime: n.LastTime, rows: n.First},
	}
	b.addTopic(t)
	b.touch(t)
	r := n.Retention
	b.addOne(insertTopic, int64(n.ID), n.Name, t.name, n.Kind.String(), n.Replies, n.Paused, n.LegacyMask, n.Creator, n.Owner,
		n.Created, n.Updated, r.MaxAge, r.MaxCount, r.MaxBytes, n.First, int64(0), n.Next, int64(0), n.LastTime)
	return nil
}

func (b *batch) alterTopic(op *storage.AlterTopic) error {
	if _, err := b.topic(op.Topic); err != nil {
		return err
	}
	r := op.Retention
	b.addOne(alterTopic, int64(op.Topic), op.Replies, op.Paused, op.LegacyMask, op.Owner, op.Updated, r.MaxAge, r.MaxCount, r.MaxBytes)
	return nil
}

func (b *batch) dropTopic(op *storage.RemoveTopic) error {
	t, err := b.topic(op.Topic)
	if err != nil {
		return err
	}
	b.removeTopic(t)
	b.touch(t)
	id := int64(op.Topic)
	b.add(deleteTopicParked, id)
	b.add(deleteTopicGroups, id)
	b.add(deleteTopicKept, id)
	b.add(deleteTopicHistory, id)
	b.addOne(deleteTopic, id)
	b.drop(t, t.next)
	return nil
}

func (b *batch) trim(op *storage.Trim) error {
	t, err := b.topic(op.Topic)
	if err != nil {
		return err
	}
	first := min(op.First, t.next)
	if bytes := t.total - t.dropped; first > t.first && (op.Bytes < 0 || op.Bytes > bytes) {
		return fmt.Errorf("trim of %d bytes out of %d: %w", op.Bytes, bytes, storage.ErrInvalid)
	}
	if op.Forget > 0 {
		b.add(forgetKept, int64(t.id), op.Forget)
	}
	if n := len(op.IDs); n > 0 {
		b.addOne(putKept, int64(t.id), op.IDs[n-1].Offset, packIDs(op.IDs))
	}
	if first <= t.first {
		return nil
	}
	b.touch(t)
	b.store(t)
	t.first = first
	t.dropped += op.Bytes
	b.drop(t, first)
	return nil
}

// drop notes that the messages of t below hi can go.
func (b *batch) drop(t *topic, hi int64) {
	if hi > t.rows {
		b.setDropped(span{t.id, t.rows}, hi)
		b.addOne(putDropped, int64(t.id), t.rows, hi)
	}
}

// purge works off the starts of dropped spans. Spans have no holes, so the offsets say how many
// messages go. A block goes with its last message.
func (b *batch) purge(op *storage.Purge) error {
	op.Deleted = 0
	left := int64(op.Limit)
	if left < 1 {
		return fmt.Errorf("purge of %d messages: %w", op.Limit, storage.ErrInvalid)
	}
	for at, hi := range b.dropped {
		end := min(hi, at.lo+left)
		left -= end - at.lo
		op.Deleted += int(end - at.lo)
		b.setDropped(at, at.lo)
		b.addOne(deleteDropped, int64(at.topic), at.lo)
		if end < hi {
			b.setDropped(span{at.topic, end}, hi)
			b.addOne(putDropped, int64(at.topic), end, hi)
		}
		if t := b.topics[at.topic]; t != nil {
			b.touch(t)
			t.rows += end - at.lo
		}
		b.add(deleteBlocks, int64(at.topic), at.lo, end, max(0, at.lo-maxBlockRows)).rows = len(b.rows)
		if left == 0 {
			break
		}
	}
	return nil
}

func (b *batch) audit(e *storage.AuditEntry) error {
	if e == nil {
		return fmt.Errorf("audit without an entry: %w", storage.ErrInvalid)
	}
	e.ID = b.id(auditIDs)
	b.addOne(insertAudit, e.ID, e.Time, e.Actor.Name, e.Actor.Address, e.Actor.Token, e.Action, e.Target, e.Detail)
	return nil
}

func (b *batch) putDocument(d *storage.Document) error {
	if d.Kind == "" || d.Name == "" || d.Damaged {
		return fmt.Errorf("document %q of kind %q: %w", d.Name, d.Kind, storage.ErrInvalid)
	}
	if d.Value == "" {
		b.add(deleteDocument, d.Kind, d.Name)
	} else {
		b.addOne(putDocument, d.Kind, d.Name, d.Value)
	}
	return nil
}

func (b *batch) putHistory(op *storage.PutHistory) error {
	if len(op.Data) == 0 || len(op.Data) > storage.MaxChunk {
		return fmt.Errorf("history of %d bytes: %w", len(op.Data), storage.ErrInvalid)
	}
	if _, err := b.topic(op.Series.Topic); err != nil {
		return err
	}
	if id := op.Series.Group; id != 0 {
		g, err := b.group(id)
		if err != nil {
			return err
		}
		if g.topic.id != op.Series.Topic {
			return fmt.Errorf("group %d of topic %d: %w", id, op.Series.Topic, storage.ErrNotFound)
		}
	}
	b.addOne(insertHistory, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.Data)
	return nil
}
