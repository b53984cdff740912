package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A commit that appends a little to each of several topics puts all of it into one
// row of the table "fresh": a few pages one after the other, where as many blocks
// would each change a page in another place. What it appends to one topic is a
// piece. Later the pieces of a topic are merged into blocks, see merge.
//
// The log of a topic is its blocks and, behind them, its pieces, never one in
// between the other: whoever appends a block to a topic that has pieces merges
// these first, in the same transaction. So whether a piece still counts need not
// be written down: it does if it is behind the last block and not below the first
// offset of its topic. A row is deleted once none of its pieces counts.
//
// All pieces that count are in memory as well. From the table they are read when
// the store opens, and by Load.

// Limits of what is fresh. Merging begins at freshBytes. Should it fall behind, to
// freshMost, messages are stored as blocks at once: so memory is bounded. A larger
// piece than maxPiece fills pages well enough by itself.
const (
	maxPiece   = 4 << 10
	freshBytes = 6 << 20
	freshMost  = 12 << 20
	freshAge   = 10 * time.Second // a row that is older is merged, however little there is
)

// fresh is what the writing goroutine knows about the table of that name, besides
// the pieces of each topic.
type fresh struct {
	rows  []freshRow // oldest first
	last  int64      // seq of the last row ever
	bytes int64      // of rows
}

// freshRow is a row of the table, without what is in it.
type freshRow struct {
	seq    int64
	bytes  int64
	topics []storage.TopicID // of the pieces
	since  time.Time         // when it was written, or found at the start
}

// recent has the pieces of all topics for those who read. It is brought up to date
// after each commit, so what it says is committed.
//
// A reader first takes the pieces of a topic, then looks into the database. By then
// a piece may have become part of a block, but the blocks below the pieces that it
// holds are there: it reads those and no others, and misses nothing and sees nothing
// twice.
type recent struct {
	mu     sync.Mutex
	pieces map[storage.TopicID][]block // guarded by mu; what a slice holds does not change
}

func (r *recent) of(topic storage.TopicID) []block {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pieces[topic]
}

// publish shows readers the pieces of topics in which they have changed.
func (r *recent) publish(p *picture, changed []*topic) {
	if len(changed) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range changed {
		if p.topics[t.id] == t && len(t.pieces) > 0 {
			r.pieces[t.id] = t.pieces
		} else {
			delete(r.pieces, t.id)
		}
	}
}

// draft is a row of "fresh" that is being made.
type draft struct {
	pieces, bodies []byte
	parts          []part
	room           [2]int // what pieces and bodies took the last time
}

// part is a piece of a draft, and where in it its meta and its bodies are.
type part struct {
	topic    *topic
	piece    block
	lo, hi   int
	from, to int
}

// reset lets go of what is in the draft.
func (d *draft) reset() {
	clear(d.parts)
	*d = draft{parts: d.parts[:0], room: d.room}
}

// add makes messages of one topic a piece. b is used to do so.
func (d *draft) add(t *topic, rows []row, b *block) {
	b.fill(rows)
	if d.pieces == nil {
		d.pieces = append(make([]byte, 0, d.room[0]+d.room[0]/4+5), size32<<4|jsonbArray, 0, 0, 0, 0)
		d.bodies = make([]byte, 0, d.room[1]+d.room[1]/4) // nil would be NULL
	}
	p := part{topic: t, piece: *b, from: len(d.bodies), to: len(d.bodies) + len(b.body)}
	start := len(d.pieces)
	m := append(d.pieces, size32<<4|jsonbArray, 0, 0, 0, 0)
	m = appendInt(m, int64(t.id))
	m = appendInt(m, offsetOf(b.key))
	m = appendInt(m, b.n)
	m = appendInt(m, b.time)
	m = appendInt(m, b.total)
	p.lo, p.hi = len(m), len(m)+len(b.meta)
	m = append(m, b.meta...)
	m = appendInt(m, int64(p.from))
	m = appendInt(m, int64(len(b.body)))
	binary.BigEndian.PutUint32(m[start+1:], uint32(len(m)-start-5))
	d.pieces, d.bodies = m, append(d.bodies, b.body...)
	d.parts = append(d.parts, p)
}

// insertDraft stores the draft, if there is one. Its memory becomes that of the
// pieces.
func (b *batch) insertDraft(c *conn) error {
	d := &b.draft
	if len(d.parts) == 0 {
		return nil
	}
	defer d.reset()
	d.room = [2]int{len(d.pieces), len(d.bodies)}
	binary.BigEndian.PutUint32(d.pieces[1:], uint32(len(d.pieces)-5))
	before := b.fresh
	b.onUndo(func() { b.fresh = before })
	b.fresh.last++
	b.insert = number(b.insert[:0], []driver.Value{b.fresh.last, d.pieces, d.bodies})
	if _, err := c.exec(insertFresh, b.insert); err != nil {
		return err
	}
	r := freshRow{seq: b.fresh.last, bytes: int64(len(d.pieces) + len(d.bodies)), topics: make([]storage.TopicID, len(d.parts)), since: time.Now()}
	for i := range d.parts {
		p := &d.parts[i]
		p.piece.meta, p.piece.body = d.pieces[p.lo:p.hi:p.hi], d.bodies[p.from:p.to:p.to]
		b.addPiece(p.topic, p.piece, r.seq)
		r.topics[i] = p.topic.id
	}
	b.fresh.rows = append(b.fresh.rows, r)
	b.fresh.bytes += r.bytes
	return nil
}

func (b *batch) addPiece(t *topic, piece block, seq int64) {
	if len(t.pieces) == 0 {
		t.oldest = seq
	}
	t.pieces = append(t.pieces, piece)
	b.moved = append(b.moved, t)
}

// piecesOf takes the pieces out of a row. They share its memory.
func piecesOf(pieces, bodies []byte) ([]block, error) {
	list := jsonb{rest: pieces}
	list.rest = list.take(jsonbArray)
	var found []block
	for len(list.rest) > 0 {
		m := jsonb{rest: list.take(jsonbArray)}
		topic, offset := m.int(), m.int()
		b := block{key: keyOf(storage.TopicID(topic), offset), n: m.int(), time: m.int(), total: m.int()}
		b.meta = m.whole(jsonbArray)
		from, size := m.int(), m.int()
		if m.bad || topic < 1 || topic > maxTopic || b.n < 1 || b.n > maxBlockRows || offset+b.n > storage.MaxOffset+1 ||
			from+size > int64(len(bodies)) {
			return nil, fmt.Errorf("piece %d: %w", len(found)+1, storage.ErrDamaged)
		}
		b.body = bodies[from : from+size : from+size]
		found = append(found, b)
	}
	if list.bad {
		return nil, storage.ErrDamaged
	}
	return found, nil
}
