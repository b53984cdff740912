package rules

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// IDs is a kind of ids that a store gives.
type IDs int

// The kinds of ids.
const (
	TopicIDs IDs = iota
	GroupIDs
	JournalIDs
	AuditIDs
	Kinds // how many there are
)

// Catalog is what the writing goroutine of a store knows about the database: as much as it takes to
// decide whether an op is allowed. Between two commits it says the same as the tables. Only that
// goroutine touches it.
type Catalog[R any] struct {
	Topics   map[storage.TopicID]*Topic[R]
	Names    map[string]*Topic[R] // by folded name
	Groups   map[storage.GroupID]*Group[R]
	Dropped  map[Span]int64 // → the end of what can be deleted
	Last     [Kinds]int64   // the ids given last, also those of what was removed since
	MaxTopic int64          // the largest id that a topic can have
	Undo     []Change[R]    // since the last Forget, oldest first
	Changed  []*Topic[R]    // whose marks are to be stored
}

// Span is where messages begin that can no longer be reached, and can be deleted.
type Span struct {
	Topic storage.TopicID
	Lo    int64 // offset
}

// Change is how to take one back: of the marks of a topic, which is frequent, or any other. Whatever
// readers are shown of a topic has a change with it.
type Change[R any] struct {
	Topic  *Topic[R] // nil if it is another
	before Marks[R]
	undo   func()
}

// Topic is a topic. What an op can change is changed by the methods of its Catalog.
type Topic[R any] struct {
	ID     storage.TopicID
	Name   string // folded
	Kind   storage.Kind
	Groups map[string]*Group[R] // by folded name
	Marks[R]
	Damaged bool // its row stays as it is: see storage.Topic.Damage
	Cut     bool // nothing can be appended to its blocks. It stays so until the next start
	changed bool // in Catalog.Changed
}

// Marks are the numbers of a topic that move with its messages.
type Marks[R any] struct {
	First, Next, LastTime int64
	Total                 int64 // Record.Size of all messages below Next, ever
	Dropped               int64 // of these, the ones below First
	Rows                  int64 // offset of the oldest message that still has a row, at most First
	Lost                  int64 // an operator knows that messages at the end of the log up to here are lost
	Stored                int64 // Next, as the topic's row says it

	Pieces []Piece[R] // the end of the log, if an engine has not made blocks of it yet
	Fresh  int64      // about what they take in a block, in bytes
}

// Piece is the messages that one commit appended to a topic, within a row that has such of other
// topics, too.
type Piece[R any] struct {
	First int64 // offset
	N     int32 // messages
	At    int32 // where in the row it starts
	Row   R
}

// End is the offset behind a piece.
func (p Piece[R]) End() int64 { return p.First + int64(p.N) }

// Group is a consume group.
type Group[R any] struct {
	ID    storage.GroupID
	Topic *Topic[R]
	Name  string // folded
	Epoch int64
}

// New creates a catalog for about that many topics and groups.
func New[R any](topics, groups int, maxTopic int64) Catalog[R] {
	return Catalog[R]{
		Topics: make(map[storage.TopicID]*Topic[R], topics), Names: make(map[string]*Topic[R], topics),
		Groups: make(map[storage.GroupID]*Group[R], groups), Dropped: map[Span]int64{}, MaxTopic: maxTopic,
	}
}

// Load fills a new catalog with what is stored. more sets what an engine knows besides of the topic with
// an index in topics.
func (c *Catalog[R]) Load(topics []storage.Topic, groups []storage.Group, more func(i int, t *Topic[R])) error {
	for i := range topics {
		n := &topics[i]
		t := &Topic[R]{
			ID: n.ID, Name: storage.Fold(n.Name), Kind: n.Kind, Groups: map[string]*Group[R]{},
			Marks: Marks[R]{First: n.First, Next: n.Next, LastTime: n.LastTime, Rows: n.First, Stored: n.Next},
		}
		more(i, t)
		c.addTopic(t)
	}
	for i := range groups {
		n := &groups[i]
		t := c.Topics[n.Topic]
		if t == nil {
			return fmt.Errorf("group %d has no topic: %w", n.ID, storage.ErrDamaged)
		}
		c.addGroup(&Group[R]{ID: n.ID, Topic: t, Name: storage.Fold(n.Name), Epoch: n.Epoch})
	}
	c.Forget()
	return nil
}

// LoadDropped notes a span that is stored.
func (c *Catalog[R]) LoadDropped(at Span, hi int64) {
	c.Dropped[at] = hi
	if t := c.Topics[at.Topic]; t != nil {
		t.Rows = at.Lo
	}
}

// OnUndo notes how to take a change back that an engine has made.
func (c *Catalog[R]) OnUndo(f func()) { c.Undo = append(c.Undo, Change[R]{undo: f}) }

// Touch has to be called before the marks of a topic are changed.
func (c *Catalog[R]) Touch(t *Topic[R]) {
	c.Undo = append(c.Undo, Change[R]{Topic: t, before: t.Marks})
}

// Store has the marks of a topic stored. Appending does not need it: what it changes can be read off
// the last block.
func (c *Catalog[R]) Store(t *Topic[R]) {
	if !t.changed {
		t.changed = true
		c.Changed = append(c.Changed, t)
	}
}

// Stored empties Changed.
func (c *Catalog[R]) Stored() {
	for _, t := range c.Changed {
		t.changed = false
	}
	clear(c.Changed)
	c.Changed = c.Changed[:0]
}

// Back takes back all changes after the first n. Topics stay in Changed: to store the marks that they
// had before does no harm.
func (c *Catalog[R]) Back(n int) {
	for len(c.Undo) > n {
		last := len(c.Undo) - 1
		if u := &c.Undo[last]; u.Topic != nil {
			u.Topic.Marks = u.before
		} else {
			u.undo()
		}
		c.Undo[last] = Change[R]{}
		c.Undo = c.Undo[:last]
	}
}

// Forget makes the changes so far final.
func (c *Catalog[R]) Forget() {
	clear(c.Undo)
	c.Undo = c.Undo[:0]
}

// nextID gives the id after the last one.
func (c *Catalog[R]) nextID(kind IDs) int64 {
	c.Last[kind]++
	c.OnUndo(func() { c.Last[kind]-- })
	return c.Last[kind]
}

// Topic finds a topic, or returns [storage.ErrNotFound].
func (c *Catalog[R]) Topic(id storage.TopicID) (*Topic[R], error) {
	t := c.Topics[id]
	if t == nil {
		return nil, fmt.Errorf("topic %d: %w", id, storage.ErrNotFound)
	}
	return t, nil
}

// group finds a group, or returns [storage.ErrNotFound].
func (c *Catalog[R]) group(id storage.GroupID) (*Group[R], error) {
	g := c.Groups[id]
	if g == nil {
		return nil, fmt.Errorf("group %d: %w", id, storage.ErrNotFound)
	}
	return g, nil
}

// groupAt is group, for ops that hold only in one epoch.
func (c *Catalog[R]) groupAt(id storage.GroupID, epoch int64) (*Group[R], error) {
	g, err := c.group(id)
	if err == nil && g.Epoch != epoch {
		return nil, fmt.Errorf("group %d in epoch %d, not %d: %w", id, g.Epoch, epoch, storage.ErrConflict)
	}
	return g, err
}

func (c *Catalog[R]) addTopic(t *Topic[R]) {
	c.Topics[t.ID], c.Names[t.Name] = t, t
	c.OnUndo(func() { c.cutTopic(t) })
}

func (c *Catalog[R]) removeTopic(t *Topic[R]) {
	c.cutTopic(t)
	for _, g := range t.Groups {
		delete(c.Groups, g.ID)
	}
	c.OnUndo(func() {
		c.Topics[t.ID], c.Names[t.Name] = t, t
		for _, g := range t.Groups {
			c.Groups[g.ID] = g
		}
	})
}

func (c *Catalog[R]) cutTopic(t *Topic[R]) {
	delete(c.Topics, t.ID)
	delete(c.Names, t.Name)
}

func (c *Catalog[R]) addGroup(g *Group[R]) {
	c.Groups[g.ID], g.Topic.Groups[g.Name] = g, g
	c.OnUndo(func() { c.cutGroup(g) })
}

func (c *Catalog[R]) removeGroup(g *Group[R]) {
	c.cutGroup(g)
	c.OnUndo(func() { c.Groups[g.ID], g.Topic.Groups[g.Name] = g, g })
}

func (c *Catalog[R]) cutGroup(g *Group[R]) {
	delete(c.Groups, g.ID)
	delete(g.Topic.Groups, g.Name)
}

func (c *Catalog[R]) raiseEpoch(g *Group[R]) {
	g.Epoch++
	c.OnUndo(func() { g.Epoch-- })
}

// setDropped sets the span of dropped messages that starts at a place; hi = lo removes it.
func (c *Catalog[R]) setDropped(at Span, hi int64) {
	before, was := c.Dropped[at]
	if hi == at.Lo {
		delete(c.Dropped, at)
	} else {
		c.Dropped[at] = hi
	}
	c.OnUndo(func() {
		delete(c.Dropped, at)
		if was {
			c.Dropped[at] = before
		}
	})
}
