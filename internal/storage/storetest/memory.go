package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Memory is a [storage.Store] that keeps everything in maps. It is made to be
// obviously right, not fast or small: stores are compared with it, and tests of
// what works on top of a store use it. It stays as it is when it is closed, and
// can be used again.
type Memory struct {
	mu    sync.RWMutex // held by every method for its whole length
	state memoryState
}

var (
	_ storage.Store  = (*Memory)(nil)
	_ storage.Syncer = (*Memory)(nil)
)

// memoryState is all that a Memory holds. A copy made by clone shares records
// and lists with the original, which are only ever appended to.
type memoryState struct {
	topics  map[storage.TopicID]memoryTopic
	groups  map[storage.GroupID]memoryGroup
	dead    int // rows of removed topics and below First that wait for Purge
	journal []storage.JournalEntry
	audit   []storage.AuditEntry
	clock   storage.Clock
	papers  map[[2]string]storage.Document // by kind and name
	history []memoryChunk

	lastTopic storage.TopicID
	lastGroup storage.GroupID
}

type memoryChunk struct {
	storage.HistoryChunk
	of storage.Series
}

type memoryTopic struct {
	storage.Topic
	records []storage.Record // from First to Next
	kept    []storage.KeptIDs
}

type memoryGroup struct {
	storage.Group
	parked map[int64]storage.Parked // by offset; replaced, never changed
}

// NewMemory creates an empty Memory.
func NewMemory() *Memory {
	return &Memory{state: memoryState{
		topics: map[storage.TopicID]memoryTopic{},
		groups: map[storage.GroupID]memoryGroup{},
		papers: map[[2]string]storage.Document{},
	}}
}

func (s *memoryState) clone() memoryState {
	c := *s
	c.topics, c.groups, c.papers = maps.Clone(s.topics), maps.Clone(s.groups), maps.Clone(s.papers)
	c.history = slices.Clip(s.history)
	return c
}

// Commit implements [storage.Store]. Its error is always nil.
func (m *Memory) Commit(ops []storage.Op) ([]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := make([]error, len(ops))
	for i, op := range ops {
		errs[i] = m.commit(op)
	}
	return errs, nil
}

func (m *Memory) commit(op storage.Op) error {
	atomic, ok := op.(*storage.Atomic)
	if !ok {
		return m.state.apply(op)
	}
	trial := m.state.clone()
	for _, op := range atomic.Ops {
		if err := trial.apply(op); err != nil {
			return err
		}
	}
	m.state = trial
	return nil
}

// Sync implements [storage.Syncer].
func (m *Memory) Sync() error { return nil }

// SyncDue implements [storage.Syncer].
func (m *Memory) SyncDue() bool { return true }

// Close implements [storage.Store].
func (m *Memory) Close() error { return nil }

// Load implements [storage.Store].
func (m *Memory) Load(context.Context) (storage.State, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := storage.State{Clock: m.state.clock}
	for _, id := range slices.Sorted(maps.Keys(m.state.topics)) {
		s.Topics = append(s.Topics, m.state.topics[id].Topic)
		s.Kept = append(s.Kept, m.state.topics[id].kept...)
	}
	for _, id := range slices.Sorted(maps.Keys(m.state.groups)) {
		g := m.state.groups[id]
		group := g.Group
		group.Settled = slices.Clone(group.Settled)
		s.Groups = append(s.Groups, group)
		for _, offset := range slices.Sorted(maps.Keys(g.parked)) {
			s.Parked = append(s.Parked, g.parked[offset])
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(m.state.papers), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		s.Documents = append(s.Documents, m.state.papers[key])
	}
	return s, nil
}

// Read implements [storage.Store].
func (m *Memory) Read(_ context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, ok := m.state.topics[topic]
	if !ok {
		return dst, fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	}
	var size int64
	start := min(max(from, t.First), t.Next)
	for i, r := range t.records[start-t.First:] {
		if i == max(page.Rows, 1) || page.Bytes > 0 && size >= page.Bytes {
			break
		}
		if page.Brief {
			r.Body, r.Omitted = nil, len(r.Body)
		}
		dst = append(dst, r)
		size += r.Size()
	}
	return dst, nil
}

// OffsetAt implements [storage.Store].
func (m *Memory) OffsetAt(_ context.Context, topic storage.TopicID, time int64) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, ok := m.state.topics[topic]
	if !ok {
		return 0, fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	}
	i, _ := slices.BinarySearchFunc(t.records, time, func(r storage.Record, time int64) int {
		return cmp.Compare(r.Time, time)
	})
	return t.First + int64(i), nil
}

// BytesFrom implements [storage.Store].
func (m *Memory) BytesFrom(_ context.Context, topic storage.TopicID, offset int64) (size int64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, ok := m.state.topics[topic]
	if !ok {
		return 0, fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	}
	for i := range t.records {
		if t.records[i].Offset >= offset {
			size += t.records[i].Size()
		}
	}
	return size, nil
}

// FindID implements [storage.Store].
func (m *Memory) FindID(_ context.Context, topic storage.TopicID, id string) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, r := range slices.Backward(m.state.topics[topic].records) {
		if r.ID == id && id != "" {
			return r.Offset, nil
		}
	}
	return 0, fmt.Errorf("message %q of topic %d: %w", id, topic, storage.ErrNotFound)
}

// Journal implements [storage.Store].
func (m *Memory) Journal(_ context.Context, group storage.GroupID, before int64, limit int) (list []storage.JournalEntry, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range slices.Backward(m.state.journal) {
		if e.Group == group && (before <= 0 || e.ID < before) && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, nil
}

// Entry implements [storage.Store].
func (m *Memory) Entry(_ context.Context, id int64) (storage.JournalEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range m.state.journal {
		if e.ID == id {
			return e, nil
		}
	}
	return storage.JournalEntry{}, storage.ErrNotFound
}

// Audit implements [storage.Store].
func (m *Memory) Audit(_ context.Context, before int64, limit int) (list []storage.AuditEntry, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range slices.Backward(m.state.audit) {
		if (before <= 0 || e.ID < before) && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, nil
}

// History implements [storage.Store].
func (m *Memory) History(_ context.Context, of storage.Series, least, most uint8) (list []storage.HistoryChunk, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, k := range m.state.history {
		if k.of == of && k.Level >= least && k.Level <= most {
			list = append(list, k.HistoryChunk)
		}
	}
	slices.SortStableFunc(list, func(a, b storage.HistoryChunk) int { return cmp.Compare(b.Level, a.Level) })
	return list, nil
}

// HistorySizes implements [storage.Store].
func (m *Memory) HistorySizes(context.Context) (list []storage.HistorySize, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, k := range m.state.history {
		i := slices.IndexFunc(list, func(s storage.HistorySize) bool { return s.Series == k.of })
		if i < 0 {
			i, list = len(list), append(list, storage.HistorySize{Series: k.of})
		}
		list[i].Bytes += int64(len(k.Data)) + storage.ChunkCost
		list[i].Last = k.ID
	}
	return list, nil
}

// same tells whether two names count as one: ASCII letters match in either case.
func same(a, b string) bool {
	lower := func(s string) string {
		b := []byte(s)
		for i, c := range b {
			if 'A' <= c && c <= 'Z' {
				b[i] = c + 'a' - 'A'
			}
		}
		return string(b)
	}
	return lower(a) == lower(b)
}
