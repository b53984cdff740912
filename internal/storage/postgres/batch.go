package postgres

import (
	"cmp"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

// batch is what one transaction is about to do. Planning ops (see plan.go) changes the catalog at
// once and queues rows and statements, so an op that is refused costs nothing.
//
// Only the committing goroutine touches it.
type batch struct {
	*catalog
	rows  []row // messages to insert
	steps []step
	given [rules.Kinds]int64 // the ids given last, as they are stored
	sums  storage.Summer
}

// step is one statement to run.
type step struct {
	statement
	args [][]byte
	one  bool // it has to change one row
	rows int  // so many of batch.rows have to be there before
}

// add queues a statement that may change any number of rows. Inlined, it would add to the binary for each
// of its callers.
//
//go:noinline
func (b *batch) add(st statement, values ...any) *step {
	b.steps = append(b.steps, step{statement: st, args: encode(values)})
	return &b.steps[len(b.steps)-1]
}

// addOne queues a statement that has to change one row.
//
//go:noinline
func (b *batch) addOne(st statement, values ...any) { b.add(st, values...).one = true }

// place is a point in a batch to which it can be taken back.
type place struct{ rows, steps, undo int }

func (b *batch) place() place { return place{len(b.rows), len(b.steps), len(b.Undo)} }

// takeBack undoes what was planned since at.
func (b *batch) takeBack(at place) {
	b.Back(at.undo)
	clear(b.rows[at.rows:])
	clear(b.steps[at.steps:])
	b.rows, b.steps = b.rows[:at.rows], b.steps[:at.steps]
}

// empty empties the queue, not the undo list.
func (b *batch) empty() {
	clear(b.rows)
	clear(b.steps)
	b.Stored()
	b.rows, b.steps = b.rows[:0], b.steps[:0]
}

// nothing reports whether what was planned changes nothing, as when there is nothing to purge.
func (b *batch) nothing() bool { return len(b.rows) == 0 && len(b.steps) == 0 && len(b.Undo) == 0 }

// all is the whole queue as statements.
func (b *batch) all() []step {
	list := make([]step, 0, len(b.steps)+4)
	inserted := 0
	for _, s := range b.steps {
		if s.rows > inserted {
			list = b.blocks(list, b.rows[inserted:s.rows])
			inserted = s.rows
		}
		list = append(list, s)
	}
	list = b.blocks(list, b.rows[inserted:])
	for _, t := range b.Changed {
		if b.Topics[t.ID] == t {
			list = append(list, step{statement: moveTopic, one: true, args: encode([]any{int64(t.ID), t.First, t.Dropped, t.Next, t.Total, t.LastTime})})
		}
	}
	for kind, name := range idNames() {
		if last := b.Last[kind]; last != b.given[kind] {
			list = append(list, step{statement: setLast, one: true, args: encode([]any{name, last})})
		}
	}
	return list
}

// blocks has messages inserted, as blocks.
func (b *batch) blocks(list []step, rows []row) []step {
	if len(rows) == 0 {
		return list
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.topic, b.topic) }) // offsets are in order already
	for len(rows) > 0 {
		id, n := rows[0].topic, 1
		for n < len(rows) && rows[n].topic == id {
			n++
		}
		own := rows[:n]
		if rows = rows[n:]; b.Topics[id] == nil {
			continue // removed since
		}
		for len(own) > 0 {
			var k block
			k, own = newBlock(own)
			list = append(list, step{statement: insertBlock, one: true, args: encode([]any{
				int64(k.topic), k.first, k.n, k.time, k.last, k.total, k.meta, k.body,
			})})
		}
	}
	return list
}
