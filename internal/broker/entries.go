package broker

import (
	"context"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Entries of journals and of the audit trail are numbered by each storage. Outside of the
// broker a number says in its upper bits which storage has the entry; those of the first one
// stay as they are.
const entryBits = 48

// global is the number of an entry outside of the broker.
func (s *shard) global(id int64) int64 { return int64(s.index)<<entryBits | id }

// stored is an entry as it is shown.
func (s *shard) stored(e *storage.JournalEntry) storage.JournalEntry {
	shown := *e
	shown.ID = s.global(e.ID)
	return shown
}

// below says which of the storage's entries are below a number (0: all of them), as a number
// of its own; none when there can be no such entry.
func (s *shard) below(before int64) (local int64, none bool) {
	switch of := before >> entryBits; {
	case before == 0 || of > int64(s.index):
		return 0, false
	case of < int64(s.index):
		return 0, true
	}
	local = before & (1<<entryBits - 1)
	return local, local == 0
}

// Journal lists the group's entries with an id below before (0: all), newest
// first, at most limit of them.
func (g *Group) Journal(ctx context.Context, before int64, limit int) ([]storage.JournalEntry, error) {
	s := g.t.shard
	before, none := s.below(before)
	if none {
		return nil, nil
	}
	entries, err := s.reader().Journal(ctx, g.id, before, limit)
	for i := range entries {
		entries[i].ID = s.global(entries[i].ID)
	}
	return entries, err
}

// auditEntries lists administrative actions with an id below before (0: all), those of one
// storage after those of the next, each newest first, at most limit of them.
func (b *Broker) auditEntries(ctx context.Context, before int64, limit int) (all []storage.AuditEntry, err error) {
	for i := len(b.shards) - 1; i >= 0 && len(all) < limit; i-- {
		s := b.shards[i]
		local, none := s.below(before)
		if none {
			continue
		}
		entries, err := s.reader().Audit(ctx, local, limit-len(all))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			e.ID = s.global(e.ID)
			all = append(all, e)
		}
	}
	return all, nil
}

// entry finds an entry of a journal, and the group that it is of.
func (b *Broker) entry(ctx context.Context, id int64) (*Group, storage.JournalEntry, error) {
	of := id >> entryBits
	if of < 0 || of >= int64(len(b.shards)) {
		return nil, storage.JournalEntry{}, errorf(NotFound, "no journal entry %d", id)
	}
	s := b.shards[of]
	e, err := s.reader().Entry(ctx, id&(1<<entryBits-1))
	if err != nil {
		return nil, e, orNotFound(err, "no journal entry %d", id)
	}
	g := s.groupByID(e.Topic, e.Group)
	if g == nil {
		return nil, e, errorf(NotFound, "the group of journal entry %d was removed", id)
	}
	return g, s.stored(&e), nil
}

// groupByID finds a group that exists by its numbers, or nil.
func (s *shard) groupByID(topic storage.TopicID, group storage.GroupID) *Group {
	for _, t := range s.topics() {
		if t.id != topic {
			continue
		}
		for _, g := range t.Groups() {
			if g.id == group {
				return g
			}
		}
	}
	return nil
}

// orNotFound gives a NotFound of the store a text for people.
func orNotFound(err error, format string, args ...any) error {
	if CodeOf(err) == NotFound {
		return errorf(NotFound, format, args...)
	}
	return err
}
