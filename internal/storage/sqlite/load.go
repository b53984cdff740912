package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

// Load implements [storage.Store].
func (s *Store) Load(ctx context.Context) (state storage.State, err error) {
	err = s.read(ctx, func(c *conn) error {
		// One transaction, so that the tables belong together.
		if err := c.run("BEGIN"); err != nil {
			return err
		}
		defer func() { _ = c.run("ROLLBACK") }()
		l, err := loadAll(c)
		state = l.state
		return err
	})
	return state, err
}

func topicFrom(row []driver.Value) storedTopic {
	return storedTopic{total: integer(row[9]), dropped: integer(row[7]), stored: integer(row[8]), lost: integer(row[17]), Topic: storage.Topic{
		ID: storage.TopicID(integer(row[0])), Name: text(row[1]), LegacyMask: integer(row[2]), Creator: text(row[3]),
		Created: integer(row[4]), Updated: integer(row[5]),
		First: integer(row[6]), Next: integer(row[8]), LastTime: integer(row[10]),
		Retention: storage.Retention{MaxAge: integer(row[11]), MaxCount: integer(row[12]), MaxBytes: integer(row[13])},
		Paused:    integer(row[15]) != 0, Owner: text(row[21]),
	}}
}

func groupFrom(row []driver.Value) storage.Group {
	return storage.Group{
		ID: storage.GroupID(integer(row[0])), Topic: storage.TopicID(integer(row[1])), Name: text(row[2]),
		Filter: text(row[3]), LegacyMask: integer(row[4]), Creator: text(row[5]),
		Created: integer(row[6]), Updated: integer(row[7]),
		AckTimeout: integer(row[8]), AckWindow: integer(row[9]), MaxDeliver: integer(row[10]),
		Version: integer(row[11]), Epoch: integer(row[12]),
	}
}

func progressFrom(row []driver.Value) (storage.Progress, error) {
	settled, err := storage.ParseRanges(text(row[2]))
	return storage.Progress{Cursor: integer(row[0]), Read: integer(row[1]), Settled: settled}, err
}

// loadCatalog reads what the writing goroutine has to know. Like Load it does
// not look at messages.
func loadCatalog(c *conn) (*catalog, *loaded, error) {
	l, err := loadAll(c)
	if err != nil {
		return nil, nil, err
	}
	p := &catalog{Catalog: rules.New[*freshRow](len(l.state.Topics), len(l.state.Groups), maxTopic), fresh: l.fresh}
	err = p.Load(l.state.Topics, l.state.Groups, func(i int, t *topic) {
		n := &l.topics[i]
		t.Total, t.Dropped = n.total, n.dropped
		t.Lost, t.Stored, t.Pieces, t.Fresh = n.lost, n.stored, n.pieces, n.fresh
		t.Damaged, t.Cut = n.Damage != "", n.cut
	})
	if err != nil {
		return nil, nil, err
	}
	for _, d := range l.dropped {
		at := topicOf(d.Lo)
		p.LoadDropped(rules.Span{Topic: at, Lo: offsetOf(d.Lo)}, d.Hi-keyOf(at, 0))
	}
	return p, l, loadIDs(c, p)
}

// loadIDs reads the ids given last, also those of what was removed since. No id is
// given again, even if what was given last can't be told: so the tables are asked too.
func loadIDs(c *conn, p *catalog) error {
	last := map[string]rules.IDs{
		"topics": rules.TopicIDs, "groups": rules.GroupIDs, "cursor_journal": rules.JournalIDs, "audit": rules.AuditIDs,
	}
	for row, err := range c.rows(selectSequences) {
		if err != nil {
			return err
		}
		if kind, known := last[text(row[0])]; known {
			p.Last[kind] = integer(row[1])
		}
	}
	for row, err := range c.rows(selectLastIDs) { // in the order of rules.IDs
		if err != nil {
			return err
		}
		for kind := range p.Last {
			p.Last[kind] = max(p.Last[kind], integer(row[kind]))
		}
	}
	for at := range p.Dropped {
		p.Last[rules.TopicIDs] = max(p.Last[rules.TopicIDs], int64(at.Topic))
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
		Time: integer(row[3]), Kind: text(row[4]), Actor: storage.Actor{Name: text(row[5]), Address: text(row[13]), Token: text(row[14])}, Reason: text(row[6]),
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
				ID: integer(row[0]), Time: integer(row[1]), Action: text(row[3]),
				Actor:  storage.Actor{Name: text(row[2]), Address: text(row[6]), Token: text(row[7])},
				Target: text(row[4]), Detail: text(row[5]),
			})
		}
		return nil
	})
	return list, err
}
