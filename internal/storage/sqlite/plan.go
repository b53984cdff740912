package sqlite

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxRecord is the largest record that is tried, in bytes. SQLite itself takes
// rows of up to 10⁹ bytes.
const maxRecord = 512 << 20

// plan checks an op against the catalog and queues what it takes to do it. A
// refused op leaves no trace.
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
	case *storage.Accept:
		return b.accept(op)
	case *storage.Audit:
		return b.audit(op.Entry)
	case *storage.PutDocument:
		return b.putDocument(&op.Document)
	case *storage.PutHistory:
		return b.putHistory(op)
	case *storage.DropHistory:
		b.add(deleteHistory, anyRows, int64(op.Series.Topic), int64(op.Series.Group), int64(op.Level), op.To)
		return nil
	case *storage.ForgetHistory:
		b.add(deleteGroupHistory, anyRows, int64(op.Series.Topic), int64(op.Series.Group))
		return nil
	case *storage.SaveClock:
		c := op.Clock
		b.add(putClock, 1, c.Boot, c.Since, c.Last, c.Ahead, c.Jump, c.Held, clockSum(&c))
		return nil
	}
	return fmt.Errorf("op of type %T here: %w", op, storage.ErrInvalid)
}

func (b *batch) append(op *storage.Append) error {
	t, err := b.topic(op.Topic)
	if err != nil {
		return err
	}
	if t.cut {
		return cutOffError(t)
	}
	if int64(len(op.Records)) > storage.MaxOffset+1-t.next {
		return fmt.Errorf("topic %d: offsets used up: %w", op.Topic, storage.ErrInvalid)
	}
	if len(op.Records) == 0 {
		return nil
	}
	size := int64(0)
	for i := range op.Records {
		n := op.Records[i].Size()
		if n > maxRecord {
			return fmt.Errorf("record of %d bytes: %w", n, storage.ErrInvalid)
		}
		size += n
	}
	if b.refuse || size > b.largest {
		return errLow
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
		b.rows = append(b.rows, row{keyOf(t.id, r.Offset), t.total, r})
	}
	return nil
}

func (b *batch) createTopic(n *storage.Topic) error {
	switch {
	case n == nil || n.Name == "" || n.First != n.Next || n.Next < 0 || n.Next > storage.MaxOffset+1 || n.Bytes != 0:
		return fmt.Errorf("definition of topic: %w", storage.ErrInvalid)
	case b.names[storage.Fold(n.Name)] != nil:
		return fmt.Errorf("topic %q: %w", n.Name, storage.ErrExists)
	case b.lastTopic >= maxTopic:
		return fmt.Errorf("topic ids used up: %w", storage.ErrInvalid)
	}
	n.ID = storage.TopicID(b.nextID(&b.lastTopic))
	b.addTopic(&topic{
		id: n.ID, name: storage.Fold(n.Name), kind: n.Kind, groups: map[string]*group{},
		marks: marks{first: n.First, next: n.Next, lastTime: n.LastTime, rows: n.First, stored: n.Next},
	})
	t := b.topics[n.ID]
	b.touch(t)
	b.add(insertTopic, 1, int64(n.ID), n.Name, n.LegacyMask, n.Creator, n.Created, n.Updated,
		n.First, int64(0), n.Next, int64(0), n.LastTime, n.Retention.MaxAge, n.Retention.MaxCount, n.Retention.MaxBytes,
		truth(!n.Kind.Stored()), truth(n.Paused), topicSum(n), int64(0), topicPlaceSum(n.ID, &t.marks),
		n.Kind.String(), truth(n.Replies), n.Owner)
	return nil
}

func (b *batch) alterTopic(op *storage.AlterTopic) error {
	t, err := b.topic(op.Topic)
	if err != nil {
		return err
	}
	r := op.Retention
	sum := topicSum(&storage.Topic{ID: t.id, Name: t.name, Kind: t.kind, Replies: op.Replies, LegacyMask: op.LegacyMask, Retention: r, Paused: op.Paused, Owner: op.Owner})
	b.add(alterTopic, 1, int64(op.Topic), op.LegacyMask, r.MaxAge, r.MaxCount, r.MaxBytes, op.Updated, truth(op.Paused),
		t.kind.String(), truth(op.Replies), sum, op.Owner) // a damaged row of an older schema has no kind
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
	b.add(deleteTopicParked, anyRows, id)
	b.add(deleteTopicGroups, int64(len(t.groups)), id)
	b.add(deleteTopicKept, anyRows, id)
	b.add(deleteTopicHistory, anyRows, id)
	b.add(deleteTopic, 1, id)
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
	b.keepIDs(op)
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
		b.setDropped(keyOf(t.id, t.rows), keyOf(t.id, hi))
		b.add(putDropped, 1, keyOf(t.id, t.rows), keyOf(t.id, hi))
	}
}

// purge works off the starts of dropped spans. Spans have no holes, so the keys
// say how many messages go. A block goes with its last message.
func (b *batch) purge(op *storage.Purge) error {
	op.Deleted = 0
	left := int64(op.Limit)
	if left < 1 {
		return fmt.Errorf("purge of %d messages: %w", op.Limit, storage.ErrInvalid)
	}
	for lo, hi := range b.dropped {
		end := min(hi, lo+left)
		left -= end - lo
		op.Deleted += int(end - lo)
		b.setDropped(lo, lo)
		b.add(deleteDropped, 1, lo)
		if end < hi {
			b.setDropped(end, hi)
			b.add(putDropped, 1, end, hi)
		}
		if t := b.topics[storage.TopicID(lo>>offsetBits)]; t != nil {
			b.touch(t)
			t.rows += end - lo
		}
		before := max(lo-maxBlockRows, lo&^storage.MaxOffset-1)
		if b.purges = true; !b.leave {
			b.add(deleteContents, anyRows, lo, end, before).rows = len(b.rows)
			b.add(deleteBlocks, anyRows, lo, end, before)
		}
		if left == 0 {
			break
		}
	}
	return nil
}

// accept writes the rows of a damaged topic and its groups anew.
func (b *batch) accept(op *storage.Accept) error {
	t, err := b.topic(op.Topic.ID)
	if err != nil {
		return err
	}
	if !t.damaged || op.Topic.Next < t.next {
		return fmt.Errorf("topic %d is not damaged, or has more messages: %w", t.id, storage.ErrInvalid)
	}
	if t.cut {
		return cutOffError(t)
	}
	b.touch(t)
	b.onUndo(func() { t.damaged = true })
	t.damaged, t.next, t.lost = false, op.Topic.Next, op.Topic.Next
	b.store(t)
	n := op.Topic
	if err := b.alterTopic(&storage.AlterTopic{Topic: n.ID, Replies: n.Replies, LegacyMask: n.LegacyMask, Retention: n.Retention, Paused: n.Paused, Owner: n.Owner, Updated: n.Updated}); err != nil {
		return err
	}
	for _, g := range op.Groups {
		if err := b.alterGroup(&storage.AlterGroup{Group: g}); err != nil {
			return err
		}
		if err := b.saveProgress(&storage.SaveProgress{Group: g.ID, Epoch: g.Epoch, Position: g.Progress}); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) audit(e *storage.AuditEntry) error {
	if e == nil {
		return fmt.Errorf("audit without an entry: %w", storage.ErrInvalid)
	}
	e.ID = b.nextID(&b.lastAudit)
	b.add(insertAudit, 1, e.ID, e.Time, e.Actor.Name, e.Action, e.Target, e.Detail, e.Actor.Address, e.Actor.Token)
	return nil
}

func (b *batch) putDocument(d *storage.Document) error {
	if d.Kind == "" || d.Name == "" || d.Damaged {
		return fmt.Errorf("document %q of kind %q: %w", d.Name, d.Kind, storage.ErrInvalid)
	}
	if d.Value == "" {
		b.add(deleteDocument, anyRows, d.Kind, d.Name)
	} else {
		b.add(putDocument, 1, d.Kind, d.Name, d.Value, documentSum(d))
	}
	return nil
}

// truth is how a bool is stored.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
