package rules

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxRecord is the largest record that is tried, in bytes: both SQLite and PostgreSQL take values of
// about twice that.
const maxRecord = 512 << 20

// Tables are an engine's. Each method has something stored that is allowed, and what it is called with
// is already so in the catalog.
type Tables[R any] interface {
	InsertTopic(t *Topic[R], n *storage.Topic)
	AlterTopic(t *Topic[R], op *storage.AlterTopic)
	DeleteTopic(t *Topic[R])  // with all that belongs to it but its messages and its groups' journals
	KeepIDs(op *storage.Trim) // and forget those that it says
	PutDropped(at Span, hi int64)
	DeleteDropped(at Span)
	DeleteBlocks(at Span, hi int64) // that end there

	InsertGroup(g *Group[R], n *storage.Group)
	AlterGroup(g *Group[R], n *storage.Group)
	DeleteGroup(g *Group[R]) // with all that belongs to it but its journal
	MoveGroup(g *Group[R], op *storage.SaveProgress)
	RelocateGroup(g *Group[R], to *storage.Progress, now int64)

	InsertJournal(e *storage.JournalEntry)
	InsertAudit(e *storage.AuditEntry)
	PutDocument(d *storage.Document) // or delete it: see [storage.PutDocument]
	PutClock(c *storage.Clock)

	InsertHistory(op *storage.PutHistory) error
	DeleteHistory(op *storage.DropHistory)
	ForgetHistory(of storage.Series)
}

// Each plans the ops of an Atomic. After an error the caller takes back what was planned.
func Each(atomic *storage.Atomic, plan func(storage.Op) error) error {
	for i, op := range atomic.Ops {
		if err := plan(op); err != nil {
			return fmt.Errorf("op %d of %d: %w", i+1, len(atomic.Ops), err)
		}
	}
	return nil
}

// Appended checks an Append, and says for which topic it is and the size of its records. [Marks.Append]
// does the rest.
func (c *Catalog[R]) Appended(op *storage.Append) (t *Topic[R], size int64, err error) {
	if t, err = c.Topic(op.Topic); err != nil {
		return nil, 0, err
	}
	if int64(len(op.Records)) > storage.MaxOffset+1-t.Next {
		return nil, 0, fmt.Errorf("topic %d: offsets used up: %w", op.Topic, storage.ErrInvalid)
	}
	for i := range op.Records {
		n := op.Records[i].Size()
		if n > maxRecord {
			return nil, 0, fmt.Errorf("record of %d bytes: %w", n, storage.ErrInvalid)
		}
		size += n
	}
	return t, size, nil
}

// Append gives the next record of a topic its place there.
func (m *Marks[R]) Append(topic storage.TopicID, r *storage.Record, sums *storage.Summer) {
	r.Offset = m.Next
	r.Time = max(r.Time, m.LastTime)
	r.CRC = sums.Checksum(topic, r)
	m.Next++
	m.LastTime = r.Time
	m.Total += r.Size()
}

// Plan checks an op, changes the catalog, and queues what stores it. A refused op leaves no trace. Append,
// Accept and Atomic are the engine's.
func (c *Catalog[R]) Plan(op storage.Op, to Tables[R]) error {
	switch op := op.(type) {
	case *storage.SaveProgress:
		return c.saveProgress(op, to)
	case *storage.CreateTopic:
		return c.createTopic(op.Topic, to)
	case *storage.AlterTopic:
		t, err := c.Topic(op.Topic)
		if err == nil {
			to.AlterTopic(t, op)
		}
		return err
	case *storage.RemoveTopic:
		return c.dropTopic(op, to)
	case *storage.Trim:
		return c.trim(op, to)
	case *storage.Purge:
		return c.purge(op, to)
	case *storage.CreateGroup:
		return c.createGroup(op, to)
	case *storage.AlterGroup:
		return c.alterGroup(op, to)
	case *storage.RemoveGroup:
		g, err := c.group(op.Group)
		if err == nil {
			c.removeGroup(g)
			to.DeleteGroup(g)
		}
		return err
	case *storage.Relocate:
		return c.relocate(op, to)
	}
	return c.planOther(op, to)
}

// planOther is Plan for what is of no topic, or of its history.
func (c *Catalog[R]) planOther(op storage.Op, to Tables[R]) error {
	switch op := op.(type) {
	case *storage.Audit:
		if op.Entry == nil {
			return fmt.Errorf("audit without an entry: %w", storage.ErrInvalid)
		}
		op.Entry.ID = c.nextID(AuditIDs)
		to.InsertAudit(op.Entry)
	case *storage.PutDocument:
		if d := &op.Document; d.Kind == "" || d.Name == "" || d.Damaged {
			return fmt.Errorf("document %q of kind %q: %w", d.Name, d.Kind, storage.ErrInvalid)
		}
		to.PutDocument(&op.Document)
	case *storage.PutHistory:
		return c.putHistory(op, to)
	case *storage.DropHistory:
		to.DeleteHistory(op)
	case *storage.ForgetHistory:
		to.ForgetHistory(op.Series)
	case *storage.SaveClock:
		to.PutClock(&op.Clock)
	default:
		return fmt.Errorf("op of type %T here: %w", op, storage.ErrInvalid)
	}
	return nil
}

func (c *Catalog[R]) createTopic(n *storage.Topic, to Tables[R]) error {
	switch {
	case n == nil || n.Name == "" || n.First != n.Next || n.Next < 0 || n.Next > storage.MaxOffset+1 || n.Bytes != 0:
		return fmt.Errorf("definition of topic: %w", storage.ErrInvalid)
	case c.Names[storage.Fold(n.Name)] != nil:
		return fmt.Errorf("topic %q: %w", n.Name, storage.ErrExists)
	case c.Last[TopicIDs] >= c.MaxTopic:
		return fmt.Errorf("topic ids used up: %w", storage.ErrInvalid)
	}
	n.ID = storage.TopicID(c.nextID(TopicIDs))
	t := &Topic[R]{
		ID: n.ID, Name: storage.Fold(n.Name), Kind: n.Kind, Groups: map[string]*Group[R]{},
		Marks: Marks[R]{First: n.First, Next: n.Next, LastTime: n.LastTime, Rows: n.First, Stored: n.Next},
	}
	c.addTopic(t)
	c.Touch(t)
	to.InsertTopic(t, n)
	return nil
}

func (c *Catalog[R]) dropTopic(op *storage.RemoveTopic, to Tables[R]) error {
	t, err := c.Topic(op.Topic)
	if err != nil {
		return err
	}
	c.removeTopic(t)
	c.Touch(t)
	to.DeleteTopic(t)
	c.drop(t, t.Next, to)
	return nil
}

func (c *Catalog[R]) trim(op *storage.Trim, to Tables[R]) error {
	t, err := c.Topic(op.Topic)
	if err != nil {
		return err
	}
	first := min(op.First, t.Next)
	if bytes := t.Total - t.Dropped; first > t.First && (op.Bytes < 0 || op.Bytes > bytes) {
		return fmt.Errorf("trim of %d bytes out of %d: %w", op.Bytes, bytes, storage.ErrInvalid)
	}
	to.KeepIDs(op)
	if first <= t.First {
		return nil
	}
	c.Touch(t)
	c.Store(t)
	t.First = first
	t.Dropped += op.Bytes
	c.drop(t, first, to)
	return nil
}

// drop notes that the messages of t below hi can go.
func (c *Catalog[R]) drop(t *Topic[R], hi int64, to Tables[R]) {
	if hi > t.Rows {
		at := Span{t.ID, t.Rows}
		c.setDropped(at, hi)
		to.PutDropped(at, hi)
	}
}

// purge works off the starts of dropped spans. Spans have no holes, so the offsets say how many
// messages go. A block goes with its last message.
func (c *Catalog[R]) purge(op *storage.Purge, to Tables[R]) error {
	op.Deleted = 0
	left := int64(op.Limit)
	if left < 1 {
		return fmt.Errorf("purge of %d messages: %w", op.Limit, storage.ErrInvalid)
	}
	for at, hi := range c.Dropped {
		end := min(hi, at.Lo+left)
		left -= end - at.Lo
		op.Deleted += int(end - at.Lo)
		c.setDropped(at, at.Lo)
		to.DeleteDropped(at)
		if rest := (Span{at.Topic, end}); end < hi {
			c.setDropped(rest, hi)
			to.PutDropped(rest, hi)
		}
		if t := c.Topics[at.Topic]; t != nil {
			c.Touch(t)
			t.Rows += end - at.Lo
		}
		to.DeleteBlocks(at, end)
		if left == 0 {
			break
		}
	}
	return nil
}

func (c *Catalog[R]) putHistory(op *storage.PutHistory, to Tables[R]) error {
	if len(op.Data) == 0 || len(op.Data) > storage.MaxChunk {
		return fmt.Errorf("history of %d bytes: %w", len(op.Data), storage.ErrInvalid)
	}
	if _, err := c.Topic(op.Series.Topic); err != nil {
		return err
	}
	if id := op.Series.Group; id != 0 {
		g, err := c.group(id)
		if err != nil {
			return err
		}
		if g.Topic.ID != op.Series.Topic {
			return fmt.Errorf("group %d of topic %d: %w", id, op.Series.Topic, storage.ErrNotFound)
		}
	}
	return to.InsertHistory(op)
}
