package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Load implements [storage.Store].
func (s *Store) Load(ctx context.Context) (state storage.State, err error) {
	err = s.read(ctx, func(c *conn) error {
		// One transaction, so that the tables belong together.
		if err := c.run("BEGIN"); err != nil {
			return err
		}
		defer func() { _ = c.run("ROLLBACK") }()
		state, _, _, err = loadState(c)
		return err
	})
	return state, err
}

// storedTopic is a topic with what only the store has to know.
type storedTopic struct {
	storage.Topic
	total, dropped int64 // see marks
	end            int64 // behind the last block or piece so far, 0 without one
	pieces         []piece
	fresh          int64 // see marks
}

// follow moves a topic that was read from its row on to its last block.
func (t *storedTopic) follow(c *conn) error {
	b, found, err := blockAt(c, t.ID, storage.MaxOffset)
	if err != nil {
		return err
	}
	if found {
		t.goOn(&b)
	}
	return nil
}

// goOn moves a topic on to the end of a block or piece.
func (t *storedTopic) goOn(b *block) {
	t.end = offsetOf(b.key) + b.n
	t.Next = max(t.Next, t.end)
	t.total = max(t.total, b.total)
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			break
		}
		t.LastTime = max(t.LastTime, r.Time)
	}
}

// addPiece adds a piece, if it counts. It begins where the log ends so far, unless
// what was below is gone: dropped, or lost, which reads will find.
func (t *storedTopic) addPiece(p piece, b *block) error {
	switch {
	case len(t.pieces) == 0 && (p.end() <= t.end || p.end() <= t.First):
		return nil // merged, or trimmed away
	case p.first < t.end:
		return fmt.Errorf("topic %d: piece from %d in a log up to %d: %w", t.ID, p.first, t.end, storage.ErrDamaged)
	}
	t.pieces = append(t.pieces, p)
	t.fresh += int64(len(b.meta) + len(b.body))
	t.goOn(b)
	return nil
}

// loadFresh reads the table "fresh", and gives the pieces that count to their topics.
func loadFresh(c *conn, topics []storedTopic) (f fresh, err error) {
	at := make(map[storage.TopicID]*storedTopic, len(topics))
	for i := range topics {
		at[topics[i].ID] = &topics[i]
	}
	now := time.Now()
	for row, err := range c.rows(selectFresh) {
		if err != nil {
			return f, err
		}
		r := &freshRow{seq: integer(row[0]), pieces: blob(row[1]), bodies: blob(row[2]), since: now}
		err := r.split(func(id storage.TopicID, p piece, b *block) error {
			r.topics = append(r.topics, id)
			if t := at[id]; t != nil {
				return t.addPiece(p, b)
			}
			return nil
		})
		if err != nil {
			return f, err
		}
		f.rows, f.last, f.bytes = append(f.rows, r), r.seq, f.bytes+r.bytes()
	}
	return f, nil
}

// loadTopics reads how far the topics are.
func loadTopics(c *conn) (topics []storedTopic, f fresh, err error) {
	for row, err := range c.rows(selectTopics) {
		if err != nil {
			return nil, f, err
		}
		topics = append(topics, topicFrom(row))
	}
	for i := range topics {
		if err := topics[i].follow(c); err != nil {
			return nil, f, err
		}
	}
	f, err = loadFresh(c, topics)
	return topics, f, err
}

func loadState(c *conn) (state storage.State, topics []storedTopic, f fresh, err error) {
	topics, f, err = loadTopics(c)
	if err != nil {
		return state, nil, f, err
	}
	for i := range topics {
		t := &topics[i]
		t.Bytes = t.total - t.dropped
		state.Topics = append(state.Topics, t.Topic)
	}
	for row, err := range c.rows(selectGroups) {
		if err != nil {
			return state, nil, f, err
		}
		g, err := groupFrom(row)
		if err != nil {
			return state, nil, f, err
		}
		state.Groups = append(state.Groups, g)
	}
	for row, err := range c.rows(selectParked) {
		if err != nil {
			return state, nil, f, err
		}
		state.Parked = append(state.Parked, storage.Parked{
			Group: storage.GroupID(integer(row[0])), Offset: integer(row[1]),
			Count: integer(row[2]), Due: integer(row[3]), Cause: text(row[4]),
		})
	}
	return state, topics, f, nil
}

func topicFrom(row []driver.Value) storedTopic {
	return storedTopic{total: integer(row[9]), dropped: integer(row[7]), Topic: storage.Topic{
		ID: storage.TopicID(integer(row[0])), Name: text(row[1]), Mask: integer(row[2]), Creator: text(row[3]),
		Created: integer(row[4]), Updated: integer(row[5]),
		First: integer(row[6]), Next: integer(row[8]), LastTime: integer(row[10]),
		Retention: storage.Retention{MaxAge: integer(row[11]), MaxCount: integer(row[12]), MaxBytes: integer(row[13])},
		Memory:    integer(row[14]) != 0, Paused: integer(row[15]) != 0,
	}}
}

func groupFrom(row []driver.Value) (storage.Group, error) {
	g := storage.Group{
		ID: storage.GroupID(integer(row[0])), Topic: storage.TopicID(integer(row[1])), Name: text(row[2]),
		Filter: text(row[3]), Mask: integer(row[4]), Creator: text(row[5]),
		Created: integer(row[6]), Updated: integer(row[7]),
		AckTimeout: integer(row[8]), AckWindow: integer(row[9]), MaxDeliver: integer(row[10]),
		Version: integer(row[11]), Epoch: integer(row[12]),
	}
	var err error
	g.Progress, err = progressFrom(row[13:16])
	if err != nil {
		return g, fmt.Errorf("group %d: %w", g.ID, err)
	}
	return g, nil
}

func progressFrom(row []driver.Value) (storage.Progress, error) {
	settled, err := storage.ParseRanges(text(row[2]))
	return storage.Progress{Cursor: integer(row[0]), Read: integer(row[1]), Settled: settled}, err
}

// loadPicture reads what the writing goroutine has to know. Like Load it does
// not look at messages.
func loadPicture(c *conn) (*picture, error) {
	state, topics, f, err := loadState(c)
	if err != nil {
		return nil, err
	}
	p := &picture{
		topics:  make(map[storage.TopicID]*topic, len(state.Topics)),
		names:   make(map[string]*topic, len(state.Topics)),
		groups:  make(map[storage.GroupID]*group, len(state.Groups)),
		dropped: map[int64]int64{},
		fresh:   f,
	}
	for _, t := range topics {
		p.addTopic(&topic{
			id: t.ID, name: fold(t.Name), groups: map[string]*group{},
			marks: marks{
				first: t.First, next: t.Next, lastTime: t.LastTime, total: t.total, dropped: t.dropped, rows: t.First,
				pieces: t.pieces, fresh: t.fresh,
			},
		})
	}
	for _, g := range state.Groups {
		t := p.topics[g.Topic]
		if t == nil {
			return nil, fmt.Errorf("group %d has no topic: %w", g.ID, storage.ErrDamaged)
		}
		p.addGroup(&group{id: g.ID, topic: t, name: fold(g.Name), epoch: g.Epoch})
	}
	for row, err := range c.rows(selectDropped) {
		if err != nil {
			return nil, err
		}
		lo := integer(row[0])
		p.dropped[lo] = integer(row[1])
		if t := p.topics[storage.TopicID(lo>>offsetBits)]; t != nil {
			t.rows = offsetOf(lo)
		}
	}
	p.forget()
	return p, loadIDs(c, p)
}

// loadIDs reads the ids given last, also those of what was removed since.
func loadIDs(c *conn, p *picture) error {
	last := map[string]*int64{
		"topics": &p.lastTopic, "groups": &p.lastGroup, "cursor_journal": &p.lastJournal, "audit": &p.lastAudit,
	}
	for row, err := range c.rows(selectSequences) {
		if err != nil {
			return err
		}
		if id := last[text(row[0])]; id != nil {
			*id = integer(row[1])
		}
	}
	return nil
}

// Journal implements [storage.Store].
func (s *Store) Journal(ctx context.Context, group storage.GroupID, before int64, limit int) (list []storage.JournalEntry, err error) {
	err = s.read(ctx, func(c *conn) error {
		for row, err := range c.rows(selectJournal, int64(group), below(before), int64(max(limit, 0))) {
			if err != nil {
				return err
			}
			e, err := entryFrom(row)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// below is the bound of ids that a list begins under.
func below(id int64) int64 {
	if id <= 0 {
		return math.MaxInt64
	}
	return id
}

// Entry implements [storage.Store].
func (s *Store) Entry(ctx context.Context, id int64) (e storage.JournalEntry, err error) {
	err = s.read(ctx, func(c *conn) error {
		found := fmt.Errorf("journal entry %d: %w", id, storage.ErrNotFound)
		for row, err := range c.rows(selectEntry, id) {
			if err != nil {
				return err
			}
			e, found = entryFrom(row)
		}
		return found
	})
	return e, err
}

func entryFrom(row []driver.Value) (storage.JournalEntry, error) {
	e := storage.JournalEntry{
		ID: integer(row[0]), Topic: storage.TopicID(integer(row[1])), Group: storage.GroupID(integer(row[2])),
		Time: integer(row[3]), Kind: text(row[4]), Actor: text(row[5]), Reason: text(row[6]),
		To: integer(row[10]), FilterFrom: text(row[11]), FilterTo: text(row[12]),
	}
	var err error
	if e.From, err = progressFrom(row[7:10]); err != nil {
		return e, fmt.Errorf("journal entry %d: %w", e.ID, err)
	}
	return e, nil
}

// Audit implements [storage.Store].
func (s *Store) Audit(ctx context.Context, before int64, limit int) (list []storage.AuditEntry, err error) {
	err = s.read(ctx, func(c *conn) error {
		for row, err := range c.rows(selectAudit, below(before), int64(max(limit, 0))) {
			if err != nil {
				return err
			}
			list = append(list, storage.AuditEntry{
				ID: integer(row[0]), Time: integer(row[1]), Actor: text(row[2]), Action: text(row[3]),
				Target: text(row[4]), Detail: text(row[5]),
			})
		}
		return nil
	})
	return list, err
}
