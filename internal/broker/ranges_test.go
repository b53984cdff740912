package broker

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestRangesAreASetOfOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ranges
		set, cursor := map[int64]bool{}, int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lo := rapid.Int64Range(0, 60).Draw(t, "lo")
				hi := rapid.Int64Range(lo-1, lo+8).Draw(t, "hi")
				r.add(lo, hi)
				for o := lo; o < hi; o++ {
					set[o] = true
				}
			},
			"advance": func(t *rapid.T) {
				from := cursor + rapid.Int64Range(0, 4).Draw(t, "by")
				for cursor = from; set[cursor]; cursor++ {
				}
				if got := r.advance(from); got != cursor {
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
					if r.has(o) != set[o] {
						t.Fatalf("%d in %v: %t", o, r, r.has(o))
					}
				}
				if r.count() != int64(len(set)) {
					t.Fatalf("count %d, want %d", r.count(), len(set))
				}
				for i := range r {
					if r[i].Lo >= r[i].Hi || i > 0 && r[i-1].Hi >= r[i].Lo {
						t.Fatalf("%v: not sorted, disjoint and apart", r)
					}
				}
				if back, err := storage.ParseRanges(storage.FormatRanges(r)); err != nil || !slices.Equal(back, r) {
					t.Fatalf("%v is stored and read as %v: %v", r, back, err)
				}
			},
		})
	})
}
