package sqlite

import (
	"cmp"
	"database/sql/driver"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// batch is what one transaction is about to do. Planning ops (see plan.go)
// changes the catalog at once and queues rows and statements; run executes the
// queue. Nothing of SQLite is asked before all ops of a commit are planned, so
// an op that is refused costs no rollback.
//
// Only the committing goroutine touches it. All slices are reused.
type batch struct {
	*catalog
	limits  freshLimits
	rows    []row // messages to insert
	steps   []step
	args    []driver.NamedValue // of steps
	block   block               // the one being inserted
	merging merging             // the messages being merged
	into    *topic              // whose blocks are being inserted, or could not be; see Store.cutOff
	insert  []driver.NamedValue // of insertBlock and the statements for "fresh"
	move    []driver.NamedValue // of moveTopic
	sums    storage.Summer

	purges  bool  // the queue deletes what can't be reached
	leave   bool  // ... which is to stay
	refuse  bool  // messages are refused, there is no room for them
	largest int64 // bytes that a single op may append; it takes as much in the log and in the database
}

type row struct {
	key   int64
	total int64 // see block
	*storage.Record
}

// step is one statement to run.
type step struct {
	statement
	lo, hi int   // its arguments in batch.args
	want   int64 // how many rows it has to change, anyRows if that is open
	rows   int   // so many of batch.rows have to be there before; 0 if that is all the same
}

const anyRows = -1

func newBatch(p *catalog, limits freshLimits) *batch {
	return &batch{catalog: p, limits: limits}
}

// add queues a statement. Inlined, it would add 500 bytes to the binary for each of its callers.
//
//go:noinline
func (b *batch) add(st statement, want int64, values ...driver.Value) *step {
	lo := len(b.args)
	b.args = number(b.args, values)
	b.steps = append(b.steps, step{statement: st, lo: lo, hi: len(b.args), want: want})
	return &b.steps[len(b.steps)-1]
}

// place is a point in a batch to which it can be taken back.
type place struct{ rows, steps, args, undo int }

func (b *batch) place() place {
	return place{len(b.rows), len(b.steps), len(b.args), len(b.Undo)}
}

// takeBack undoes what was planned since at.
func (b *batch) takeBack(at place) {
	b.Back(at.undo)
	clear(b.rows[at.rows:])
	clear(b.steps[at.steps:])
	clear(b.args[at.args:])
	b.rows, b.steps, b.args = b.rows[:at.rows], b.steps[:at.steps], b.args[:at.args]
}

// empty empties the queue, not the undo list, and lets go of all values.
func (b *batch) empty() {
	b.Stored()
	clear(b.rows)
	clear(b.steps)
	clear(b.args)
	b.rows, b.steps, b.args = b.rows[:0], b.steps[:0], b.args[:0]
}

// nothing reports whether what was planned changes nothing, as when there is nothing to
// purge. A transaction of it would have to be synced and copied like any other.
func (b *batch) nothing() bool {
	return len(b.rows) == 0 && len(b.steps) == 0 && len(b.Changed) == 0 && len(b.Undo) == 0
}

// single reports whether the queue is one block and nothing else: one statement,
// which needs no BEGIN and COMMIT around it.
func (b *batch) single() bool {
	n := len(b.rows)
	if n == 0 || n > maxBlockRows || len(b.steps) > 0 || len(b.Changed) > 0 || b.rows[n-1].key-b.rows[0].key != int64(n-1) {
		return false
	}
	t := b.Topics[topicOf(b.rows[0].key)]
	return (t == nil || len(t.Pieces) == 0) && sizeOf(b.rows) <= maxBlockBytes
}

// sizeOf is the most that messages of one topic take in a block.
func sizeOf(rows []row) int64 {
	n := len(rows)
	return rows[n-1].total - rows[0].total + rows[0].Size() + int64(n)*maxEntry
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
		if s.want != anyRows && n != s.want {
			return errMismatch
		}
	}
	if err := b.insertRows(c, b.rows[inserted:]); err != nil {
		return err
	}
	return b.storeMarks(c)
}

func (b *batch) storeMarks(c *conn) error {
	for _, t := range b.Changed {
		if b.Topics[t.ID] != t || t.Damaged {
			continue
		}
		b.move = number(b.move[:0], []driver.Value{int64(t.ID), t.First, t.Dropped, t.Next, t.Total, t.LastTime, t.Lost, topicPlaceSum(t.ID, &t.Marks)})
		n, err := c.exec(moveTopic, b.move)
		if err != nil {
			return err
		}
		if n != 1 {
			return errMismatch
		}
		b.Touch(t)
		t.Stored = t.Next
	}
	return nil
}

// byKey gives rows in the order of their keys. What is sorted is pointers: a sort of the rows themselves
// would be no faster, and add 17 KB of code of its own.
func byKey(rows []row) []row {
	if slices.IsSortedFunc(rows, func(a, b row) int { return cmp.Compare(a.key, b.key) }) {
		return rows
	}
	order := make([]*row, len(rows))
	for i := range rows {
		order[i] = &rows[i]
	}
	slices.SortFunc(order, func(a, b *row) int { return cmp.Compare(a.key, b.key) })
	sorted := make([]row, len(rows))
	for i, r := range order {
		sorted[i] = *r
	}
	return sorted
}

// insertRows inserts messages.
func (b *batch) insertRows(c *conn, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	rows = byKey(rows)
	var fresh *freshRow
	alone := rows[0].key>>offsetBits == rows[len(rows)-1].key>>offsetBits
	for len(rows) > 0 {
		id := rows[0].key >> offsetBits
		n := 1
		for n < len(rows) && rows[n].key>>offsetBits == id {
			n++
		}
		t := b.Topics[storage.TopicID(id)]
		switch {
		case t == nil: // removed since
		case b.staysFresh(t, rows[:n], alone):
			if fresh == nil {
				fresh = newFreshRow(rows)
			}
			b.addPiece(t, fresh.add(t.ID, rows[:n], &b.block), sizeOf(rows[:n]))
		default:
			if err := b.insertBlocks(c, t, rows[:n], alone); err != nil {
				return err
			}
		}
		rows = rows[n:]
	}
	if fresh == nil {
		return nil
	}
	return b.insertFresh(c, fresh)
}

// staysFresh reports whether messages become a piece of their topic's log; alone
// says that they are all that is inserted.
func (b *batch) staysFresh(t *topic, rows []row, alone bool) bool {
	if alone && len(t.Pieces) == 0 || b.fresh.bytes >= b.limits.most {
		return false
	}
	size := sizeOf(rows)
	return size <= maxPiece && t.Fresh+size <= maxBlockBytes
}

// insertBlocks inserts messages of one topic as blocks, and before them its pieces;
// alone says that they are all that is inserted.
func (b *batch) insertBlocks(c *conn, t *topic, rows []row, alone bool) error {
	apart := !alone || len(t.Pieces) > 0
	if len(t.Pieces) > 0 {
		rows = b.merged(t, rows)
		t.Pieces, t.Fresh = nil, 0
		defer b.merging.reset()
	}
	b.into = t
	for len(rows) > 0 {
		rows = b.block.fill(rows)
		if err := b.insertBlock(c, apart); err != nil {
			return err
		}
	}
	b.into = nil
	clear(b.insert) // a large message must not live on here
	if cap(b.block.body) > maxBlockBytes*4 {
		b.block.body = nil
	}
	return nil
}

// insertBlock inserts the block that was filled. apart says that it is one of several,
// whose places in "blocks" are scattered. Much to take in at each of them would make
// SQLite move its neighbours, so what they hold goes to the table "contents".
func (b *batch) insertBlock(c *conn, apart bool) error {
	k, st := &b.block, insertBlock
	if apart && len(k.meta)+len(k.body) > b.limits.inline {
		b.insert = number(b.insert[:0], []driver.Value{k.meta, k.body})
		if _, err := c.exec(insertContents, b.insert); err != nil {
			return err
		}
		st = insertBlockApart
		b.insert = number(b.insert[:0], []driver.Value{k.key, k.n, k.time, k.total})
	} else {
		b.insert = number(b.insert[:0], []driver.Value{k.key, k.n, k.time, k.total, k.meta, k.body})
	}
	_, err := c.exec(st, b.insert)
	return err
}

// merging is memory for messages that are merged.
type merging struct {
	rows    []row
	records []storage.Record
}

// reset lets go of the messages.
func (m *merging) reset() {
	clear(m.rows)
	clear(m.records)
}
