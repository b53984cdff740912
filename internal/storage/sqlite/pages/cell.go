package pages

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
)

// The types of b-tree pages.
const (
	interiorIndex = 0x02
	interiorTable = 0x05
	leafIndex     = 0x0a
	leafTable     = 0x0d
)

// Cell is a row: of a table, or of a table without rowid, which is an index.
type Cell struct {
	At     int // in the page
	Rowid  int64
	Values []any // nil, int64, float64, string or []byte
	// Whole says that all of the row was read: no chain of pages has broken off.
	Whole bool
}

// node is a b-tree page.
type node struct {
	kind  byte
	cells []int // where they are; those that make no sense are left out
	right Number
	sound bool // all of the page makes sense
}

// nodeOf parses the head of a page.
func (f *File) nodeOf(page []byte, n Number) node {
	at := 0
	if n == 1 {
		at = 100
	}
	t := node{kind: page[at]}
	head := 8
	switch t.kind {
	case interiorIndex, interiorTable:
		head = 12
		t.right = Number(binary.BigEndian.Uint32(page[at+8:]))
	case leafIndex, leafTable:
	default:
		return t
	}
	count := int(binary.BigEndian.Uint16(page[at+3:]))
	begin := at + head
	t.sound = begin+2*count <= f.usable
	for i := range count {
		if begin+2*i+2 > f.usable {
			break
		}
		cell := int(binary.BigEndian.Uint16(page[begin+2*i:]))
		if cell < begin+2*count || cell > f.usable-4 {
			t.sound = false
			continue
		}
		t.cells = append(t.cells, cell)
	}
	return t
}

// Leaf is a page with rows.
type Leaf struct {
	Table bool // of a table, and not of an index
	Sound bool // the list of its rows makes sense
	file  *File
	page  []byte
	node  node
}

// Leaf reads a leaf. ok is false for another page.
func (f *File) Leaf(i Image) (l Leaf, ok bool) {
	data, err := f.Read(i)
	if err != nil {
		return l, false
	}
	l = Leaf{file: f, page: slices.Clone(data), node: f.nodeOf(data, i.Page)}
	l.Table, l.Sound = l.node.kind == leafTable, l.node.sound
	return l, l.Table || l.node.kind == leafIndex
}

// Rows yields the rows, and false with what makes no sense.
func (l *Leaf) Rows() iter.Seq2[*Cell, bool] {
	return func(yield func(*Cell, bool) bool) {
		for _, at := range l.node.cells {
			if c, ok := l.file.cell(l.page, at, l.node.kind); !yield(&c, ok) {
				return
			}
		}
	}
}

// Guess yields all that could be a row of a table, wherever it begins: of a page whose own
// list of rows is damaged. Most of it is nonsense.
func (f *File) Guess(i Image) iter.Seq[*Cell] {
	return func(yield func(*Cell) bool) {
		data, err := f.Read(i)
		if err != nil {
			return
		}
		page := slices.Clone(data)
		for at := 8; at < len(page)-4; at++ {
			if c, ok := f.cell(page, at, leafTable); ok && !yield(&c) {
				return
			}
		}
	}
}

// CellAt reads one row of a table again.
func (f *File) CellAt(i Image, at int) (Cell, bool) {
	data, err := f.Read(i)
	if err != nil || at >= len(data) {
		return Cell{}, false
	}
	return f.cell(slices.Clone(data), at, leafTable)
}

// maxPayload is the most that SQLite stores in a row.
const maxPayload = 1_000_000_000

func (f *File) cell(page []byte, at int, kind byte) (c Cell, ok bool) {
	c.At = at
	size, n := varint(page[at:])
	at += n
	if n == 0 || size < 1 || size > maxPayload || size > int64(f.count)*int64(f.usable) {
		return c, false
	}
	most := f.usable - 35
	if kind == leafIndex {
		most = (f.usable-12)*64/255 - 23
	} else {
		c.Rowid, n = varint(page[at:])
		if at += n; n == 0 {
			return c, false
		}
	}
	local := int(size)
	if local > most {
		least := (f.usable-12)*32/255 - 23
		if local = least + (int(size)-least)%(f.usable-4); local > most {
			local = least
		}
	}
	if at+local > len(page) {
		return c, false
	}
	payload := page[at : at+local : at+local]
	c.Whole = true
	if int64(local) < size {
		if at+local+4 > len(page) || !plausible(payload) {
			return c, false
		}
		payload, c.Whole = f.chain(payload, Number(binary.BigEndian.Uint32(page[at+local:])), int(size))
	}
	c.Values, ok = record(payload, int(size))
	return c, ok
}

// plausible reports whether a record may begin so, before a chain of pages is followed.
func plausible(payload []byte) bool {
	head, n := varint(payload)
	return n > 0 && head > int64(n) && head <= int64(len(payload)) && head < 1<<10
}

// chain follows the pages that a row continues in. whole is false if they end too early.
func (f *File) chain(start []byte, next Number, size int) (payload []byte, whole bool) {
	payload = append(make([]byte, 0, min(size, 1<<20)), start...)
	seen := map[Number]bool{}
	for len(payload) < size {
		if next < 1 || next > f.count || seen[next] {
			return payload, false
		}
		seen[next] = true
		data, err := f.Read(Image{Page: next})
		if err != nil {
			return payload, false
		}
		payload = append(payload, data[4:min(len(data), 4+size-len(payload))]...)
		next = Number(binary.BigEndian.Uint32(data))
	}
	return payload, true
}

// record decodes the columns of a row. A payload that is shorter than size has broken off:
// then what is missing of text and blobs is left out.
func record(payload []byte, size int) (values []any, ok bool) {
	head, n := varint(payload)
	if n == 0 || head <= int64(n) || head > int64(len(payload)) {
		return nil, false
	}
	types, rest, left := payload[n:head], payload[head:], int64(size)-head
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 || kind < 0 || kind == 10 || kind == 11 {
			return nil, false
		}
		types = types[n:]
		width := widthOf(kind)
		if left -= width; left < 0 {
			return nil, false
		}
		part := rest[:min(width, int64(len(rest)))]
		rest = rest[len(part):]
		if kind < 12 && int64(len(part)) < width {
			return nil, false
		}
		values = append(values, valueOf(kind, part))
	}
	return values, left == 0
}

// widthOf is how many bytes a value of a serial type takes.
func widthOf(kind int64) int64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind == 5:
		return 6
	case kind == 6 || kind == 7:
		return 8
	case kind >= 8:
		return 0
	}
	return kind
}

func valueOf(kind int64, b []byte) any {
	switch {
	case kind == 0:
		return nil
	case kind >= 12 && kind%2 == 0:
		return b
	case kind >= 12:
		return string(b)
	case kind == 8 || kind == 9:
		return kind - 8
	}
	n := int64(int8(b[0]))
	for _, c := range b[1:] {
		n = n<<8 | int64(c)
	}
	if kind == 7 {
		return math.Float64frombits(uint64(n))
	}
	return n
}

// varint reads a number of 1 to 9 bytes; n is 0 if there is none.
func varint(b []byte) (v int64, n int) {
	var u uint64
	for i := range min(len(b), 9) {
		if i == 8 {
			return int64(u<<8 | uint64(b[i])), 9
		}
		u = u<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return int64(u), i + 1
		}
	}
	return 0, 0
}
