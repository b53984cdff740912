package sqlite

import (
	"encoding/binary"
	"strconv"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Limits of a block. Reading one message reads its block, so a block is small; a
// row of SQLite costs the same whatever its size, so it is not tiny. A message
// that is larger has a block of its own. maxBlockRows may be raised one day, but
// not lowered: what deletes blocks relies on it.
const (
	maxBlockRows  = 1024
	maxBlockBytes = 64 << 10

	// maxEntry is more than a message adds to a block besides its Record.Size.
	maxEntry = 80
)

// block is a row of the table "blocks": messages of one topic with offsets one
// after the other, that one commit appended.
//
// meta is an array in SQLite's binary JSON (JSONB), so that SQL can look into it,
// with one array a message: time after the block's, checksum, id, tag, headers,
// and where in bodies its body starts and how long it is. What is read without
// bodies does not touch the pages that they fill.
type block struct {
	key   int64 // of the first message
	n     int64 // messages
	time  int64 // of the first message
	total int64 // Record.Size of all messages of the topic up to the last one here
	meta  []byte
	body  []byte
}

// Types of JSONB elements, and the codes of a size that follows the first byte.
const (
	jsonbInt   = 0x3
	jsonbText  = 0xa // used as it is, without escapes
	jsonbArray = 0xb

	size8, size16, size32 = 12, 13, 14
)

// fill makes b the block of the first of rows and returns the others. Rows are
// sorted by key. The memory of the last block is used again.
func (b *block) fill(rows []row) []row {
	first := &rows[0]
	b.key, b.time = first.key, first.Time
	b.meta = append(b.meta[:0], size32<<4|jsonbArray, 0, 0, 0, 0)
	if b.body = b.body[:0]; b.body == nil {
		b.body = make([]byte, 0, maxBlockBytes) // nil would be NULL
	}
	n := 0
	for n < len(rows) && n < maxBlockRows {
		r := &rows[n]
		if r.key != b.key+int64(n) || n > 0 && len(b.meta)+len(b.body)+int(r.Size()) > maxBlockBytes {
			break
		}
		b.add(r.Record)
		n++
	}
	b.n, b.total = int64(n), rows[n-1].total
	binary.BigEndian.PutUint32(b.meta[1:], uint32(len(b.meta)-5))
	return rows[n:]
}

func (b *block) add(r *storage.Record) {
	code, width := byte(size16), 2
	if len(r.ID)+len(r.Tag)+len(r.Headers) > 1<<16-128 { // 128: the other members and all sizes
		code, width = size32, 4
	}
	start := len(b.meta)
	m := append(b.meta, code<<4|jsonbArray, 0, 0, 0, 0)[:start+1+width]
	m = appendInt(m, r.Time-b.time)
	m = appendInt(m, int64(r.CRC))
	m = appendText(m, r.ID)
	m = appendText(m, r.Tag)
	m = appendText(m, r.Headers)
	m = appendInt(m, int64(len(b.body)))
	m = appendInt(m, int64(len(r.Body)))
	size := len(m) - start - 1 - width
	if code == size16 {
		binary.BigEndian.PutUint16(m[start+1:], uint16(size))
	} else {
		binary.BigEndian.PutUint32(m[start+1:], uint32(size))
	}
	b.meta = m
	b.body = append(b.body, r.Body...)
}

func appendInt(dst []byte, v int64) []byte {
	start := len(dst)
	dst = strconv.AppendInt(append(dst, 0), v, 10)
	if n := len(dst) - start - 1; n < size8 {
		dst[start] = byte(n)<<4 | jsonbInt
		return dst
	}
	dst = strconv.AppendInt(append(dst[:start], size8<<4|jsonbInt, 0), v, 10)
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

func appendText(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < size8:
		dst = append(dst, byte(n)<<4|jsonbText)
	case n < 1<<8:
		dst = append(dst, size8<<4|jsonbText, byte(n))
	case n < 1<<16:
		dst = append(dst, size16<<4|jsonbText, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, size32<<4|jsonbText), uint32(n))
	}
	return append(dst, s...)
}

// jsonb takes elements off the front of an array. After the first one that is not
// of the expected type and within bounds, bad is set and everything is empty.
type jsonb struct {
	rest []byte
	bad  bool
}

// take is the payload of the next element.
func (j *jsonb) take(kind byte) []byte {
	if len(j.rest) == 0 || j.rest[0]&0xf != kind {
		j.rest, j.bad = nil, true
		return nil
	}
	size, head := uint64(j.rest[0]>>4), 1
	if size >= size8 {
		width := 1 << (size - size8)
		head += width
		if len(j.rest) < head || size > size32 {
			j.rest, j.bad = nil, true
			return nil
		}
		size = 0
		for _, c := range j.rest[1:head] {
			size = size<<8 | uint64(c)
		}
	}
	if uint64(len(j.rest)-head) < size {
		j.rest, j.bad = nil, true
		return nil
	}
	payload := j.rest[head : head+int(size)]
	j.rest = j.rest[head+int(size):]
	return payload
}

// whole is the next element with its head.
func (j *jsonb) whole(kind byte) []byte {
	before := j.rest
	j.take(kind)
	return before[:len(before)-len(j.rest)]
}

// int is the next element as a number that is not negative.
func (j *jsonb) int() int64 {
	n := int64(0)
	digits := j.take(jsonbInt)
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<62)/10 {
			j.bad = true
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// text is the next element as a string that shares its memory.
func (j *jsonb) text() string {
	b := j.take(jsonbText)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// entries walks over the messages of a block, whose memory the records share: it
// must no longer be changed.
type entries struct {
	block
	list jsonb
	i    int64
	sums *storage.Summer // made at first use: most blocks are only looked into
}

func (b *block) entries() entries {
	e := entries{block: *b, list: jsonb{rest: b.meta}}
	e.list.rest = e.list.take(jsonbArray)
	return e
}

// next makes r the next message without its body, and reports false at the end.
// at and size say where the body is. A message that can't be made out has no more
// than an offset and no checksum, and so have those behind it. A block that has
// fewer messages than it says ends early.
func (e *entries) next(r *storage.Record) (at, size int64, ok bool) {
	if e.i >= e.n || e.over() && !e.list.bad {
		return 0, 0, false
	}
	at, size = e.one(r)
	return at, size, true
}

// over reports whether nothing is left of the list.
func (e *entries) over() bool { return len(e.list.rest) == 0 }

// one makes r the next message of the list.
func (e *entries) one(r *storage.Record) (at, size int64) {
	m := jsonb{rest: e.list.take(jsonbArray)}
	*r = storage.Record{Offset: offsetOf(e.key) + e.i, Time: e.time + m.int(), CRC: uint32(m.int())}
	r.ID, r.Tag, r.Headers = m.text(), m.text(), m.text()
	at, size = m.int(), m.int()
	e.i++
	if m.bad || e.list.bad {
		*r = storage.Record{Offset: r.Offset, Time: e.time}
		return 0, 0
	}
	return at, size
}

// record makes r the next message, with its body unless brief is true. One whose
// checksum does not match loses what it says. If a block has more messages than it
// says, those count whose checksums match: these cover their offsets.
func (e *entries) record(topic storage.TopicID, brief bool, r *storage.Record) bool {
	at, size, ok := e.next(r)
	if brief {
		r.Omitted = int(size)
		return ok
	}
	if !ok {
		if e.over() || e.i >= maxBlockRows {
			return false
		}
		at, size = e.one(r)
		e.sum(topic, r, at, size)
		return r.CRC != 0
	}
	e.sum(topic, r, at, size)
	return true
}

// sum gives r its body and compares its checksum.
func (e *entries) sum(topic storage.TopicID, r *storage.Record, at, size int64) {
	if at+size <= int64(len(e.body)) && size > 0 {
		r.Body = e.body[at : at+size : at+size]
	}
	if e.sums == nil {
		e.sums = new(storage.Summer)
	}
	if int64(len(r.Body)) != size || e.sums.Checksum(topic, r) != r.CRC {
		r.Body, r.Headers, r.CRC = nil, "", 0
	}
}
