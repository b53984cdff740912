package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sort"

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
	c, err := s.readers.take(ctx)
	if err != nil {
		return err
	}
	defer s.readers.put(c)
	err = f(c)
	if s.torn.Load() {
		return errTorn
	}
	return translate(err)
}

// topicLog is the messages of a topic as one reader sees them: the blocks below the
// pieces, and the pieces.
type topicLog struct {
	*conn
	topic storage.TopicID
	shown // taken before the database was looked at: see recent
}

// readLog runs f with the log of a topic.
func (s *Store) readLog(ctx context.Context, topic storage.TopicID, f func(l *topicLog) error) error {
	return s.read(ctx, func(c *conn) error {
		shown, err := s.recent.of(topic)
		if err != nil {
			return err
		}
		return f(&topicLog{c, topic, shown})
	})
}

// fresh is the offset that the pieces start with, or more than any offset.
func (l *topicLog) fresh() int64 {
	if len(l.pieces) == 0 {
		return storage.MaxOffset + 1
	}
	return l.pieces[0].First
}

// Read implements [storage.Store].
func (s *Store) Read(ctx context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	before := len(dst)
	err := s.readLog(ctx, topic, func(l *topicLog) (err error) {
		dst, err = l.read(from, page, dst)
		return err
	})
	if err != nil {
		return dst[:before], fmt.Errorf("read topic %d from %d: %w", topic, from, err)
	}
	return dst, nil
}

func (l *topicLog) read(from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	p := pageReader{log: l, page: page, from: min(max(from, l.first), storage.MaxOffset+1), rows: max(page.Rows, 1), dst: dst}
	p.at = p.from
	full, err := p.takeBlocks()
	for i := l.pieceAt(p.at); err == nil && !full && i < len(l.pieces); i++ {
		b := pieceBlock(l.pieces[i])
		full, err = p.take(&b)
	}
	if err == nil && !full {
		_, err = p.missing(l.next)
	}
	return p.dst, err
}

// pageReader fills a page from one block after the other.
type pageReader struct {
	log  *topicLog
	page storage.Page
	from int64 // offset
	at   int64 // the offset that comes next
	rows int   // that are left
	size int64
	dst  []storage.Record
}

// takeBlocks appends what the blocks have and reports whether the page is full.
//
// The blocks are in the order of their keys. If they end too early, the key of one or a
// page may be damaged, which hides those behind it: so they are looked for.
func (p *pageReader) takeBlocks() (full bool, err error) {
	l := p.log
	end := min(l.fresh(), l.next)
	for p.at < end {
		if full, err = p.takeRows(end); full || err != nil && !unreadable(err) {
			return full, err
		}
		if p.at >= end {
			break
		}
		after, err := l.readableAfter(p.at, end)
		if err != nil {
			return false, err
		}
		if full, err = p.missing(after); full || err != nil {
			return full, err
		}
	}
	return false, nil
}

// takeRows appends what the blocks below end have from p.at on, as far as they are in
// order.
func (p *pageReader) takeRows(end int64) (full bool, err error) {
	l, st := p.log, selectBlocks
	if p.page.Brief {
		st = selectBrief
	}
	for row, err := range l.rows(st, int64(l.topic), keyOf(l.topic, p.at), keyOf(l.topic, end)) {
		if err != nil {
			return false, err
		}
		b, err := l.block(row)
		if err == nil {
			full, err = p.take(&b)
		}
		if full || err != nil {
			return full, err
		}
	}
	return false, nil
}

// blockAfter is where the first block behind an offset starts, or end.
func (l *topicLog) blockAfter(offset, end int64) (int64, error) {
	after := end
	for row, err := range l.rows(selectKeyAfter, keyOf(l.topic, offset), keyOf(l.topic, end)) {
		if err != nil {
			return 0, err
		}
		after = offsetOf(integer(row[0]))
	}
	return max(after, offset+1), nil
}

// readableAfter is where the first block behind an offset starts that a damaged page does
// not hide, or end. Keys in the same page as a hidden one can't be looked up either, those in
// the pages behind can; the nearest one is found in twice as many steps as a binary search
// takes.
func (l *topicLog) readableAfter(offset, end int64) (int64, error) {
	hidden, step := offset, int64(1)
	after, err := l.blockAfter(hidden, end)
	for unreadable(err) && hidden < end-1 {
		hidden = min(offset+step, end-1)
		step *= 2
		after, err = l.blockAfter(hidden, end)
	}
	if unreadable(err) {
		return end, nil
	}
	for low := offset + step/4; err == nil && hidden-low > 1; {
		middle := low + (hidden-low)/2
		nearer, nerr := l.blockAfter(middle, end)
		switch {
		case nerr == nil:
			hidden, after = middle, nearer
		case unreadable(nerr):
			low = middle
		default:
			err = nerr
		}
	}
	return after, err
}

// take appends what a block has and reports whether the page is full.
func (p *pageReader) take(b *block) (full bool, err error) {
	if start := offsetOf(b.key); start > p.at {
		if full, err := p.missing(start); full || err != nil {
			return full, err
		}
	}
	for e := b.entries(); ; {
		var r storage.Record
		if !e.record(p.log.topic, p.page.Brief, &r) || r.Offset >= p.log.next {
			return false, nil
		}
		if r.Offset < p.at {
			p.replace(&r)
			continue
		}
		p.dst = append(p.dst, r)
		p.at = r.Offset + 1
		p.size += r.Size()
		if p.rows--; p.rows == 0 || p.page.Bytes > 0 && p.size >= p.page.Bytes {
			return true, nil
		}
	}
}

// replace puts an intact message in the place of a damaged one. Two blocks that have
// the same offset are one whose key or number of messages is damaged, and one that
// is not.
func (p *pageReader) replace(r *storage.Record) {
	for i := len(p.dst) - 1; r.Offset >= p.from && i >= 0 && p.dst[i].Offset >= r.Offset; i-- {
		if d := &p.dst[i]; d.Offset == r.Offset && d.Damaged() && d.Missing == 0 && !r.Damaged() {
			*d = *r
		}
	}
}

// missing says that there are no messages up to an offset, unless they are not to be
// no longer there, and reports whether the page is full.
func (p *pageReader) missing(to int64) (full bool, err error) {
	if p.at >= to {
		return false, nil
	}
	// What is gone now may have been there when the page was begun.
	first, _, err := p.log.marks()
	if err != nil {
		return false, err
	}
	if p.at = max(p.at, min(first, to)); p.at == to {
		return false, nil
	}
	p.dst = append(p.dst, storage.Record{Offset: p.at, Missing: to - p.at})
	p.at = to
	p.rows--
	return p.rows == 0, nil
}

// block is the block of a row, with what it holds, wherever that is. Looked for in the
// same query it would cost every row, where no block has it apart, too. The row is not
// good then.
func (c *conn) block(row []driver.Value) (block, error) {
	b := blockOf(row)
	if len(b.meta) > 0 {
		return b, nil
	}
	st := selectContents
	if len(row) == 5 {
		st = selectBriefContents
	}
	// The query that the row is of has not ended, so this one sees the same.
	for row, err := range c.rows(st, b.key) {
		if unreadable(err) {
			return b, nil // a block that says nothing: its messages are damaged
		}
		if err != nil {
			return b, err
		}
		if b.meta = blob(row[0]); len(row) > 1 {
			b.body = blob(row[1])
		}
	}
	return b, nil
}

// blockOf is the block of a row, without what is apart. It owns its memory.
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

// marks reads what the row of the topic says about its log.
func (l *topicLog) marks() (first, next int64, err error) {
	err = fmt.Errorf("topic %d: %w", l.topic, storage.ErrNotFound)
	for row, e := range l.rows(selectMarks, int64(l.topic)) {
		if e != nil {
			return 0, 0, e
		}
		first, next, err = integer(row[0]), integer(row[1]), nil
	}
	return first, next, err
}

// pieceAt is the index of the first piece that ends above an offset.
func (l *topicLog) pieceAt(offset int64) int {
	return sort.Search(len(l.pieces), func(i int) bool { return l.pieces[i].End() > offset })
}

// blockAt finds the block or piece that holds an offset, or the last one below it.
func (l *topicLog) blockAt(offset int64) (b block, found bool, err error) {
	if offset >= l.fresh() {
		return pieceBlock(l.pieces[min(l.pieceAt(offset), len(l.pieces)-1)]), true, nil
	}
	return blockAt(l.conn, l.topic, offset)
}
