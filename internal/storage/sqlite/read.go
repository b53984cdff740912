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
		if err == nil && len(dst) == before {
			_, _, err = bounds(c, topic) // the end of the log, or no such topic
		}
		return err
	})
	if err != nil {
		return dst[:before], fmt.Errorf("read topic %d from %d: %w", topic, from, err)
	}
	return dst, nil
}

func readPage(c *conn, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	st := selectMessages
	if page.Brief {
		st = selectBrief
	}
	from = min(max(from, 0), storage.MaxOffset+1)
	var size int64
	for row, err := range c.rows(st, int64(topic), keyOf(topic+1, 0), keyOf(topic, from), int64(max(page.Rows, 1))) {
		if err != nil {
			return dst, err
		}
		dst = append(dst, storage.Record{})
		r := &dst[len(dst)-1]
		scanRecord(row, r)
		if page.Brief {
			r.Omitted = int(integer(row[6]))
		} else {
			r.Body = blob(row[6])
			if storage.Checksum(topic, r) != r.CRC {
				r.Body, r.Headers, r.CRC = nil, "", 0
			}
		}
		size += r.Size()
		if page.Bytes > 0 && size >= page.Bytes {
			break
		}
	}
	return dst, nil
}

func scanRecord(row []driver.Value, r *storage.Record) {
	r.Offset = offsetOf(integer(row[0]))
	r.Time = integer(row[1])
	r.Tag = text(row[2])
	r.ID = text(row[3])
	r.Headers = text(row[4])
	r.CRC = uint32(integer(row[5]))
}

// bounds reads where the log of a topic starts and ends.
func bounds(c *conn, topic storage.TopicID) (first, next int64, err error) {
	err = fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	for row, e := range c.rows(selectBounds, int64(topic)) {
		if e != nil {
			return 0, 0, e
		}
		first, next, err = integer(row[0]), integer(row[1]), nil
	}
	return first, next, err
}

// OffsetAt implements [storage.Store].
func (s *Store) OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (offset int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		lo, hi, err := bounds(c, topic)
		if err != nil {
			return err
		}
		// All messages below lo are older, none from offset upwards is, and
		// offset is the first of those found so far. The log may lose its
		// beginning meanwhile; a probe takes the next message that is there.
		offset = hi
		for lo < hi {
			mid := lo + (hi-lo)/2
			at, t, ok, err := messageFrom(c, keyOf(topic, mid), keyOf(topic, hi))
			switch {
			case err != nil:
				return err
			case !ok:
				hi = mid
			case t >= time:
				offset, hi = at, mid
			default:
				lo = at + 1
			}
		}
		return nil
	})
	return offset, err
}

// messageFrom finds the first message with a key in [lo, hi).
func messageFrom(c *conn, lo, hi int64) (offset, time int64, ok bool, err error) {
	for row, err := range c.rows(selectTimeFrom, lo, hi) {
		if err != nil {
			return 0, 0, false, err
		}
		offset, time, ok = offsetOf(integer(row[0])), integer(row[1]), true
	}
	return offset, time, ok, nil
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
		lo := max(first, hi-searchSpan)
		err = s.read(ctx, func(c *conn) error {
			for row, err := range c.rows(selectID, keyOf(topic, lo), keyOf(topic, hi), id) {
				if err == nil {
					offset, found = offsetOf(integer(row[0])), true
				}
				return err
			}
			return nil
		})
		hi = lo
	}
	return offset, err
}
