package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rushmore/zbus-go/internal/storage"
)

// readers are the connections that read.
type readers struct {
	dial  func(ctx context.Context, epoch int64) (*conn, error)
	slots chan struct{} // a token for each that is in use

	mu     sync.Mutex
	epoch  int64   // guarded by mu: of the lease
	idle   []*conn // guarded by mu
	closed bool    // guarded by mu
}

func newReaders(n int, dial func(ctx context.Context, epoch int64) (*conn, error)) *readers {
	return &readers{dial: dial, slots: make(chan struct{}, n)}
}

// renew has all reads from now on be of a server that has an epoch of the lease. One that was left
// behind by a failover may still answer, and lacks what was stored since.
func (r *readers) renew(epoch int64) {
	r.mu.Lock()
	r.epoch = epoch
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, c := range idle {
		c.drop()
	}
}

// readerFor makes a connection that reads, to a server that has an epoch of the lease, and all that was
// stored: one to which the lease was not replicated may have counted up to the same epoch.
func (s *Store) readerFor(ctx context.Context, epoch int64) (*conn, error) {
	seq := s.recent.stored()
	c, err := s.dialer.dial(ctx, application(s.holder, readerRole), func(ctx context.Context, to *pgconn.PgConn) error {
		rows, err := (&conn{PgConn: to}).query(ctx, "SELECT FROM brokers WHERE name = $1 AND epoch >= $2 AND seq >= $3", s.node, epoch, seq)
		if err == nil && len(rows) == 0 {
			err = fmt.Errorf("%w: it was left behind, before epoch %d and transaction %d", storage.ErrUnavailable, epoch, seq)
		}
		return err
	})
	if err == nil {
		c.epoch = epoch
	}
	return c, err
}

// take gives a connection, and says whether it is a new one.
func (r *readers) take(ctx context.Context) (c *conn, fresh bool, err error) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	r.mu.Lock()
	closed, epoch := r.closed, r.epoch
	if n := len(r.idle); n > 0 {
		c, r.idle = r.idle[n-1], r.idle[:n-1]
	}
	r.mu.Unlock()
	if closed {
		err = fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)
	} else if c == nil {
		fresh = true
		if c, err = r.dial(ctx, epoch); err != nil {
			err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
	}
	if err != nil {
		<-r.slots
	}
	return c, fresh, err
}

// put takes a connection back. After an error of it those that are idle may be as bad.
func (r *readers) put(c *conn, err error) {
	bad := err != nil && c.broken(err)
	r.mu.Lock()
	var drop []*conn
	if bad {
		drop, r.idle = append(r.idle, c), nil
	} else if r.closed || c.epoch < r.epoch || c.TxStatus() != 'I' {
		drop = []*conn{c}
	} else {
		r.idle = append(r.idle, c)
	}
	r.mu.Unlock()
	for _, c := range drop {
		c.drop()
	}
	<-r.slots
}

// close closes all connections, and waits for those in use.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for range cap(r.slots) {
		r.slots <- struct{}{}
	}
	for _, c := range r.idle {
		c.leave()
	}
	for range cap(r.slots) { // later readers get an error
		<-r.slots
	}
}

// ours reports whether an error is what a function given to read has found, and none of a connection.
func ours(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged)
}

// read runs f with one of the connections that read, and once more with a new one if the first was
// lost since it was last used.
func (s *Store) read(ctx context.Context, f func(context.Context, *conn) error) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		again, err := s.readOnce(ctx, f)
		switch {
		case err == nil || ours(err):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !again:
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
	}
}

// readOnce says, after an error, whether another connection may do better.
func (s *Store) readOnce(ctx context.Context, f func(context.Context, *conn) error) (again bool, err error) {
	ctx, stop := context.WithTimeout(ctx, s.options.ReadTimeout)
	defer stop()
	c, fresh, err := s.readers.take(ctx)
	if err != nil {
		return false, err
	}
	err = f(ctx, c)
	if err == nil || ours(err) {
		s.readers.put(c, nil)
		return false, err
	}
	lost := c.broken(err)
	s.readers.put(c, err)
	return lost && !fresh, err
}

// recent is how far the topics are, for those who read. It is brought up to date after each commit, so
// what it says is committed.
type recent struct {
	mu     sync.Mutex
	topics map[storage.TopicID]shown // guarded by mu
	seq    int64                     // guarded by mu: of the last transaction
}

// stored is the last transaction.
func (r *recent) stored() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// shown is what readers know of a topic.
type shown struct{ first, next, total int64 }

func (r *recent) of(topic storage.TopicID) (shown, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.topics[topic]
	if !ok {
		return s, fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	}
	return s, nil
}

// show shows readers all topics.
func (r *recent) show(p *catalog, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq = seq
	r.topics = make(map[storage.TopicID]shown, len(p.Topics))
	for id, t := range p.Topics {
		r.topics[id] = shown{t.First, t.Next, t.Total}
	}
}

// publish shows readers the topics that the changes of a commit are about.
func (r *recent) publish(p *catalog, changes []change, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq = seq
	for i := range changes {
		t := changes[i].Topic
		switch {
		case t == nil:
		case p.Topics[t.ID] == t:
			r.topics[t.ID] = shown{t.First, t.Next, t.Total}
		default:
			delete(r.topics, t.ID)
		}
	}
}

// pageBlocks is how many blocks are asked for at a time.
const pageBlocks = 8

// Read implements [storage.Store].
func (s *Store) Read(ctx context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	before := len(dst)
	t, err := s.recent.of(topic)
	if err != nil {
		return dst, err
	}
	p := pageReader{topic: topic, shown: t, page: page, rows: max(page.Rows, 1), dst: dst}
	p.at = min(max(from, t.first), storage.MaxOffset+1)
	if p.at >= t.next {
		return dst, nil
	}
	begun := p
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		p = begun
		p.dst = dst[:before]
		return p.fill(ctx, c)
	})
	if err != nil {
		return dst[:before], fmt.Errorf("read topic %d from %d: %w", topic, from, err)
	}
	return p.dst, nil
}

// pageReader fills a page from one block after the other.
type pageReader struct {
	topic storage.TopicID
	shown // taken before the database was looked at
	page  storage.Page
	at    int64 // the offset that comes next
	rows  int   // that are left
	size  int64
	dst   []storage.Record
}

// fill reads blocks until the page is full or the log ends.
func (p *pageReader) fill(ctx context.Context, c *conn) error {
	for p.at < p.next {
		list, err := p.blocks(ctx, c)
		if err != nil {
			return err
		}
		began := p.at
		for i := range list {
			full := false
			if list[i].first > p.at {
				full, err = p.missing(ctx, c, list[i].first)
			}
			if full || err != nil || p.take(&list[i]) {
				return err
			}
		}
		if p.at > began {
			continue
		}
		if full, err := p.missing(ctx, c, p.next); full || err != nil {
			return err
		}
	}
	return nil
}

// blocks reads the next few.
func (p *pageReader) blocks(ctx context.Context, c *conn) (list []block, err error) {
	st, args := selectBlocks, []any{int64(p.topic), p.at, p.next, int64(min(p.rows, pageBlocks))}
	switch {
	case p.page.Brief:
		st = selectBrief
	case p.page.Bytes > 0:
		args = append(args, p.page.Bytes-p.size)
	default:
		args = append(args, int64(math.MaxInt64))
	}
	for row, err := range c.rows(ctx, st, args...) {
		if err != nil {
			return nil, err
		}
		list = append(list, blockOf(row))
	}
	return list, nil
}

// take appends what a block has and reports whether the page is full.
func (p *pageReader) take(b *block) (full bool) {
	for e := b.entries(); ; {
		var r storage.Record
		if !e.record(p.page.Brief, &r) || r.Offset >= p.next {
			return false
		}
		if r.Offset < p.at {
			continue
		}
		p.dst = append(p.dst, r)
		p.at = r.Offset + 1
		p.size += r.Size()
		if p.rows--; p.rows == 0 || p.page.Bytes > 0 && p.size >= p.page.Bytes {
			return true
		}
	}
}

// missing says that there are no messages up to an offset, unless they were removed, and reports
// whether the page is full.
func (p *pageReader) missing(ctx context.Context, c *conn, to int64) (full bool, err error) {
	// What is gone now may have been there when the page was begun.
	err = fmt.Errorf("topic %d: %w", p.topic, storage.ErrNotFound)
	for row, e := range c.rows(ctx, selectMarks, int64(p.topic)) {
		if e != nil {
			return false, e
		}
		p.first, err = integer(row[0]), nil
	}
	if err != nil {
		return false, err
	}
	if p.at = max(p.at, min(p.first, to)); p.at == to {
		return false, nil
	}
	p.dst = append(p.dst, storage.Record{Offset: p.at, Missing: to - p.at})
	p.at = to
	p.rows--
	return p.rows == 0, nil
}

// blockOf is the block of a row. It owns its memory.
func blockOf(row [][]byte) block {
	b := block{
		topic: storage.TopicID(integer(row[0])), first: integer(row[1]), n: min(max(integer(row[2]), 0), maxBlockRows),
		time: integer(row[3]), last: integer(row[4]), total: integer(row[5]), meta: append([]byte(nil), row[6]...),
	}
	if len(row) > 7 {
		b.body = append([]byte(nil), row[7]...)
	}
	return b
}
