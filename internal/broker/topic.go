package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Topic is one log and its groups. Its methods may be called by any number of
// goroutines.
type Topic struct {
	b     *Broker
	shard *shard // of the storage that has it
	id    storage.TopicID
	name  string // as first declared
	kind  storage.Kind
	log   log // of its kind

	next    atomic.Int64 // committed head: offset of the next message; grows only
	first   atomic.Int64 // oldest offset that counts; grows only
	gone    atomic.Bool  // removed; set once
	subs    atomic.Int32 // subscriptions over all groups
	paused  atomic.Bool  // nothing is delivered
	replies atomic.Bool  // see storage.Topic.Replies

	owner   atomic.Pointer[owner] // nil: it counts for no account; changed with mu held
	refusal atomic.Pointer[Error] // why nothing is published or delivered: see Refused

	published atomic.Int64 // messages since the broker started
	commits   durations    // how long they waited to be stored

	// changes serialises what changes the topic or its groups and waits for a commit:
	// declarations, removals, relocations, transactions. It is taken after Broker.names;
	// those of several topics in the order of their ids.
	changes sync.Mutex

	trimming sync.Mutex // serialises trims, which read and wait for commits
	keptTo   int64      // guarded by trimming: ids of messages below are kept in the store; 0: none

	marks  ageMarks // owned by the goroutine that does retention
	oldest oldest   // owned by it, too

	openedAt  int64       // next when the broker was opened
	recalling sync.Mutex  // serialises the search for ids of an earlier process
	recalled  atomic.Bool // that search is done

	// active holds the groups that have a pump. It is replaced as a whole (under
	// mu), so that a commit callback can walk it without a lock.
	active atomic.Pointer[[]*Group]

	mu     sync.RWMutex
	def    storage.Topic     // guarded by mu; First and Next are in the atomics above
	groups map[string]*Group // guarded by mu; key is the lower-cased name
	tail   tail              // guarded by mu
	calls  callLog           // guarded by mu; of a topic for calls

	born      int64 // guarded by mu: Broker.clock when it was declared; 0: before the start
	expecting bool  // guarded by mu: calls wait for the first provider
}

func newTopic(s *shard, def storage.Topic) *Topic {
	t := &Topic{
		b: s.b, shard: s, id: def.ID, name: def.Name, kind: def.Kind, def: def,
		groups: make(map[string]*Group),
	}
	t.log = diskLog{t}
	if t.Memory() {
		t.log = memoryLog{t}
		t.recalled.Store(true)
		// What a memory topic held is gone with the last process. Offsets continue
		// from the clock in microseconds, so that none is ever given twice.
		start := max(s.b.time.micros(), def.Next)
		def.First, def.Next, t.def.Bytes = start, start, 0
	}
	t.first.Store(def.First)
	t.next.Store(def.Next)
	t.openedAt = def.Next
	t.replies.Store(def.Replies)
	t.paused.Store(def.Paused || def.Damage != "")
	if def.Damage != "" {
		t.refusal.Store(&Error{Code: Unavailable, Err: storage.ErrDamaged, Text: damageText(def.Name, def.Damage)})
	}
	t.active.Store(new([]*Group))
	return t
}

// Name is the topic's name as it was first declared.
func (t *Topic) Name() string { return t.name }

// ID is the topic's number in the store.
func (t *Topic) ID() storage.TopicID { return t.id }

// Kind is what the topic carries.
func (t *Topic) Kind() storage.Kind { return t.kind }

// Memory reports whether the topic's messages are kept in memory only.
func (t *Topic) Memory() bool { return !t.kind.Stored() }

// First is the oldest offset that still counts.
func (t *Topic) First() int64 { return t.first.Load() }

// Next is the offset the next message will get.
func (t *Topic) Next() int64 { return t.next.Load() }

// Subscriptions is how many consumers the topic has over all groups.
func (t *Topic) Subscriptions() int { return int(t.subs.Load()) }

// Published is how many messages were stored since the broker started.
func (t *Topic) Published() int64 { return t.published.Load() }

// Definition is a copy of the topic's definition and figures.
func (t *Topic) Definition() storage.Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	def := t.def
	def.First, def.Next = t.first.Load(), t.next.Load()
	return def
}

// Removed reports whether the topic was removed; nothing can be stored in it any
// more.
func (t *Topic) Removed() bool { return t.gone.Load() }

// lasting is a position as it is stored: one in a memory topic means nothing to the next process.
func (t *Topic) lasting(p storage.Progress) storage.Progress {
	if t.Memory() {
		return storage.Progress{}
	}
	return p
}

// Calls reports whether the topic's messages are requests that a consumer
// answers to their sender (RPC and proxy topics).
func (t *Topic) Calls() bool { return t.kind.Calls() }

// Unacked reports whether publishes to the topic have no answer of their own: a consumer
// answers each, or may.
func (t *Topic) Unacked() bool { return t.kind.Calls() || t.replies.Load() }

// Group finds a group by name without regard to case; "" means the default
// group, which is named like the topic.
func (t *Topic) group(name string) (*Group, error) {
	key := name
	if name == "" {
		key = t.name
	}
	t.mu.RLock()
	g := t.groups[fold(key)]
	t.mu.RUnlock()
	if g == nil {
		return nil, groupNotFound(key)
	}
	return g, nil
}

// Groups lists the topic's groups by name.
func (t *Topic) Groups() []*Group {
	t.mu.RLock()
	gs := make([]*Group, 0, len(t.groups))
	for _, g := range t.groups {
		gs = append(gs, g)
	}
	t.mu.RUnlock()
	slices.SortFunc(gs, func(x, y *Group) int { return strings.Compare(x.name, y.name) })
	return gs
}

// wake tells every group that has consumers to look for new messages.
func (t *Topic) wake() {
	for _, g := range *t.active.Load() {
		g.wakeUp()
	}
}

// setActive adds a group to, or removes it from, those that are woken.
func (t *Topic) setActive(g *Group, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.active.Load()
	groups := make([]*Group, 0, len(old)+1)
	for _, x := range old {
		if x != g {
			groups = append(groups, x)
		}
	}
	if on {
		groups = append(groups, g)
	}
	t.active.Store(&groups)
}

// view returns committed records from an offset on, as far as they are in
// memory, or nil.
func (t *Topic) view(from int64) []storage.Record {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.tail.view(from)
}

// load reads records from an offset on, from memory or from the store.
func (t *Topic) load(ctx context.Context, from int64, page storage.Page) ([]storage.Record, error) {
	if recs := t.view(from); recs != nil {
		return recs[:min(len(recs), page.Rows)], nil
	}
	return t.log.read(ctx, from, page)
}

// upTo shortens a record that stands for missing messages to those below an offset.
func upTo(recs []storage.Record, offset int64) {
	if n := len(recs); n > 0 && recs[n-1].Missing > offset-recs[n-1].Offset {
		recs[n-1].Missing = max(1, offset-recs[n-1].Offset)
	}
}

// Message reads one message by its offset.
func (t *Topic) Message(ctx context.Context, offset int64) (*storage.Record, error) {
	if offset >= t.First() && offset < t.Next() {
		recs, err := t.load(ctx, offset, storage.Page{Rows: 1})
		if err != nil {
			return nil, err
		}
		if len(recs) > 0 && recs[0].Offset == offset {
			upTo(recs[:1], offset+1)
			return &recs[0], nil
		}
	}
	return nil, errorf(NotFound, "Topic(%s) has no message at offset %d", t.name, offset)
}

// Read lists messages from an offset on without consuming them. Fewer than
// page.Rows may come although more follow; none means the end of the log.
func (t *Topic) Read(ctx context.Context, from int64, page storage.Page) ([]storage.Record, error) {
	from = max(from, t.First())
	if from >= t.Next() {
		return nil, nil
	}
	return t.load(ctx, from, page)
}
