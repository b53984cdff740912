package sqlite

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

const (
	offsetBits = 40
	// maxTopic is the largest topic id whose keys fit a 64-bit integer.
	maxTopic = 1<<23 - 1
)

func keyOf(t storage.TopicID, offset int64) int64 { return int64(t)<<offsetBits + offset }

func offsetOf(key int64) int64 { return key & storage.MaxOffset }

// catalog is what the writing goroutine knows about the database: as much as it
// takes to decide whether an op is allowed. Between two commits it says the
// same as the tables. Only that goroutine touches it.
type catalog struct {
	topics  map[storage.TopicID]*topic
	names   map[string]*topic // by folded name
	groups  map[storage.GroupID]*group
	dropped map[int64]int64 // lo → hi of the table "dropped"
	fresh   fresh

	// The ids given last, also those of what was removed since.
	lastTopic, lastGroup, lastJournal, lastAudit int64

	undo []change // since the last forget, oldest first
}

// change is how to take one back: of the marks of a topic, which is frequent, or any
// other. Whatever readers are shown of a topic has a change with it: see recent.
type change struct {
	topic  *topic // nil if it is another
	before marks
	undo   func()
}

type topic struct {
	id     storage.TopicID
	name   string // folded
	kind   storage.Kind
	groups map[string]*group
	marks
	changed bool // in batch.changed
	damaged bool // its row stays as it is: see storage.Topic.Damage
	cut     bool // nothing can be appended to its blocks: a page there makes no sense. It stays so until the next start
}

// marks are the numbers of a topic that move with its messages.
type marks struct {
	first, next, lastTime int64
	total                 int64 // Record.Size of all messages below next, ever
	dropped               int64 // of these, the ones below first
	rows                  int64 // offset of the oldest message that still has a row, at most first
	lost                  int64 // an operator knows that messages at the end of the log up to here are lost
	stored                int64 // next, as the topic's row says it

	pieces []piece // the end of the log, if it is fresh
	fresh  int64   // about what they take in a block, in bytes
}

type group struct {
	id    storage.GroupID
	topic *topic
	name  string // folded
	epoch int64
}

func (p *catalog) onUndo(f func()) { p.undo = append(p.undo, change{undo: f}) }

// back takes back all changes after the first n.
func (p *catalog) back(n int) {
	for len(p.undo) > n {
		last := len(p.undo) - 1
		if c := &p.undo[last]; c.topic != nil {
			c.topic.marks = c.before
		} else {
			c.undo()
		}
		p.undo[last] = change{}
		p.undo = p.undo[:last]
	}
}

// forget makes the changes so far final.
func (p *catalog) forget() {
	clear(p.undo)
	p.undo = p.undo[:0]
}

// nextID gives the id after the last one.
func (p *catalog) nextID(last *int64) int64 {
	*last++
	p.onUndo(func() { *last-- })
	return *last
}

func (p *catalog) topic(id storage.TopicID) (*topic, error) {
	t := p.topics[id]
	if t == nil {
		return nil, fmt.Errorf("topic %d: %w", id, storage.ErrNotFound)
	}
	return t, nil
}

func (p *catalog) group(id storage.GroupID) (*group, error) {
	g := p.groups[id]
	if g == nil {
		return nil, fmt.Errorf("group %d: %w", id, storage.ErrNotFound)
	}
	return g, nil
}

// groupAt is group, for ops that hold only in one epoch.
func (p *catalog) groupAt(id storage.GroupID, epoch int64) (*group, error) {
	g, err := p.group(id)
	if err == nil && g.epoch != epoch {
		return nil, fmt.Errorf("group %d in epoch %d, not %d: %w", id, g.epoch, epoch, storage.ErrConflict)
	}
	return g, err
}

func (p *catalog) addTopic(t *topic) {
	p.topics[t.id], p.names[t.name] = t, t
	p.onUndo(func() { p.cutTopic(t) })
}

func (p *catalog) removeTopic(t *topic) {
	p.cutTopic(t)
	for _, g := range t.groups {
		delete(p.groups, g.id)
	}
	p.onUndo(func() {
		p.topics[t.id], p.names[t.name] = t, t
		for _, g := range t.groups {
			p.groups[g.id] = g
		}
	})
}

func (p *catalog) cutTopic(t *topic) {
	delete(p.topics, t.id)
	delete(p.names, t.name)
}

func (p *catalog) addGroup(g *group) {
	p.groups[g.id], g.topic.groups[g.name] = g, g
	p.onUndo(func() { p.cutGroup(g) })
}

func (p *catalog) removeGroup(g *group) {
	p.cutGroup(g)
	p.onUndo(func() { p.groups[g.id], g.topic.groups[g.name] = g, g })
}

func (p *catalog) cutGroup(g *group) {
	delete(p.groups, g.id)
	delete(g.topic.groups, g.name)
}

func (p *catalog) raiseEpoch(g *group) {
	before := g.epoch
	g.epoch++
	p.onUndo(func() { g.epoch = before })
}

// setDropped sets the span of dropped keys that starts at lo; hi = lo removes it.
func (p *catalog) setDropped(lo, hi int64) {
	before, was := p.dropped[lo]
	if hi == lo {
		delete(p.dropped, lo)
	} else {
		p.dropped[lo] = hi
	}
	p.onUndo(func() {
		delete(p.dropped, lo)
		if was {
			p.dropped[lo] = before
		}
	})
}
