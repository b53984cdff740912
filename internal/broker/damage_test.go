package broker

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// alterFile changes the database of a broker that is stopped, and starts it again.
func (r *rig) alterFile(statements ...string) {
	r.Helper()
	r.close()
	db, err := sql.Open("sqlite", "file:"+r.path)
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			r.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		r.Fatal(err)
	}
	r.open()
}

// findGroup is a group after a restart.
func (r *rig) findGroup(topic, name string) *Group {
	r.Helper()
	g, err := r.b.Group(topic, name)
	if err != nil {
		r.Fatal(err)
	}
	return g
}

// Three commits of ten messages; then the second is lost, and a tag of the first and
// one of the third is changed, so that no filter lets these messages through.
func TestDamagedAndMissingMessagesAreCountedByEveryGroup(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		for name, mask := range map[string]int64{"auto": 0, "explicit": MaskAck} {
			r.group(GroupSpec{Topic: "orders", Name: name, Mask: &mask})
			r.group(GroupSpec{Topic: "orders", Name: name + "-x", Mask: &mask, Filter: ptr("x")})
		}
		for range 3 {
			r.mustPublish(topic, slices.Repeat([]string{"x"}, 10)...)
		}
		key := int64(topic.id) << 40
		r.alterFile(fmt.Sprintf("DELETE FROM blocks WHERE key = %d", key+10),
			fmt.Sprintf("UPDATE blocks SET meta = jsonb_set(meta, '$[3][3]', 'y') WHERE key IN (%d, %d)", key, key+20))
		for _, name := range []string{"auto", "explicit", "auto-x", "explicit-x"} {
			g := r.findGroup("orders", name)
			c := r.subscribe(g, "1")
			c.eager = true
			batches := c.take(100)
			got, _ := offsets(batches)
			want := []int64{0, 1, 2, 4, 5, 6, 7, 8, 9, 20, 21, 22, 24, 25, 26, 27, 28, 29}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %v", name, got)
			}
			for _, b := range batches {
				for i, item := range b.Items {
					if !b.Auto {
						if err := g.ackNow(item.Record.Offset, b.Handle(i)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if n := g.Counts().Damaged; n != 12 {
				t.Errorf("%s: %d damaged messages, want 12", name, n)
			}
			if at := g.Cursor(); at != 30 {
				t.Errorf("%s: the cursor is %d", name, at)
			}
		}
	})
}

// A walk over a log shows where messages are missing, in both directions.
func TestScanShowsWhereMessagesAreMissing(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		for range 3 {
			r.mustPublish(topic, slices.Repeat([]string{"x"}, 10)...)
		}
		r.alterFile(fmt.Sprintf("DELETE FROM blocks WHERE key = %d", int64(topic.id)<<40+10))
		topic, err := r.b.Topic("orders")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []struct {
			Scan
			first, last, missing int64
		}{
			{Scan{From: 0, To: 30}, 0, 29, 10},
			{Scan{From: 5, To: 15}, 5, 10, 5},
			{Scan{From: 12, To: 15}, 12, 12, 3},
			{Scan{From: 29, To: -1, Back: true}, 29, 0, 10},
			{Scan{From: 14, To: 4, Back: true}, 10, 5, 5},
		} {
			var seen []storage.Record
			scanned, next, err := topic.Scan(t.Context(), s.Scan, func(rec *storage.Record) bool {
				seen = append(seen, *rec)
				return true
			})
			missing := int64(0)
			for i := range seen {
				missing += seen[i].Missing
			}
			want := s.To - s.From
			if s.Back {
				want = -want
			}
			if err != nil || scanned != want || next != s.To || missing != s.missing || seen[0].Offset != s.first || seen[len(seen)-1].Offset != s.last {
				t.Errorf("%+v: %d scanned, next %d, %d missing, %v", s, scanned, next, missing, err)
			}
		}
		if rec, err := topic.Message(t.Context(), 13); err != nil || !rec.Damaged() || rec.Offset != 13 || rec.End() != 14 {
			t.Errorf("message 13: %+v, %v", rec, err)
		}
	})
}
