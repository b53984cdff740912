package sqlite

import (
	"context"
	"database/sql/driver"
	"maps"
	"math"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/pages"
)

// spot is where a row is.
type spot struct {
	image pages.Image
	cell  int32 // in the page
}

// blockRef is where a block or a piece is. What it says of itself may be damaged.
type blockRef struct {
	key, n   int64
	time     int64
	contents int64 // 0: it has what it holds
	place    spot
	piece    int32 // where in the row's pieces it begins; -1: it is a block
	orphan   bool  // of a page that no tree has
}

type foundTopic struct {
	row  []driver.Value // of the table "topics", with all columns
	name string
	// When it is written:
	at          int // in the report; -1 before
	first, next int64
}

type foundGroup struct{ row []driver.Value }

// survey finds out where everything is. Rows of tables that stand by themselves go to the
// new database at once.
func (s *salvager) survey(ctx context.Context) error {
	sv := s.f.Survey()
	schema := sv.Tree(1)
	for _, leaf := range schema.Leaves {
		page, _ := s.f.Leaf(leaf)
		for c, ok := range page.Rows() {
			if !ok || len(c.Values) < 4 {
				continue
			}
			name, _ := c.Values[1].(string)
			root, _ := c.Values[3].(int64)
			switch t := s.tables[name]; {
			case root <= 1:
			case t != nil && c.Values[0] == "table":
				t.root = pages.Number(root)
			default: // an index, or a table of which nothing is copied
				s.takeSequences(name, sv.Tree(pages.Number(root)).Leaves)
			}
		}
	}
	names := slices.Sorted(maps.Keys(s.tables))
	for _, name := range names {
		t := s.tables[name]
		if t.root == 0 {
			s.note("table %s was not found", name)
			continue
		}
		tree := sv.Tree(t.root)
		t.leaves, t.sound = tree.Leaves, tree.Sound
		if !t.sound {
			s.note("table %s is damaged", name)
		}
	}
	sv.Free()
	for _, name := range names {
		for _, leaf := range s.tables[name].leaves {
			if err := s.takeLeaf(ctx, s.tables[name], leaf); err != nil {
				return err
			}
		}
	}
	return s.takeOrphans(ctx, append(s.f.Suspects(), sv.Orphans()...))
}

// takeSequences reads the last ids, if the leaves are of the table that has them.
func (s *salvager) takeSequences(name string, leaves []pages.Image) {
	if name != "sqlite_sequence" {
		return
	}
	for _, leaf := range leaves {
		page, _ := s.f.Leaf(leaf)
		for c, ok := range page.Rows() {
			if ok && len(c.Values) == 2 {
				table, _ := c.Values[0].(string)
				seq, _ := c.Values[1].(int64)
				s.sequences[table] = max(s.sequences[table], seq)
			}
		}
	}
}

// takeLeaf takes the rows of a leaf of a table.
func (s *salvager) takeLeaf(ctx context.Context, t *salvagedTable, leaf pages.Image) error {
	page, isLeaf := s.f.Leaf(leaf)
	sound, last := isLeaf && page.Sound && page.Table != t.index, int64(math.MinInt64)
	for c, ok := range page.Rows() {
		sound = sound && ok && c.Whole && t.fits(c.Values) && (t.index || c.Rowid > last)
		last = c.Rowid
		if !ok {
			continue
		}
		if err := s.take(ctx, t, leaf, c, false); err != nil {
			return err
		}
	}
	if !sound && t.sound {
		t.sound = false
		s.note("table %s is damaged", t.name)
	}
	if sound || !slices.Contains([]string{"blocks", "contents", "fresh"}, t.name) {
		return nil
	}
	// Messages prove themselves, so that nothing is lost by guessing.
	for c := range s.f.Guess(leaf) {
		if t.fits(c.Values) {
			if err := s.take(ctx, t, leaf, c, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeOrphans takes rows off pages that no tree has: they hang from a damaged one. Which
// table they are of is seen by what they look like.
func (s *salvager) takeOrphans(ctx context.Context, images []pages.Image) error {
	for n, image := range images {
		if n%1024 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		leaf, ok := s.f.Leaf(image)
		if !ok {
			continue
		}
		for c, ok := range leaf.Rows() {
			if t := s.tableOf(c, leaf.Table); ok && t != nil {
				if err := s.take(ctx, t, image, c, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// tableOf is the table that a row without one belongs to, or nil. One that is whole has all
// of its rows, unless they are messages, which are also in images that the log replaced.
func (s *salvager) tableOf(c *pages.Cell, table bool) *salvagedTable {
	if !c.Whole && !table {
		return nil
	}
	if table && s.tables["fresh"].fits(c.Values) { // as has "contents"
		if r := freshOf(c); r.split(func(storage.TopicID, piece, *block) error { return nil }) == nil {
			return s.tables["fresh"]
		}
		return s.tables["contents"]
	}
	for _, name := range []string{"blocks", "topics", "groups", "parked", "cursor_journal", "audit"} {
		t := s.tables[name]
		if t != nil && t.index != table && t.fits(c.Values) && (name == "blocks" || !t.sound) {
			return t
		}
	}
	return nil
}

// take takes a row.
func (s *salvager) take(ctx context.Context, t *salvagedTable, image pages.Image, c *pages.Cell, orphan bool) error {
	at := spot{image, int32(c.At)}
	switch t.name {
	case "blocks":
		s.takeBlock(t, at, c, orphan)
	case "contents":
		if _, known := s.contents[c.Rowid]; !known {
			s.contents[c.Rowid] = at
		}
	case "fresh":
		s.takeFresh(at, c, orphan)
	case "dropped":
		if row := t.fitted(c); len(row) == 2 {
			s.dropped = append(s.dropped, storage.Range{Lo: c.Rowid, Hi: integer(row[1])})
		}
	case "topics":
		id := storage.TopicID(c.Rowid)
		if row := t.fitted(c); id >= 1 && id <= maxTopic && s.topics[id] == nil {
			s.topics[id] = &foundTopic{row: row, name: text(row[t.at("name")]), at: -1}
		}
	case "groups":
		s.groups = append(s.groups, foundGroup{t.fitted(c)})
	case "parked":
		if t.fits(c.Values) {
			_, err := s.put(ctx, t, t.fitted(c)) // of groups that are known in the end: see writeTopics
			return err
		}
	default:
		if !c.Whole {
			s.note("a row of %s is damaged", t.name)
			return nil
		}
		_, err := s.put(ctx, t, t.fitted(c))
		return err
	}
	return nil
}

func (s *salvager) takeBlock(t *salvagedTable, at spot, c *pages.Cell, orphan bool) {
	row := t.fitted(c)
	if len(row) < 6 || c.Rowid < 0 {
		return
	}
	r := blockRef{key: c.Rowid, n: integer(row[1]), time: integer(row[2]), place: at, piece: -1, orphan: orphan}
	if len(row) > 6 && len(blob(row[4])) == 0 {
		r.contents = integer(row[6])
	}
	id := storage.TopicID(r.key >> offsetBits)
	s.refs[id] = append(s.refs[id], r)
}

// freshOf is a row of the table "fresh".
func freshOf(c *pages.Cell) *freshRow {
	r := &freshRow{seq: c.Rowid}
	if len(c.Values) > 2 {
		r.pieces, _ = c.Values[1].([]byte)
		r.bodies, _ = c.Values[2].([]byte)
	}
	return r
}

func (s *salvager) takeFresh(at spot, c *pages.Cell, orphan bool) {
	err := freshOf(c).split(func(id storage.TopicID, p piece, b *block) error {
		s.refs[id] = append(s.refs[id], blockRef{key: b.key, n: b.n, time: b.time, place: at, piece: p.At, orphan: orphan})
		return nil
	})
	if err != nil {
		s.note("%v", err)
	}
}

// read reads a block or a piece. What can't be read is left out.
func (s *salvager) read(r *blockRef) (b block, ok bool) {
	c, ok := s.f.CellAt(r.place.image, int(r.place.cell))
	if !ok {
		return b, false
	}
	if r.piece >= 0 {
		row := freshOf(&c)
		if int(r.piece) >= len(row.pieces) {
			return b, false
		}
		list := jsonb{rest: row.pieces[r.piece:]}
		return list.piece(row.bodies)
	}
	values := c.Values
	from := 4
	if r.contents != 0 {
		at, known := s.contents[r.contents]
		if !known {
			return b, false
		}
		if c, ok = s.f.CellAt(at.image, int(at.cell)); !ok {
			return b, false
		}
		values, from = c.Values, 1
	}
	if len(values) < from+2 {
		return b, false
	}
	b = block{key: r.key, n: r.n, time: r.time}
	b.meta, _ = values[from].([]byte)
	b.body, _ = values[from+1].([]byte)
	return b, len(b.meta) > 5
}
