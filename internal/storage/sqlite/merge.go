package sqlite

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// pageBytes is what merging a topic writes besides its messages.
const pageBytes = 4 << 10

// merge makes blocks of the oldest pieces, if there is reason to. No publisher waits for
// it to be on disk: should it get lost, the rows that it deleted are there again.
func (s *Store) merge(now time.Time) error {
	f, limits := &s.catalog.fresh, &s.options.fresh
	if len(f.rows) == 0 || now.Before(s.mergeAfter) || f.bytes <= limits.bytes && now.Sub(f.rows[0].since) < limits.age {
		return nil
	}
	defer s.catalog.Forget()
	err := s.transaction(func() error { return s.batch.merge(s.writer, limits.step) })
	if isFull(err) {
		s.noSpace(now)
		s.mergeAfter = now.Add(restAfter) // it stays where it is until then
		return nil
	}
	if unreadable(err) && s.cutOff(err) {
		return nil // the next time without that topic
	}
	if err != nil {
		return fmt.Errorf("merge: %w", translate(err))
	}
	if s.sync.every == 0 {
		writeSoon(s.sync.log) // the next sync, for which publishers wait, has less to do
	}
	return nil
}

// merge works off the oldest rows until about budget bytes are written. All pieces
// of a topic go together, so the younger rows have less left when it is their turn.
func (b *batch) merge(c *conn, budget int64) error {
	defer b.empty()
	done := 0
	for _, r := range b.fresh.rows {
		if budget <= 0 {
			break
		}
		stays := false
		for _, id := range r.topics {
			t := b.Topics[id]
			if t == nil || len(t.Pieces) == 0 || t.Pieces[0].Row.seq > r.seq {
				continue // removed, or merged already
			}
			if t.Cut {
				stays = true
				continue
			}
			if budget <= 0 {
				return b.deleteFresh(c, done)
			}
			budget -= t.Fresh + pageBytes
			b.Touch(t)
			if err := b.insertBlocks(c, t, nil, false); err != nil {
				return err
			}
		}
		budget -= r.bytes() / 4
		if !stays {
			done++
			continue
		}
		if err := b.deleteFresh(c, done); err != nil {
			return err
		}
		b.leaveFresh()
		done = 0
	}
	return b.deleteFresh(c, done)
}

// leaveFresh leaves the oldest row where it is: a topic that is cut off has a piece in it.
func (b *batch) leaveFresh() {
	before := b.fresh
	b.OnUndo(func() { b.fresh = before })
	r := b.fresh.rows[0]
	b.fresh.left, b.fresh.bytes, b.fresh.rows = r.seq, b.fresh.bytes-r.bytes(), slices.Clone(b.fresh.rows[1:])
}

// deleteFresh deletes the n oldest rows, none of whose pieces still counts.
func (b *batch) deleteFresh(c *conn, n int) error {
	if n == 0 {
		return nil
	}
	before := b.fresh
	b.OnUndo(func() { b.fresh = before })
	for _, r := range b.fresh.rows[:n] {
		b.fresh.bytes -= r.bytes()
	}
	b.insert = number(b.insert[:0], []driver.Value{b.fresh.rows[n-1].seq, b.fresh.left})
	b.fresh.rows = slices.Clone(b.fresh.rows[n:]) // the others are let go
	deleted, err := c.exec(deleteFresh, b.insert)
	if err == nil && deleted != int64(n) {
		err = errMismatch
	}
	return err
}

// merged are the messages of a topic's pieces from its first offset on, as they
// were when they were planned, and more behind them. They are good until the next
// call.
func (b *batch) merged(t *topic, more []row) []row {
	n := 0
	for _, p := range t.Pieces {
		n += int(p.N)
	}
	b.merging.records = slices.Grow(b.merging.records[:0], n)[:n]
	rows, records := b.merging.rows[:0], b.merging.records
	for _, p := range t.Pieces {
		k := pieceBlock(p)
		rows = k.rows(rows, records[:p.N])
		records = records[p.N:]
	}
	rows = append(rows, more...)
	b.merging.rows = rows
	below := 0
	for below < n && offsetOf(rows[below].key) < t.First {
		below++
	}
	return rows[below:]
}

// rows appends the messages of a block, which are put into records. They have the
// checksums that they had: damage is not made good.
func (b *block) rows(dst []row, records []storage.Record) []row {
	e := b.entries()
	for i := range records {
		r := &records[i]
		at, size, ok := e.next(r)
		if !ok {
			*r = storage.Record{Offset: offsetOf(b.key) + int64(i), Time: b.time} // stays damaged
		}
		if at+size <= int64(len(b.body)) && size > 0 {
			r.Body = b.body[at : at+size : at+size]
		}
		dst = append(dst, row{b.key + int64(i), b.total, r})
	}
	for i := len(dst) - 2; i > len(dst)-1-len(records); i-- {
		dst[i].total = dst[i+1].total - dst[i+1].Size()
	}
	return dst
}
