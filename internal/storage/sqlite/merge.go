package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

const (
	// mergeStep is how much one call of Maintain merges. It is in bytes that are
	// written: a topic costs a page besides what its blocks take.
	mergeStep = 256 << 10
	pageBytes = 4 << 10
)

// merge makes blocks of the oldest pieces, if there is reason to. Nobody waits for
// it to be on disk: should it get lost, the rows that it deleted are there again.
func (s *Store) merge(now time.Time) error {
	f := &s.picture.fresh
	if len(f.rows) == 0 || now.Before(s.mergeAfter) || f.bytes <= freshBytes && now.Sub(f.rows[0].since) < freshAge {
		return nil
	}
	defer s.picture.forget()
	err := s.transaction(func() error { return s.batch.merge(s.writer, mergeStep) })
	if errors.Is(translate(err), storage.ErrFull) {
		s.mergeAfter = now.Add(restAfter) // it stays where it is until then
		return nil
	}
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	return nil
}

// merge works off the oldest rows until about budget bytes are written.
func (b *batch) merge(c *conn, budget int64) error {
	defer b.empty()
	before := b.fresh
	b.onUndo(func() { b.fresh = before })
	done := 0
	for _, r := range b.fresh.rows {
		for _, id := range r.topics {
			t := b.topics[id]
			if t == nil || len(t.pieces) == 0 || t.oldest > r.seq {
				continue // removed, or merged already
			}
			if budget <= 0 {
				return b.deleteFresh(c, done)
			}
			b.touch(t)
			for i := range t.pieces {
				budget -= int64(len(t.pieces[i].meta) + len(t.pieces[i].body))
			}
			budget -= pageBytes
			if err := b.insertBlocks(c, t, nil); err != nil {
				return err
			}
		}
		budget -= r.bytes / 4
		done++
	}
	return b.deleteFresh(c, done)
}

// deleteFresh deletes the n oldest rows, none of whose pieces counts any more.
func (b *batch) deleteFresh(c *conn, n int) error {
	if n == 0 {
		return nil
	}
	for _, r := range b.fresh.rows[:n] {
		b.fresh.bytes -= r.bytes
	}
	b.insert = number(b.insert[:0], []driver.Value{b.fresh.rows[n-1].seq})
	b.fresh.rows = b.fresh.rows[n:]
	deleted, err := c.exec(deleteFresh, b.insert)
	if err == nil && deleted != int64(n) {
		err = errMismatch
	}
	return err
}

// mergedRows are the messages of pieces that count, from the topic's first offset
// on, as they were when they were planned.
func (t *topic) mergedRows() []row {
	var rows []row
	for i := range t.pieces {
		rows = t.pieces[i].rows(rows)
	}
	n := 0
	for n < len(rows) && offsetOf(rows[n].key) < t.first {
		n++
	}
	return rows[n:]
}

// rows appends the messages of a block, with the checksums that they have: so
// damage is not made good.
func (b *block) rows(dst []row) []row {
	start := len(dst)
	records := make([]storage.Record, b.n)
	e := b.entries()
	for i := range records {
		r := &records[i]
		at, size, _ := e.next(r)
		if at+size <= int64(len(b.body)) && size > 0 {
			r.Body = b.body[at : at+size : at+size]
		}
		dst = append(dst, row{b.key + int64(i), b.total, r})
	}
	for i := len(dst) - 2; i >= start; i-- {
		dst[i].total = dst[i+1].total - dst[i+1].Size()
	}
	return dst
}
