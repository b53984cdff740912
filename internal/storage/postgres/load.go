package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

// loaded is what the tables say, but for the messages.
type loaded struct {
	state  storage.State
	totals map[storage.TopicID][2]int64 // total and dropped: see rules.Marks
}

// Load implements [storage.Store].
func (s *Store) Load(ctx context.Context) (state storage.State, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		l, err := load(ctx, c)
		if err == nil {
			state = l.state
		}
		return err
	})
	return state, err
}

// load reads all tables but those of the messages, of which it looks at the last block of each topic.
// It is one transaction, so that they belong together.
func load(ctx context.Context, c *conn) (l *loaded, err error) {
	if _, err := c.query(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, err
	}
	defer func() {
		if _, rerr := c.query(ctx, "ROLLBACK"); err == nil {
			err = rerr
		}
	}()
	l = &loaded{totals: map[storage.TopicID][2]int64{}}
	for _, read := range []func(context.Context, *conn) error{l.readTopics, l.readGroups, l.readParked, l.readClock, l.readDocuments, l.readKept} {
		if err := read(ctx, c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *loaded) readTopics(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectTopics) {
		if err != nil {
			return err
		}
		t := storage.Topic{
			ID: storage.TopicID(integer(row[0])), Name: text(row[1]), Replies: truth(row[4]), Paused: truth(row[5]), LegacyMask: integer(row[6]),
			Creator: text(row[7]), Owner: text(row[8]), Created: integer(row[9]), Updated: integer(row[10]),
			Retention: storage.Retention{MaxAge: integer(row[11]), MaxCount: integer(row[12]), MaxBytes: integer(row[13])},
			First:     integer(row[14]), Next: integer(row[16]), LastTime: integer(row[18]),
		}
		var known bool
		if t.Kind, known = storage.ParseKind(text(row[3])); !known {
			return fmt.Errorf("topic %q is of kind %q: %w", t.Name, text(row[3]), storage.ErrDamaged)
		}
		dropped, total := integer(row[15]), integer(row[17])
		switch end := integer(row[19]); {
		case row[19] != nil && end >= t.Next:
			t.Next, total, t.LastTime = end, integer(row[20]), max(t.LastTime, integer(row[21]))
		case t.First < t.Next:
			return fmt.Errorf("topic %q: the end of its log is missing, messages %d to %d: %w", t.Name, max(end, t.First), t.Next-1, storage.ErrDamaged)
		}
		t.Bytes = max(0, total-dropped)
		l.totals[t.ID] = [2]int64{total, dropped}
		l.state.Topics = append(l.state.Topics, t)
	}
	return nil
}

func (l *loaded) readGroups(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectGroups) {
		if err != nil {
			return err
		}
		g := storage.Group{
			ID: storage.GroupID(integer(row[0])), Topic: storage.TopicID(integer(row[1])), Name: text(row[2]), Filter: text(row[4]),
			Exclusive: truth(row[6]), Paused: truth(row[7]), Ephemeral: truth(row[8]), LegacyMask: integer(row[9]),
			Creator: text(row[10]), Created: integer(row[11]), Updated: integer(row[12]),
			AckTimeout: integer(row[13]), AckWindow: integer(row[14]), MaxDeliver: integer(row[15]), Version: integer(row[16]), Epoch: integer(row[17]),
		}
		var known bool
		if g.Settle, known = storage.ParseSettle(text(row[5])); !known {
			return fmt.Errorf("group %q settles %q: %w", g.Name, text(row[5]), storage.ErrDamaged)
		}
		if g.Progress, err = progress(row[18:21]); err != nil {
			return fmt.Errorf("group %q: %w", g.Name, err)
		}
		if _, there := l.totals[g.Topic]; !there {
			return fmt.Errorf("group %q: its topic %d is missing: %w", g.Name, g.Topic, storage.ErrDamaged)
		}
		l.state.Groups = append(l.state.Groups, g)
	}
	return nil
}

func progress(row [][]byte) (storage.Progress, error) {
	settled, err := storage.ParseRanges(text(row[2]))
	return storage.Progress{Cursor: integer(row[0]), Read: integer(row[1]), Settled: settled}, err
}

func (l *loaded) readParked(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectParked) {
		if err != nil {
			return err
		}
		l.state.Parked = append(l.state.Parked, storage.Parked{
			Group: storage.GroupID(integer(row[0])), Offset: integer(row[1]), Count: integer(row[2]), Due: integer(row[3]), Cause: text(row[4]),
		})
	}
	return nil
}

func (l *loaded) readClock(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectClock) {
		if err != nil {
			return err
		}
		l.state.Clock = storage.Clock{
			Boot: text(row[0]), Since: integer(row[1]), Last: integer(row[2]), Ahead: integer(row[3]), Jump: integer(row[4]), Held: integer(row[5]),
		}
	}
	return nil
}

func (l *loaded) readDocuments(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectDocuments) {
		if err != nil {
			return err
		}
		l.state.Documents = append(l.state.Documents, storage.Document{Kind: text(row[0]), Name: text(row[1]), Value: text(row[2])})
	}
	return nil
}

func (l *loaded) readKept(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, selectKept) {
		if err != nil {
			return err
		}
		ids, err := unpackIDs(append([]byte(nil), row[2]...))
		if err != nil {
			return fmt.Errorf("topic %d up to %d: %w", integer(row[0]), integer(row[1]), err)
		}
		l.state.Kept = append(l.state.Kept, storage.KeptIDs{Topic: storage.TopicID(integer(row[0])), IDs: ids})
	}
	return nil
}

// catalog is what the writing goroutine has to know.
func (l *loaded) catalog(ctx context.Context, c *conn) (*catalog, error) {
	all := rules.New[*none](len(l.state.Topics), len(l.state.Groups), math.MaxInt64)
	p := &all
	err := p.Load(l.state.Topics, l.state.Groups, func(_ int, t *topic) {
		t.Total, t.Dropped = l.totals[t.ID][0], l.totals[t.ID][1]
	})
	if err != nil {
		return nil, err
	}
	for row, err := range c.rows(ctx, selectDropped) {
		if err != nil {
			return nil, err
		}
		at, hi := rules.Span{Topic: storage.TopicID(integer(row[0])), Lo: integer(row[1])}, integer(row[2])
		t := p.Topics[at.Topic]
		if hi <= at.Lo || t != nil && hi > t.First {
			return nil, fmt.Errorf("what is to be deleted of topic %d, %d to %d: %w", at.Topic, at.Lo, hi, storage.ErrDamaged)
		}
		p.LoadDropped(at, hi)
	}
	names := idNames()
	for row, err := range c.rows(ctx, selectLast) {
		if err != nil {
			return nil, err
		}
		if kind := slices.Index(names[:], text(row[0])); kind >= 0 {
			p.Last[kind] = integer(row[1])
		}
	}
	return p, nil
}

// Journal implements [storage.Store].
func (s *Store) Journal(ctx context.Context, group storage.GroupID, before int64, limit int) ([]storage.JournalEntry, error) {
	return s.entries(ctx, selectJournal, int64(group), below(before), int64(max(limit, 0)))
}

// below is the bound of ids that a list begins under.
func below(id int64) int64 {
	if id <= 0 {
		return math.MaxInt64
	}
	return id
}

// Entry implements [storage.Store].
func (s *Store) Entry(ctx context.Context, id int64) (storage.JournalEntry, error) {
	list, err := s.entries(ctx, selectEntry, id)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("journal entry %d: %w", id, storage.ErrNotFound)
	}
	if err != nil {
		return storage.JournalEntry{}, err
	}
	return list[0], nil
}

func (s *Store) entries(ctx context.Context, st statement, args ...any) (list []storage.JournalEntry, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		list = nil
		for row, err := range c.rows(ctx, st, args...) {
			if err != nil {
				return err
			}
			e := storage.JournalEntry{
				ID: integer(row[0]), Topic: storage.TopicID(integer(row[1])), Group: storage.GroupID(integer(row[2])), Time: integer(row[3]), Kind: text(row[4]),
				Actor: storage.Actor{Name: text(row[5]), Address: text(row[6]), Token: text(row[7])}, Reason: text(row[8]),
				To: integer(row[12]), FilterFrom: text(row[13]), FilterTo: text(row[14]),
			}
			if e.From, err = progress(row[9:12]); err != nil {
				return fmt.Errorf("journal entry %d: %w", e.ID, err)
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// Audit implements [storage.Store].
func (s *Store) Audit(ctx context.Context, before int64, limit int) (list []storage.AuditEntry, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		list = nil
		for row, err := range c.rows(ctx, selectAudit, below(before), int64(max(limit, 0))) {
			if err != nil {
				return err
			}
			list = append(list, storage.AuditEntry{
				ID: integer(row[0]), Time: integer(row[1]), Actor: storage.Actor{Name: text(row[2]), Address: text(row[3]), Token: text(row[4])},
				Action: text(row[5]), Target: text(row[6]), Detail: text(row[7]),
			})
		}
		return nil
	})
	return list, err
}

// History implements [storage.Store].
func (s *Store) History(ctx context.Context, of storage.Series, least, most uint8) (list []storage.HistoryChunk, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		list = nil
		for row, err := range c.rows(ctx, selectHistory, int64(of.Topic), int64(of.Group), int64(least), int64(most)) {
			if err != nil {
				return err
			}
			list = append(list, storage.HistoryChunk{ID: integer(row[0]), Level: uint8(integer(row[1])), Data: append([]byte(nil), row[2]...)})
		}
		return nil
	})
	return list, err
}

// HistorySizes implements [storage.Store].
func (s *Store) HistorySizes(ctx context.Context) (list []storage.HistorySize, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		list = nil
		for row, err := range c.rows(ctx, selectHistorySizes, int64(storage.ChunkCost)) {
			if err != nil {
				return err
			}
			of := storage.Series{Topic: storage.TopicID(integer(row[0])), Group: storage.GroupID(integer(row[1]))}
			list = append(list, storage.HistorySize{Series: of, Bytes: integer(row[2]), Last: integer(row[3])})
		}
		return nil
	})
	return list, err
}
