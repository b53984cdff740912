package storage

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRangesAreASetOfOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Ranges
		set, cursor := map[int64]bool{}, int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lo := rapid.Int64Range(0, 60).Draw(t, "lo")
				hi := rapid.Int64Range(lo-1, lo+8).Draw(t, "hi")
				r.Add(lo, hi)
				for o := lo; o < hi; o++ {
					set[o] = true
				}
			},
			"advance": func(t *rapid.T) {
				from := cursor + rapid.Int64Range(0, 4).Draw(t, "by")
				for cursor = from; set[cursor]; cursor++ {
				}
				if got := r.Advance(from); got != cursor {
					t.Fatalf("cursor %d, want %d", got, cursor)
				}
				for o := range set {
					if o < cursor {
						delete(set, o)
					}
				}
			},
			"": func(t *rapid.T) {
				for o := range int64(80) {
					if r.Has(o) != set[o] {
						t.Fatalf("%d in %v: %t", o, r, r.Has(o))
					}
				}
				if r.Count() != int64(len(set)) {
					t.Fatalf("count %d, want %d", r.Count(), len(set))
				}
				for i := range r {
					if r[i].Lo >= r[i].Hi || i > 0 && r[i-1].Hi >= r[i].Lo {
						t.Fatalf("%v: not sorted, disjoint and apart", r)
					}
				}
				if back, err := ParseRanges(r.String()); err != nil || !slices.Equal(back, r) {
					t.Fatalf("%v is stored and read as %v: %v", r, back, err)
				}
			},
		})
	})
}
