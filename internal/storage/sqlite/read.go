package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// read runs f with one of the readers.
//
// ctx ends the wait for a reader and is looked at before f, but f itself runs
// to its end: it is one short statement, or checks ctx between several.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case <-s.closed:
		return fmt.Errorf("store is closed: %w", storage.ErrUnavailable)
	case <-ctx.Done():
		return context.Cause(ctx)
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return translate(f(c))
	}
}

// Read implements [storage.Store].
func (s *Store) Read(ctx context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	before := len(dst)
	err := s.read(ctx, func(c *conn) (err error) {
		dst, err = readPage(c, topic, from, page, dst)
		return err
	})
	if err != nil {
		return dst[:before], fmt.Errorf("read topic %d from %d: %w", topic, from, err)
	}
	return dst, nil
}

func readPage(c *conn, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	first, _, err := marksOf(c, topic)
	if err != nil {
		return dst, err
	}
	st := selectBlocks
	if page.Brief {
		st = selectBrief
	}
	from = min(max(from, first), storage.MaxOffset+1)
	rows, size := max(page.Rows, 1), int64(0)
	for row, err := range c.rows(st, int64(topic), keyOf(topic, from), keyOf(topic+1, 0)) {
		if err != nil {
			return dst, err
		}
		b := blockOf(row)
		for e := b.entries(); ; {
			var r storage.Record
			if !e.record(topic, page.Brief, &r) {
				break
			}
			if r.Offset < from {
				continue
			}
			dst = append(dst, r)
			size += r.Size()
			if rows--; rows == 0 || page.Bytes > 0 && size >= page.Bytes {
				return dst, nil
			}
		}
	}
	return dst, nil
}

// blockOf is the block of a row. It owns its memory.
func blockOf(row []driver.Value) block {
	b := block{
		key: integer(row[0]), n: min(max(integer(row[1]), 0), maxBlockRows), time: integer(row[2]), total: integer(row[3]),
		meta: blob(row[4]),
	}
	if len(row) > 5 {
		b.body = blob(row[5])
	}
	return b
}

// marksOf reads what the row of a topic says about its log.
func marksOf(c *conn, topic storage.TopicID) (first, next int64, err error) {
	err = fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	for row, e := range c.rows(selectMarks, int64(topic)) {
		if e != nil {
			return 0, 0, e
		}
		first, next, err = integer(row[0]), integer(row[1]), nil
	}
	return first, next, err
}

// bounds reads where the log of a topic starts and ends.
func bounds(c *conn, topic storage.TopicID) (first, next int64, err error) {
	first, next, err = marksOf(c, topic)
	if err != nil {
		return 0, 0, err
	}
	last, found, err := blockAt(c, topic, storage.MaxOffset)
	if found {
		next = max(next, offsetOf(last.key)+last.n)
	}
	return first, next, err
}

// OffsetAt implements [storage.Store].
func (s *Store) OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (offset int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		lo, hi, err := bounds(c, topic)
		// Blocks that start below lo start earlier than time; none from hi on does.
		// The log may lose its beginning meanwhile, that changes nothing.
		for err == nil && lo < hi {
			mid := lo + (hi-lo)/2
			b, found, e := blockAt(c, topic, mid)
			switch err = e; {
			case found && b.time >= time:
				hi = offsetOf(b.key)
			case found:
				at := b.firstAt(time)
				if lo = max(lo, at); at < offsetOf(b.key)+b.n {
					hi = lo
				} else {
					lo = max(lo, mid+1)
				}
			default:
				lo = mid + 1
			}
		}
		offset = lo
		return err
	})
	return offset, err
}

// BytesFrom implements [storage.Store].
func (s *Store) BytesFrom(ctx context.Context, topic storage.TopicID, offset int64) (size int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		first, next, err := bounds(c, topic)
		if err != nil || offset >= next || first == next {
			return err
		}
		b, found, err := blockAt(c, topic, max(offset, first))
		if err != nil || !found {
			return err
		}
		last, _, err := blockAt(c, topic, storage.MaxOffset)
		size = last.total - b.total
		var r storage.Record
		for e := b.entries(); ; {
			_, body, ok := e.next(&r)
			if !ok {
				return err
			}
			if r.Offset >= max(offset, first) {
				size += r.Size() + body
			}
		}
	})
	return size, err
}

// blockAt finds the block that holds an offset, or the last one below it.
func blockAt(c *conn, topic storage.TopicID, offset int64) (b block, found bool, err error) {
	for row, err := range c.rows(selectBlockAt, int64(topic), keyOf(topic, offset)) {
		if err != nil {
			return b, false, err
		}
		b, found = blockOf(row), true
	}
	return b, found, nil
}

// firstAt is the offset of the first message not older than time, or the one
// behind the block.
func (b *block) firstAt(time int64) int64 {
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			return offsetOf(b.key) + b.n
		}
		if r.Time >= time {
			return r.Offset
		}
	}
}

// searchSpan is how many messages FindID looks through in one read transaction.
const searchSpan = 4096

// FindID implements [storage.Store]. Between two spans the reader is free for
// others: a search through a long log must not keep consumers waiting.
func (s *Store) FindID(ctx context.Context, topic storage.TopicID, id string) (offset int64, err error) {
	var first, hi int64
	err = s.read(ctx, func(c *conn) (err error) {
		first, hi, err = bounds(c, topic)
		return err
	})
	for found := false; err == nil && !found; {
		if hi <= first {
			return 0, fmt.Errorf("message %q of topic %d: %w", id, topic, storage.ErrNotFound)
		}
		err = s.read(ctx, func(c *conn) (err error) {
			offset, hi, found, err = findDown(c, topic, id, first, hi)
			return err
		})
	}
	return offset, err
}

// findDown looks for an id in about searchSpan messages from hi downwards, and
// says below which offset to go on.
func findDown(c *conn, topic storage.TopicID, id string, first, hi int64) (offset, rest int64, found bool, err error) {
	stop := max(first, hi-searchSpan)
	for row, err := range c.rows(selectBlocksDown, int64(topic), keyOf(topic, hi)) {
		if err != nil {
			return 0, hi, false, err
		}
		b := blockOf(row)
		var r storage.Record
		for e := b.entries(); ; {
			if _, _, ok := e.next(&r); !ok {
				break
			}
			if r.ID == id && r.Offset >= first {
				offset, found = r.Offset, true
			}
		}
		if hi = offsetOf(b.key); found || hi <= stop {
			return offset, hi, found, nil
		}
	}
	return 0, first, false, nil
}
