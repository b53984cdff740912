package storage

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Range is a span of offsets, Lo included and Hi excluded.
type Range struct{ Lo, Hi int64 }

// Ranges is a set of offsets, kept as spans that are sorted, disjoint and do not touch.
type Ranges []Range

// Add puts [lo, hi) into the set.
func (r *Ranges) Add(lo, hi int64) {
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
	if i == j { // it touches none
		s = append(s, Range{})
		copy(s[i+1:], s[i:])
	} else {
		s = append(s[:i+1], s[j:]...)
	}
	s[i] = Range{Lo: lo, Hi: hi}
	*r = s
}

// Has reports whether an offset is in the set.
func (r Ranges) Has(offset int64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi > offset })
	return i < len(r) && r[i].Lo <= offset
}

// Advance moves the cursor over every span that it touches, removes what lies below it
// then, and returns it.
func (r *Ranges) Advance(cursor int64) int64 {
	s := *r
	n := 0
	for n < len(s) && s[n].Lo <= cursor {
		cursor = max(cursor, s[n].Hi)
		n++
	}
	*r = slices.Delete(s, 0, n)
	return cursor
}

// Within is how many offsets of [lo, hi) are in the set.
func (r Ranges) Within(lo, hi int64) (n int64) {
	i := sort.Search(len(r), func(i int) bool { return r[i].Hi > lo })
	for ; i < len(r) && r[i].Lo < hi; i++ {
		n += min(r[i].Hi, hi) - max(r[i].Lo, lo)
	}
	return n
}

// Count is the number of offsets in the set.
func (r Ranges) Count() int64 {
	n := int64(0)
	for _, s := range r {
		n += s.Hi - s.Lo
	}
	return n
}

// String is the stored form, such as "12-15,18-19".
func (r Ranges) String() string {
	var b []byte
	for i, s := range r {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, s.Lo, 10)
		b = append(b, '-')
		b = strconv.AppendInt(b, s.Hi, 10)
	}
	return string(b)
}

// ParseRanges reads what String wrote.
func ParseRanges(s string) (Ranges, error) {
	if s == "" {
		return nil, nil
	}
	var r Ranges
	last := int64(-1)
	for part := range strings.SplitSeq(s, ",") {
		a, b, ok := strings.Cut(part, "-")
		lo, err1 := strconv.ParseInt(a, 10, 64)
		hi, err2 := strconv.ParseInt(b, 10, 64)
		if !ok || err1 != nil || err2 != nil || lo <= last || hi <= lo {
			return nil, fmt.Errorf("settled ranges %q: %w", s, ErrDamaged)
		}
		r = append(r, Range{lo, hi})
		last = hi
	}
	return r, nil
}
