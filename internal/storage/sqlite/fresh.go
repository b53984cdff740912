package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// A commit that appends a little to each of several topics puts all of it into one
// row of the table "fresh": a few pages one after the other, where as many blocks
// would each change a page in another place. What it appends to one topic is a
// piece. Later the pieces of a topic are merged into blocks: see batch.merge.
//
// The log of a topic is its blocks and, behind them, its pieces, never one in
// between the other: an op that appends a block to a topic that has pieces merges
// these first, in the same transaction. So whether a piece still counts need not
// be written down: it does if it is behind the last block and not below the first
// offset of its topic. A row is deleted once none of its pieces counts.
//
// The rows are in memory as well: only Open and Load read the table.

// maxPiece is the size of the largest piece, in bytes: what is larger fills pages
// well enough by itself. So does what a topic has fresh when it fills a block.
const maxPiece = 4 << 10

// freshLimits say how much is fresh, and what becomes of it.
type freshLimits struct {
	bytes int64         // of rows; above, the oldest are merged
	most  int64         // should merging fall behind that far, messages become blocks at once
	age   time.Duration // an older row is merged, however little there is
	step  int64         // how much one call of Maintain merges, in bytes that are written

	inline int // up to so many bytes the contents of a block stay with it in any case
}

// defaultFresh is a compromise between memory and larger blocks: of 1,000 topics,
// each has 35 messages of 256 bytes when it is merged.
func defaultFresh() freshLimits {
	return freshLimits{bytes: 12 << 20, most: 16 << 20, age: 10 * time.Second, step: 256 << 10, inline: 512}
}

// fresh is what the writing goroutine knows about the table of that name, besides
// the pieces of each topic.
type fresh struct {
	rows  []*freshRow // oldest first
	last  int64       // seq of the last row ever
	left  int64       // seq of the last row that stays where it is: see leaveFresh
	bytes int64       // of rows
}

// freshRow is a row of the table "fresh". It does not change once it is stored.
type freshRow struct {
	seq            int64
	pieces, bodies []byte
	topics         []storage.TopicID // of the pieces
	since          time.Time         // when it was written, or found at the start
}

func (r *freshRow) bytes() int64 { return int64(len(r.pieces) + len(r.bodies)) }

// pieceBlock is a piece as if it were a row of the table "blocks". It shares memory
// with the row.
func pieceBlock(p piece) block {
	list := jsonb{rest: p.Row.pieces[p.At:]}
	b, _ := list.piece(p.Row.bodies)
	return b
}

// piece takes a piece off the front of a row.
func (j *jsonb) piece(bodies []byte) (b block, ok bool) {
	m := jsonb{rest: j.take(jsonbArray)}
	topic, offset := m.int(), m.int()
	b = block{key: keyOf(storage.TopicID(topic), offset), n: m.int(), time: m.int(), total: m.int()}
	b.meta = m.whole(jsonbArray)
	from, size := m.int(), m.int()
	if m.bad || topic < 1 || topic > maxTopic || b.n < 1 || b.n > maxBlockRows || offset+b.n > storage.MaxOffset+1 ||
		from > int64(len(bodies)) || size > int64(len(bodies))-from {
		return block{}, false
	}
	b.body = bodies[from : from+size : from+size]
	return b, true
}

// split yields the pieces of a row as they are in its memory.
func (r *freshRow) split(f func(t storage.TopicID, p piece, b *block) error) error {
	list := jsonb{rest: r.pieces}
	list.rest = list.take(jsonbArray)
	for len(list.rest) > 0 {
		at := len(r.pieces) - len(list.rest)
		b, ok := list.piece(r.bodies)
		if !ok {
			return fmt.Errorf("row %d of fresh, byte %d: %w", r.seq, at, storage.ErrDamaged)
		}
		err := f(topicOf(b.key), piece{First: offsetOf(b.key), N: int32(b.n), At: int32(at), Row: r}, &b)
		if err != nil {
			return fmt.Errorf("row %d of fresh, byte %d: %w", r.seq, at, err)
		}
	}
	if list.bad {
		return fmt.Errorf("row %d of fresh: %w", r.seq, storage.ErrDamaged)
	}
	return nil
}

// newFreshRow creates a row with room for messages.
func newFreshRow(rows []row) *freshRow {
	meta, bodies := 0, 0
	for i := range rows {
		n := len(rows[i].Body)
		bodies += n
		meta += int(rows[i].Size()) - n + maxEntry
	}
	r := &freshRow{since: time.Now(), pieces: make([]byte, 5, 5+meta), bodies: make([]byte, 0, bodies)}
	r.pieces[0] = size32<<4 | jsonbArray
	return r
}

// add makes messages of one topic a piece of the row. b is used to do so.
func (r *freshRow) add(t storage.TopicID, rows []row, b *block) piece {
	b.fill(rows)
	start := len(r.pieces)
	m := append(r.pieces, size32<<4|jsonbArray, 0, 0, 0, 0)
	for _, v := range [...]int64{int64(t), offsetOf(b.key), b.n, b.time, b.total} {
		m = appendInt(m, v)
	}
	m = append(m, b.meta...)
	m = appendInt(m, int64(len(r.bodies)))
	m = appendInt(m, int64(len(b.body)))
	binary.BigEndian.PutUint32(m[start+1:], uint32(len(m)-start-5))
	binary.BigEndian.PutUint32(m[1:], uint32(len(m)-5))
	r.pieces, r.bodies = m, append(r.bodies, b.body...)
	r.topics = append(r.topics, t)
	return piece{First: offsetOf(b.key), N: int32(b.n), At: int32(start), Row: r}
}

// clip gives back memory that is not needed: what is stored as blocks had its share.
func (r *freshRow) clip() {
	if room := cap(r.pieces) + cap(r.bodies); room > 1<<12 && int64(room) > r.bytes()*5/4 {
		r.pieces, r.bodies = slices.Clone(r.pieces), slices.Clone(r.bodies)
	}
}

// insertFresh stores a row.
func (b *batch) insertFresh(c *conn, r *freshRow) error {
	r.clip()
	before := b.fresh
	b.OnUndo(func() { b.fresh = before })
	b.fresh.last++
	r.seq = b.fresh.last
	b.fresh.rows = append(b.fresh.rows, r)
	b.fresh.bytes += r.bytes()
	b.insert = number(b.insert[:0], []driver.Value{r.seq, r.pieces, r.bodies})
	_, err := c.exec(insertFresh, b.insert)
	return err
}

// addPiece appends a piece to the log of a topic.
func (b *batch) addPiece(t *topic, p piece, size int64) {
	t.Pieces = append(t.Pieces, p)
	t.Fresh += size
}

// recent is how far the topics are, for those who read. It is brought up to date
// after each commit, so what it says is committed.
//
// A reader first takes what is shown of a topic, then looks into the database. By
// then a piece may have become part of a block, but the blocks below the pieces that
// it holds are there: it reads those and no others, and misses nothing and sees
// nothing twice. What should be there and is not, is damage, unless the topic's
// first offset has passed it since.
type recent struct {
	mu     sync.Mutex
	topics map[storage.TopicID]shown // guarded by mu; what pieces hold does not change
}

// shown is what readers know of a topic.
type shown struct {
	first, next int64
	pieces      []piece
	damaged     bool // see storage.Topic.Damage, or it is cut off
}

func (r *recent) of(topic storage.TopicID) (shown, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.topics[topic]
	if !ok {
		return s, fmt.Errorf("topic %d: %w", topic, storage.ErrNotFound)
	}
	return s, nil
}

// publish shows readers the topics that the changes of a commit are about.
func (r *recent) publish(p *catalog, changes []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range changes {
		if t := changes[i].Topic; t != nil {
			r.show(p, t)
		}
	}
}

// show shows a topic, or that it is gone. Called with mu held.
func (r *recent) show(p *catalog, t *topic) {
	if p.Topics[t.ID] == t {
		r.topics[t.ID] = shown{first: t.First, next: t.Next, pieces: t.Pieces, damaged: t.Damaged || t.Cut}
	} else {
		delete(r.topics, t.ID)
	}
}
