package broker

import (
	"slices"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

// ranges is a set of offsets kept as sorted, disjoint, non-touching spans. It
// holds what is settled ahead of a group's cursor, so it has about as many spans
// as the group has deliveries in flight.
type ranges []storage.Range

// add puts [lo, hi) into the set.
func (r *ranges) add(lo, hi int64) {
	if lo >= hi {
		return
	}
	s := *r
	// i: the first span that reaches lo or lies behind it; j: the first that
	// starts behind hi. Everything in between melts into one.
	i := sort.Search(len(s), func(i int) bool { return s[i].Hi >= lo })
	j := i
	for j < len(s) && s[j].Lo <= hi {
		lo, hi = min(lo, s[j].Lo), max(hi, s[j].Hi)
		j++
	}
	*r = slices.Replace(s, i, j, storage.Range{Lo: lo, Hi: hi})
}

// has reports whether an offset is in the set.
func (r ranges) has(offset int64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi > offset })
	return i < len(r) && r[i].Lo <= offset
}

// advance removes what lies below the new cursor, after moving the cursor over
// every span that it touches, and returns it.
func (r *ranges) advance(cursor int64) int64 {
	s := *r
	n := 0
	for n < len(s) && s[n].Lo <= cursor {
		cursor = max(cursor, s[n].Hi)
		n++
	}
	*r = slices.Delete(s, 0, n)
	return cursor
}

// within is how many offsets of [lo, hi) are in the set.
func (r ranges) within(lo, hi int64) (n int64) {
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi > lo })
	for ; i < len(r) && r[i].Lo < hi; i++ {
		n += min(r[i].Hi, hi) - max(r[i].Lo, lo)
	}
	return n
}

// count is the number of offsets in the set.
func (r ranges) count() int64 {
	n := int64(0)
	for _, s := range r {
		n += s.Hi - s.Lo
	}
	return n
}
