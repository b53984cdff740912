package sqlite

import (
	"cmp"
	"database/sql/driver"
	"log/slog"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// batch is what one transaction is about to do. Planning ops (see plan.go)
// changes the picture at once and queues rows and statements; run executes the
// queue. Nothing of SQLite is asked before all ops of a commit are planned, so
// an op that is refused costs no rollback.
//
// Only the committing goroutine touches it. All slices are reused.
type batch struct {
	*picture
	rows    []row // messages to insert
	steps   []step
	args    []driver.NamedValue // of steps
	changed []*topic            // whose marks are to be stored
	insert  []driver.NamedValue // of insert statements, numbered once
	move    []driver.NamedValue // of moveTopic
	log     *slog.Logger
}

type row struct {
	key int64
	*storage.Record
}

// step is one statement to run.
type step struct {
	statement
	lo, hi int            // its arguments in batch.args
	want   int64          // how many rows it has to change, anyRows if that is open
	purge  *storage.Purge // counts what it deletes
	rows   int            // so many of batch.rows have to be there before; 0 if that is all the same
}

const (
	anyRows   = -1
	maxInsert = 64 // rows of the largest insert statement
)

func newBatch(p *picture, log *slog.Logger) *batch {
	b := &batch{picture: p, log: log}
	b.insert = number(nil, make([]driver.Value, maxInsert*messageWidth))
	return b
}

// add queues a statement.
func (b *batch) add(st statement, want int64, values ...driver.Value) *step {
	lo := len(b.args)
	b.args = number(b.args, values)
	b.steps = append(b.steps, step{statement: st, lo: lo, hi: len(b.args), want: want})
	return &b.steps[len(b.steps)-1]
}

// touch has to be called before the marks of a topic are changed.
func (b *batch) touch(t *topic) {
	before := t.marks
	b.onUndo(func() { t.marks = before })
	if !t.changed {
		t.changed = true
		b.changed = append(b.changed, t)
	}
}

// place is a point in a batch to which it can be taken back.
type place struct{ rows, steps, args, undo int }

func (b *batch) place() place {
	return place{len(b.rows), len(b.steps), len(b.args), len(b.undo)}
}

// takeBack undoes what was planned since at. Topics stay in changed: storing
// the marks that they had before does no harm.
func (b *batch) takeBack(at place) {
	b.back(at.undo)
	clear(b.rows[at.rows:])
	clear(b.steps[at.steps:])
	clear(b.args[at.args:])
	b.rows, b.steps, b.args = b.rows[:at.rows], b.steps[:at.steps], b.args[:at.args]
}

// empty empties the queue, not the undo list, and lets go of all values.
func (b *batch) empty() {
	for _, t := range b.changed {
		t.changed = false
	}
	clear(b.rows)
	clear(b.steps)
	clear(b.args)
	clear(b.changed)
	b.rows, b.steps, b.args, b.changed = b.rows[:0], b.steps[:0], b.args[:0], b.changed[:0]
}

// run executes the queue and empties it.
func (b *batch) run(c *conn) error {
	defer b.empty()
	inserted := 0
	for i := range b.steps {
		s := &b.steps[i]
		if s.rows > inserted {
			if err := b.insertRows(c, b.rows[inserted:s.rows]); err != nil {
				return err
			}
			inserted = s.rows
		}
		n, err := c.exec(s.statement, b.args[s.lo:s.hi])
		if err != nil {
			return err
		}
		switch {
		case s.purge != nil:
			b.purged(s, n)
		case s.want != anyRows && n != s.want:
			return errMismatch
		}
	}
	if err := b.insertRows(c, b.rows[inserted:]); err != nil {
		return err
	}
	return b.storeMarks(c)
}

// purged counts rows that went. Fewer than there should have been are damage,
// but nobody could read them any more: that must not keep the others from going.
func (b *batch) purged(s *step, n int64) {
	s.purge.Deleted += int(n)
	if n != s.want {
		b.log.Warn("dropped messages were missing", "key", b.args[s.lo].Value, "planned", s.want, "deleted", n)
	}
}

func (b *batch) storeMarks(c *conn) error {
	for _, t := range b.changed {
		if b.topics[t.id] != t {
			continue
		}
		b.move = number(b.move[:0], []driver.Value{int64(t.id), t.first, t.next, t.bytes, t.lastTime})
		n, err := c.exec(moveTopic, b.move)
		if err != nil {
			return err
		}
		if n != 1 {
			return errMismatch
		}
	}
	return nil
}

// insertRows inserts messages, as many with a statement as there are: with 64
// rows a statement the driver's and SQLite's cost a statement is gone.
func (b *batch) insertRows(c *conn, rows []row) error {
	byKey := func(a, b row) int { return cmp.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(rows, byKey) {
		slices.SortFunc(rows, byKey) // a topic's rows share their leaf pages
	}
	for len(rows) > 0 {
		st, n := insert1, 1
		switch {
		case len(rows) >= 64:
			st, n = insert64, 64
		case len(rows) >= 16:
			st, n = insert16, 16
		case len(rows) >= 4:
			st, n = insert4, 4
		}
		args := b.insert[:n*messageWidth]
		for i := range n {
			bindMessage(args[i*messageWidth:(i+1)*messageWidth], &rows[i])
		}
		_, err := c.exec(st, args)
		for i := range args {
			args[i].Value = nil // bodies must not live on here
		}
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// bindMessage sets the arguments of one row. An empty value is NULL: that saves
// the driver a copy of it.
func bindMessage(args []driver.NamedValue, r *row) {
	args[0].Value = r.key
	args[1].Value = r.Time
	if r.Tag != "" {
		args[2].Value = r.Tag
	}
	if r.ID != "" {
		args[3].Value = r.ID
	}
	if r.Headers != "" {
		args[4].Value = r.Headers
	}
	args[5].Value = int64(r.CRC)
	if len(r.Body) > 0 {
		args[6].Value = r.Body
	}
}
