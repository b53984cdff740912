package pages

import "encoding/binary"

// Survey says which page belongs to what, as far as that can be found out from the roots of
// the b-trees and from the list of free pages.
type Survey struct {
	f    *File
	seen []bool // by page: it is in a tree, a chain or the list of free pages
}

// Survey begins one, with the list of free pages.
func (f *File) Survey() *Survey {
	s := &Survey{f: f, seen: make([]bool, int(f.count)+1)}
	if lock := 1<<30/f.size + 1; lock <= int(f.count) {
		s.seen[lock] = true // SQLite never uses it
	}
	return s
}

// Table is what a tree has.
type Table struct {
	Leaves []Image
	// Sound says that every page of the tree makes sense.
	Sound bool
}

// Tree walks a b-tree and returns its leaves, in order.
func (s *Survey) Tree(root Number) (t Table) {
	t.Sound = true
	type step struct {
		page  Number
		depth int
	}
	for todo := []step{{root, 0}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.page < 1 || int(at.page) >= len(s.seen) || s.seen[at.page] || at.depth > 20 {
			t.Sound = false
			continue
		}
		data, err := s.f.Read(Image{Page: at.page})
		if err != nil {
			t.Sound = false
			continue
		}
		n := s.f.nodeOf(data, at.page)
		s.seen[at.page] = true
		switch n.kind {
		case leafTable, leafIndex:
			t.Leaves = append(t.Leaves, Image{Page: at.page})
		case interiorTable, interiorIndex:
			children := make([]Number, 0, len(n.cells)+1)
			for _, cell := range n.cells {
				children = append(children, Number(binary.BigEndian.Uint32(data[cell:])))
			}
			children = append(children, n.right)
			for i := len(children) - 1; i >= 0; i-- {
				todo = append(todo, step{children[i], at.depth + 1})
			}
		default:
			// A page that was a leaf, perhaps: its rows are looked for one by one.
			t.Leaves = append(t.Leaves, Image{Page: at.page})
		}
		t.Sound = t.Sound && n.sound
	}
	return t
}

// Free takes in the list of free pages, as far as it makes sense. It is called when the
// trees are known: a page in a tree is not free, whatever the list says.
func (s *Survey) Free() {
	head, err := s.f.Read(Image{Page: 1})
	if err != nil {
		return
	}
	for trunk := Number(binary.BigEndian.Uint32(head[32:])); trunk >= 1 && int(trunk) < len(s.seen) && !s.seen[trunk]; {
		data, err := s.f.Read(Image{Page: trunk})
		if err != nil {
			return
		}
		s.seen[trunk] = true
		count := int(binary.BigEndian.Uint32(data[4:]))
		if 8+4*count > len(data) {
			return
		}
		for i := range count {
			if leaf := Number(binary.BigEndian.Uint32(data[8+4*i:])); int(leaf) < len(s.seen) {
				s.seen[leaf] = true
			}
		}
		trunk = Number(binary.BigEndian.Uint32(data))
	}
}

// Orphans are the pages that belong to nothing. Those that rows continue in are among them.
func (s *Survey) Orphans() (all []Image) {
	for n := 1; n < len(s.seen); n++ {
		if !s.seen[n] {
			all = append(all, Image{Page: Number(n)})
		}
	}
	return all
}
