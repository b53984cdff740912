package postgres

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Limits of a block. Reading one message reads its block, so a block is small; a row costs the same
// whatever its size, so it is not tiny. A message that is larger has a block of its own.
// maxBlockRows may be raised one day, but not lowered: what deletes blocks relies on it.
const (
	maxBlockRows  = 1024
	maxBlockBytes = 64 << 10
)

// block is a row of the table "blocks": messages of one topic with offsets one after the other, that
// one commit appended.
//
// meta has for each message: its time less the block's, its checksum (4 bytes), its id, tag and
// headers, each after its length, and the length of its body. Numbers are varints of the protocol
// buffers. The bodies follow each other in bodies.
type block struct {
	topic storage.TopicID
	first int64 // offset of the first message
	n     int64 // messages
	time  int64 // of the first message
	last  int64 // time of the last one
	total int64 // Record.Size of all messages of the topic up to the last one here
	meta  []byte
	body  []byte
}

// row is a message that is about to be inserted.
type row struct {
	topic storage.TopicID
	total int64 // see block
	*storage.Record
}

// newBlock creates a block of the first of rows, which are of one topic and in the order of their
// offsets, and returns the others.
func newBlock(rows []row) (block, []row) {
	first := &rows[0]
	b := block{topic: first.topic, first: first.Offset, time: first.Time, body: []byte{}}
	n := 0
	for n < len(rows) && n < maxBlockRows {
		r := &rows[n]
		if n > 0 && len(b.meta)+len(b.body)+int(r.Size()) > maxBlockBytes {
			break
		}
		b.meta = binary.AppendUvarint(b.meta, uint64(r.Time-b.time))
		b.meta = binary.LittleEndian.AppendUint32(b.meta, r.CRC)
		for _, s := range [...]string{r.ID, r.Tag, r.Headers} {
			b.meta = append(binary.AppendUvarint(b.meta, uint64(len(s))), s...)
		}
		b.meta = binary.AppendUvarint(b.meta, uint64(len(r.Body)))
		b.body = append(b.body, r.Body...)
		b.last, b.total = r.Time, r.total
		n++
	}
	b.n = int64(n)
	return b, rows[n:]
}

// end is the offset behind the block.
func (b *block) end() int64 { return b.first + b.n }

// packed takes values off the front of a list. After the first that is not there, bad is set and all
// are empty.
type packed struct {
	rest []byte
	bad  bool
}

func (p *packed) number() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.rest, p.bad = nil, true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *packed) bytes(n uint64) []byte {
	if n > uint64(len(p.rest)) {
		p.rest, p.bad = nil, true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

func (p *packed) fixed() uint32 {
	b := p.bytes(4)
	if p.bad {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// text shares the memory of the list.
func (p *packed) text() string {
	b := p.bytes(p.number())
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// entries walks over the messages of a block, whose memory the records share: it must no longer be
// changed.
type entries struct {
	block
	list packed
	i    int64
	at   uint64 // where in body the next one begins
	sums storage.Summer
}

func (b *block) entries() entries { return entries{block: *b, list: packed{rest: b.meta}} }

// next makes r the next message without its body, and reports false at the end. at and size say
// where the body is. A message that can't be made out has no more than an offset and no checksum,
// and so have those behind it.
func (e *entries) next(r *storage.Record) (at, size uint64, ok bool) {
	if e.i >= e.n {
		return 0, 0, false
	}
	*r = storage.Record{Offset: e.first + e.i, Time: e.time + int64(e.list.number()), CRC: e.list.fixed()}
	r.ID, r.Tag, r.Headers = e.list.text(), e.list.text(), e.list.text()
	at, size = e.at, e.list.number()
	e.i++
	if e.list.bad || size > 1<<40 {
		e.list = packed{bad: true}
		*r = storage.Record{Offset: r.Offset, Time: e.time}
		return 0, 0, true
	}
	e.at += size
	return at, size, true
}

// record makes r the next message, with its body unless brief is true. One whose checksum does not
// match loses what it says.
func (e *entries) record(brief bool, r *storage.Record) bool {
	at, size, ok := e.next(r)
	switch {
	case !ok:
		return false
	case brief:
		r.Omitted = int(size)
		return true
	case size > 0 && at+size <= uint64(len(e.body)):
		r.Body = e.body[at : at+size : at+size]
	}
	if uint64(len(r.Body)) != size || e.sums.Checksum(e.topic, r) != r.CRC {
		r.Body, r.Headers, r.CRC = nil, "", 0
	}
	return true
}

// firstAt is the offset of the first message not older than time, or the one behind the block.
func (b *block) firstAt(time int64) int64 {
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			return b.end()
		}
		if r.Time >= time {
			return r.Offset
		}
	}
}

// find is the offset of the last message with an id, from first on.
func (b *block) find(id string, first int64) (offset int64, found bool) {
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			return offset, found
		}
		if r.ID == id && r.Offset >= first {
			offset, found = r.Offset, true
		}
	}
}

// packIDs writes ids as the table "kept_ids" has them: offset and time, each less the one before,
// length of the id and the id.
func packIDs(ids []storage.KeptID) []byte {
	b := []byte{}
	var before storage.KeptID
	for _, k := range ids {
		b = binary.AppendVarint(b, k.Offset-before.Offset)
		b = binary.AppendVarint(b, k.Time-before.Time)
		b = append(binary.AppendUvarint(b, uint64(len(k.ID))), k.ID...)
		before = k
	}
	return b
}

// unpackIDs reads what packIDs wrote.
func unpackIDs(b []byte) (ids []storage.KeptID, err error) {
	var k storage.KeptID
	for len(b) > 0 {
		var v [2]int64
		for i := range v {
			d, n := binary.Varint(b)
			if n <= 0 {
				return nil, fmt.Errorf("kept ids: %w", storage.ErrDamaged)
			}
			v[i], b = d, b[n:]
		}
		p := packed{rest: b}
		id := p.text()
		if p.bad {
			return nil, fmt.Errorf("kept ids: %w", storage.ErrDamaged)
		}
		k = storage.KeptID{Offset: k.Offset + v[0], Time: k.Time + v[1], ID: id}
		ids, b = append(ids, k), p.rest
	}
	return ids, nil
}
