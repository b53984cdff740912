package broker

import (
	"testing"

	"pgregory.net/rapid"
)

func TestFlightsAreFoundByOffsetAndByTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f flights
		all := map[int64]*flight{}
		offset := rapid.Int64Range(0, 20)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				x := &flight{offset: offset.Draw(t, "offset"), due: rapid.Int64Range(0, 9).Draw(t, "due")}
				f.put(x)
				all[x.offset] = x
			},
			"remove": func(t *rapid.T) {
				if x := f.get(offset.Draw(t, "offset")); x != nil {
					f.remove(x)
					delete(all, x.offset)
				}
			},
			"move": func(t *rapid.T) { // as for a message that can't be read now
				if x := f.get(offset.Draw(t, "offset")); x != nil {
					f.remove(x)
					x.due += 3
					f.put(x)
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "really") {
					f.clear()
					all = map[int64]*flight{}
				}
			},
			"": func(t *rapid.T) {
				if f.len() != len(all) || len(f.byOffset) != len(all) {
					t.Fatalf("%d in order, %d by offset, want %d", f.len(), len(f.byOffset), len(all))
				}
				first := f.first()
				if (first == nil) != (len(all) == 0) {
					t.Fatalf("first of %d is %v", len(all), first)
				}
				for o, x := range all {
					if f.get(o) != x {
						t.Fatalf("offset %d is not found", o)
					}
					if first.due > x.due || first.due == x.due && first.offset > x.offset {
						t.Fatalf("first is %+v, but there is %+v", first, x)
					}
				}
			},
		})
	})
}
