package postgres

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// catalog is what the writing goroutine knows about the database: as much as it takes to decide
// whether an op is allowed. Between two commits it says the same as the tables. Only that goroutine
// touches it.
type catalog struct {
	topics  map[storage.TopicID]*topic
	names   map[string]*topic // by folded name
	groups  map[storage.GroupID]*group
	dropped map[span]int64 // → hi of the table "dropped"
	last    map[string]int64

	undo []change // since the last forget, oldest first
}

// span is where a row of the table "dropped" begins.
type span struct {
	topic storage.TopicID
	lo    int64
}

// The kinds of ids.
const (
	topicIDs   = "topic"
	groupIDs   = "group"
	journalIDs = "journal"
	auditIDs   = "audit"
)

// change is how to take one back: of the marks of a topic, which is frequent, or any other. Whatever
// readers are shown of a topic has a change with it.
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
}

// marks are the numbers of a topic that move with its messages.
type marks struct {
	first, next, lastTime int64
	total                 int64 // Record.Size of all messages below next, ever
	dropped               int64 // of these, the ones below first
	rows                  int64 // offset of the oldest message that still has a row, at most first
}

type group struct {
	id    storage.GroupID
	topic *topic
	name  string // folded
	epoch int64
}

func newCatalog() *catalog {
	return &catalog{
		topics: map[storage.TopicID]*topic{}, names: map[string]*topic{}, groups: map[storage.GroupID]*group{},
		dropped: map[span]int64{}, last: map[string]int64{},
	}
}

func (p *catalog) onUndo(f func()) { p.undo = append(p.undo, change{undo: f}) }

// touch has to be called before the marks of a topic are changed.
func (p *catalog) touch(t *topic) { p.undo = append(p.undo, change{topic: t, before: t.marks}) }

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
func (p *catalog) nextID(kind string) int64 {
	p.last[kind]++
	p.onUndo(func() { p.last[kind]-- })
	return p.last[kind]
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
	g.epoch++
	p.onUndo(func() { g.epoch-- })
}

// setDropped sets the span of dropped offsets that starts at a place; hi = lo removes it.
func (p *catalog) setDropped(at span, hi int64) {
	before, was := p.dropped[at]
	if hi == at.lo {
		delete(p.dropped, at)
	} else {
		p.dropped[at] = hi
	}
	p.onUndo(func() {
		delete(p.dropped, at)
		if was {
			p.dropped[at] = before
		}
	})
}
