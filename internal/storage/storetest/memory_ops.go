package storetest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// apply makes one change, or returns an error and changes nothing.
func (s *memoryState) apply(op storage.Op) error {
	switch op := op.(type) {
	case *storage.Append:
		return s.append(op)
	case *storage.CreateTopic:
		return s.createTopic(op.Topic)
	case *storage.AlterTopic:
		return s.changeTopic(op.Topic, func(t *memoryTopic) error {
			t.Replies, t.LegacyMask, t.Retention, t.Paused, t.Owner, t.Updated = op.Replies, op.LegacyMask, op.Retention, op.Paused, op.Owner, op.Updated
			return nil
		})
	case *storage.RemoveTopic:
		return s.removeTopic(op.Topic)
	case *storage.Trim:
		return s.trim(op)
	case *storage.Purge:
		return s.purge(op)
	case *storage.CreateGroup:
		return s.createGroup(op)
	case *storage.AlterGroup:
		return s.alterGroup(op)
	case *storage.RemoveGroup:
		return s.changeGroup(op.Group, func(*memoryGroup) error { return nil }, func() {
			delete(s.groups, op.Group)
			s.forget(func(k memoryChunk) bool { return k.of.Group == op.Group })
		})
	case *storage.SaveProgress:
		return s.saveProgress(op)
	case *storage.Relocate:
		return s.relocate(op)
	case *storage.Audit:
		if op.Entry == nil {
			return storage.ErrInvalid
		}
		op.Entry.ID = int64(len(s.audit)) + 1
		s.audit = append(s.audit, *op.Entry)
		return nil
	case *storage.PutDocument:
		d := op.Document
		if d.Kind == "" || d.Name == "" || d.Damaged {
			return storage.ErrInvalid
		}
		if delete(s.papers, [2]string{d.Kind, d.Name}); d.Value != "" {
			s.papers[[2]string{d.Kind, d.Name}] = d
		}
		return nil
	case *storage.PutHistory:
		return s.putHistory(op)
	case *storage.DropHistory:
		s.forget(func(k memoryChunk) bool { return k.of == op.Series && k.Level == op.Level && k.ID <= op.To })
		return nil
	case *storage.ForgetHistory:
		s.forget(func(k memoryChunk) bool { return k.of == op.Series })
		return nil
	case *storage.SaveClock:
		s.clock = op.Clock
		return nil
	}
	return fmt.Errorf("op %T: %w", op, storage.ErrInvalid)
}

func (s *memoryState) changeTopic(id storage.TopicID, f func(*memoryTopic) error) error {
	t, ok := s.topics[id]
	if !ok {
		return fmt.Errorf("topic %d: %w", id, storage.ErrNotFound)
	}
	if err := f(&t); err != nil {
		return err
	}
	s.topics[id] = t
	return nil
}

// changeGroup lets f change a group, then calls after if all went well.
func (s *memoryState) changeGroup(id storage.GroupID, f func(*memoryGroup) error, after func()) error {
	g, ok := s.groups[id]
	if !ok {
		return fmt.Errorf("group %d: %w", id, storage.ErrNotFound)
	}
	if err := f(&g); err != nil {
		return err
	}
	s.groups[id] = g
	after()
	return nil
}

func (s *memoryState) append(op *storage.Append) error {
	return s.changeTopic(op.Topic, func(t *memoryTopic) error {
		if t.Next+int64(len(op.Records)) > storage.MaxOffset+1 {
			return storage.ErrInvalid
		}
		for i := range op.Records {
			r := &op.Records[i]
			r.Offset, r.Time = t.Next, max(r.Time, t.LastTime)
			r.CRC = storage.Checksum(t.ID, r)
			t.records = append(t.records, *r)
			t.Next, t.LastTime, t.Bytes = t.Next+1, r.Time, t.Bytes+r.Size()
		}
		return nil
	})
}

func (s *memoryState) createTopic(t *storage.Topic) error {
	if t == nil || t.Name == "" || t.First != t.Next || t.Next < 0 || t.Next > storage.MaxOffset+1 || t.Bytes != 0 {
		return storage.ErrInvalid
	}
	for _, other := range s.topics {
		if same(other.Name, t.Name) {
			return storage.ErrExists
		}
	}
	s.lastTopic++
	t.ID = s.lastTopic
	s.topics[t.ID] = memoryTopic{Topic: *t}
	return nil
}

func (s *memoryState) removeTopic(id storage.TopicID) error {
	t, ok := s.topics[id]
	if !ok {
		return storage.ErrNotFound
	}
	s.dead += len(t.records)
	delete(s.topics, id)
	maps.DeleteFunc(s.groups, func(_ storage.GroupID, g memoryGroup) bool { return g.Topic == id })
	s.forget(func(k memoryChunk) bool { return k.of.Topic == id })
	return nil
}

func (s *memoryState) trim(op *storage.Trim) error {
	return s.changeTopic(op.Topic, func(t *memoryTopic) error {
		n := min(op.First, t.Next) - t.First
		if n > 0 && (op.Bytes < 0 || op.Bytes > t.Bytes) {
			return storage.ErrInvalid
		}
		t.kept = slices.DeleteFunc(slices.Clone(t.kept), func(k storage.KeptIDs) bool { return k.IDs[len(k.IDs)-1].Offset < op.Forget })
		if len(op.IDs) > 0 {
			t.kept = append(t.kept, storage.KeptIDs{Topic: op.Topic, IDs: slices.Clone(op.IDs)})
		}
		if n <= 0 {
			return nil
		}
		t.First, t.Bytes, t.records = t.First+n, t.Bytes-op.Bytes, t.records[n:]
		s.dead += int(n)
		return nil
	})
}

func (s *memoryState) purge(op *storage.Purge) error {
	op.Deleted = 0
	if op.Limit < 1 {
		return storage.ErrInvalid
	}
	op.Deleted = min(op.Limit, s.dead)
	s.dead -= op.Deleted
	return nil
}

func (s *memoryState) createGroup(op *storage.CreateGroup) error {
	g := op.Group
	if g == nil || g.Name == "" {
		return storage.ErrInvalid
	}
	t, ok := s.topics[g.Topic]
	if !ok {
		return storage.ErrNotFound
	}
	for _, other := range s.groups {
		if other.Topic == g.Topic && same(other.Name, g.Name) {
			return storage.ErrExists
		}
	}
	if !possible(g.Progress, t.Next) {
		return storage.ErrInvalid
	}
	s.lastGroup++
	g.ID = s.lastGroup
	stored := memoryGroup{Group: *g}
	stored.Settled = slices.Clone(g.Settled)
	s.groups[g.ID] = stored
	if op.Entry != nil {
		op.Entry.Group = g.ID
	}
	s.note(op.Entry)
	return nil
}

func (s *memoryState) alterGroup(op *storage.AlterGroup) error {
	n := op.Group
	if n == nil {
		return storage.ErrInvalid
	}
	return s.changeGroup(n.ID, func(g *memoryGroup) error {
		g.Filter, g.Version, g.Updated = n.Filter, n.Version, n.Updated
		g.Settle, g.Exclusive, g.Paused, g.Ephemeral, g.LegacyMask = n.Settle, n.Exclusive, n.Paused, n.Ephemeral, n.LegacyMask
		g.AckTimeout, g.AckWindow, g.MaxDeliver = n.AckTimeout, n.AckWindow, n.MaxDeliver
		return nil
	}, func() { s.note(op.Entry) })
}

func (s *memoryState) saveProgress(op *storage.SaveProgress) error {
	return s.changeGroup(op.Group, func(g *memoryGroup) error {
		next := s.topics[g.Topic].Next
		if g.Epoch != op.Epoch {
			return storage.ErrConflict
		}
		if !possible(op.Position, next) {
			return storage.ErrInvalid
		}
		g.Progress = op.Position
		g.Settled = slices.Clone(op.Position.Settled)
		g.parked = maps.Clone(g.parked)
		if g.parked == nil {
			g.parked = map[int64]storage.Parked{}
		}
		for _, p := range op.Park {
			if p.Offset < 0 || p.Offset >= next || p.Count < 0 {
				return storage.ErrInvalid
			}
			p.Group = op.Group
			g.parked[p.Offset] = p
		}
		for _, offset := range op.Unpark {
			delete(g.parked, offset)
		}
		return nil
	}, func() {})
}

func (s *memoryState) relocate(op *storage.Relocate) error {
	return s.changeGroup(op.Group, func(g *memoryGroup) error {
		if g.Epoch != op.Epoch {
			return storage.ErrConflict
		}
		if !possible(op.Position, s.topics[g.Topic].Next) {
			return storage.ErrInvalid
		}
		g.Progress = op.Position
		g.Settled = slices.Clone(op.Position.Settled)
		g.Epoch++
		g.parked = nil
		if op.Entry != nil {
			g.Updated = max(g.Updated, op.Entry.Time)
		}
		return nil
	}, func() { s.note(op.Entry) })
}

func (s *memoryState) note(e *storage.JournalEntry) {
	if e == nil {
		return
	}
	e.ID = int64(len(s.journal)) + 1
	stored := *e
	stored.From.Settled = slices.Clone(e.From.Settled)
	s.journal = append(s.journal, stored)
}

// possible tells whether a group of a topic with that next offset can be there.
func possible(p storage.Progress, next int64) bool {
	if p.Cursor < 0 || p.Cursor > p.Read || p.Read > next {
		return false
	}
	end := p.Cursor
	for _, r := range p.Settled {
		if r.Lo <= end || r.Hi <= r.Lo || r.Hi > p.Read {
			return false
		}
		end = r.Hi
	}
	return true
}

func (s *memoryState) putHistory(op *storage.PutHistory) error {
	if len(op.Data) == 0 || len(op.Data) > storage.MaxChunk {
		return storage.ErrInvalid
	}
	_, found := s.topics[op.Series.Topic]
	if id := op.Series.Group; id != 0 {
		found = found && s.groups[id].Topic == op.Series.Topic
	}
	if !found {
		return storage.ErrNotFound
	}
	id := int64(1)
	if n := len(s.history); n > 0 {
		id = s.history[n-1].ID + 1
	}
	s.history = append(s.history, memoryChunk{storage.HistoryChunk{ID: id, Level: op.Level, Data: slices.Clone(op.Data)}, op.Series})
	return nil
}

// forget drops chunks of history.
func (s *memoryState) forget(which func(memoryChunk) bool) {
	s.history = slices.DeleteFunc(slices.Clone(s.history), which)
}
