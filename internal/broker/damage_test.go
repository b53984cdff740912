package broker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
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
	g, err := r.b.System().Group(topic, name)
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
		for _, settle := range []storage.Settle{storage.SettleAuto, storage.SettleExplicit} {
			name := settle.String()
			r.group(GroupSpec{Topic: "orders", Name: name, Settle: &settle})
			r.group(GroupSpec{Topic: "orders", Name: name + "-x", Settle: &settle, Filter: ptr("x")})
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

// Of messages that are missing, each group counts those that it has not settled, also
// when the first of them is settled or on its way back.
func TestMissingMessagesOfWhichSomeAreSettledAreCounted(t *testing.T) {
	for name, returned := range map[string]int64{"the first is returned": 10, "the first is settled": 0, "one in the middle is returned": 15} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				topic := r.topic("orders", 0, storage.Retention{})
				r.group(GroupSpec{Topic: "orders", Name: "g", Settle: ptr(storage.SettleExplicit)})
				for _, n := range []int{10, 10, 10, 10, 3} {
					r.mustPublish(topic, slices.Repeat([]string{"x"}, n)...)
				}
				c := r.subscribe(r.findGroup("orders", "g"), "1")
				c.eager = true
				for _, b := range c.take(25) {
					for i, item := range b.Items {
						var err error
						switch offset := item.Record.Offset; {
						case offset == returned:
							err = b.Sub.g.nackNow(offset, b.Handle(i), 3_600_000)
						case offset < 20: // 20 to 24 get no answer
							err = b.Sub.g.ackNow(offset, b.Handle(i))
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				key := int64(topic.id) << 40
				r.alterFile(fmt.Sprintf("DELETE FROM blocks WHERE key >= %d AND key < %d", key+10, key+40))
				g := r.findGroup("orders", "g")
				c = r.subscribe(g, "2")
				c.eager = true
				take := func(want ...int64) {
					t.Helper()
					batches := c.take(100)
					if got, _ := offsets(batches); !slices.Equal(got, want) {
						t.Errorf("got %v, want %v", got, want)
					}
					for _, b := range batches {
						for i, item := range b.Items {
							if err := g.ackNow(item.Record.Offset, b.Handle(i)); err != nil {
								t.Error(err)
							}
						}
					}
				}
				take(40, 41, 42)
				if n := g.Counts().Damaged; n != 20 { // 20 to 39
					t.Errorf("%d messages are counted as damaged, want 20", n)
				}
				time.Sleep(3601 * time.Second)
				want := int64(20)
				if returned < 10 {
					take(returned)
				} else {
					take()
					want++
				}
				if g.Counts().Damaged != want || g.Cursor() != 43 {
					t.Errorf("in the end %d messages are counted as damaged, want %d; the cursor is at %d", g.Counts().Damaged, want, g.Cursor())
				}
			})
		})
	}
}

// A walk over a log shows where messages are missing, in both directions.
func TestScanShowsWhereMessagesAreMissing(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		for range 3 {
			r.mustPublish(topic, slices.Repeat([]string{"x"}, 10)...)
		}
		r.alterFile(fmt.Sprintf("DELETE FROM blocks WHERE key = %d", int64(topic.id)<<40+10))
		topic, err := r.b.findTopic("orders")
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
			scanned, next, err := topic.Scan(context.Background(), s.Scan, func(rec *storage.Record) bool {
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
		if rec, err := topic.Message(context.Background(), 13); err != nil || !rec.Damaged() || rec.Offset != 13 || rec.End() != 14 {
			t.Errorf("message 13: %+v, %v", rec, err)
		}
	})
}

// A topic that contradicts itself is refused, and others are served; accepted, it is
// served, with what is missing counted as damage.
func TestDamagedTopicIsRefusedUntilItIsAccepted(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	inBubble(t, Options{Conditions: board}, func(r *rig) {
		orders, other := r.topic("orders", 0, storage.Retention{}), r.topic("other", 0, storage.Retention{})
		r.group(GroupSpec{Topic: "orders", Name: "g"})
		r.mustPublish(orders, "a", "b", "c")
		r.mustPublish(orders, "d", "e", "f")
		r.mustPublish(other, "x")
		r.alterFile(fmt.Sprintf("DELETE FROM blocks WHERE key = %d", int64(orders.id)<<40+3))
		orders, _ = r.b.findTopic("orders")
		other, _ = r.b.findTopic("other")
		r.mustPublish(other, "y")
		refused := func(what string, err error) {
			t.Helper()
			if CodeOf(err) != Unavailable || !strings.Contains(err.Error(), "the end of its log is missing: messages 3 to 5") {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("publish", r.publish(orders, storage.Record{})[0].Err)
		_, err := r.findGroup("orders", "g").Subscribe(&consumer{})
		refused("subscribe", err)
		_, _, err = r.b.declareGroup(context.Background(), GroupSpec{Topic: "orders", Name: "new"})
		refused("declare a group", err)
		_, _, err = r.b.declareTopic(context.Background(), TopicSpec{Name: "orders", Retention: Limits{MaxCount: ptr[int64](1)}})
		refused("set retention", err)
		refused("empty", r.b.emptyTopic(context.Background(), "orders", "", named("me")))
		if c := board.List(); len(c) != 1 || c[0].Kind != "damage" || c[0].Subject != "orders" || c[0].Severity != condition.Critical {
			t.Errorf("conditions %+v", c)
		}
		r.crash() // it is refused again
		if _, err = r.b.accept(context.Background(), "orders", named("me")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.b.accept(context.Background(), "orders", named("me")); CodeOf(err) != Conflict {
			t.Errorf("accepted again: %v", err)
		}
		r.crash() // and it stays accepted
		if orders, err = r.b.findTopic("orders"); err != nil || orders.Refused() != nil || len(board.List()) != 0 {
			t.Fatalf("%v, %v, conditions %v", err, orders.Refused(), board.List())
		}
		r.mustPublish(orders, "g")
		g := r.findGroup("orders", "g")
		got, _ := offsets(r.subscribe(g, "1").take(10))
		if !slices.Equal(got, []int64{0, 1, 2, 6}) || g.Counts().Damaged != 3 {
			t.Errorf("got %v, %d damaged", got, g.Counts().Damaged)
		}
		if c := board.List(); len(c) != 1 || c[0].Subject != "orders" || c[0].Severity != condition.Warning || !strings.Contains(c[0].Text, "not delivered") {
			t.Errorf("after messages that are missing: %+v", c)
		}
	})
}

// A topic to which nothing can be added, as the page where its log ends is damaged, is
// refused alone. It can't be accepted, but removed.
func TestTopicWithADamagedEndIsRefusedAloneAndCanBeRemoved(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	inBubble(t, Options{Conditions: board}, func(r *rig) {
		other, orders := r.topic("other", 0, storage.Retention{}), r.topic("orders", 0, storage.Retention{})
		for _, topic := range []*Topic{other, orders} {
			r.group(GroupSpec{Topic: topic.Name(), Name: "g"})
			for range 300 { // more than a page
				r.mustPublish(topic, "a")
			}
		}
		r.close()
		db, err := sql.Open("sqlite", "file:"+r.path)
		if err != nil {
			t.Fatal(err)
		}
		var page int64
		err = db.QueryRow("SELECT pageno FROM dbstat WHERE name = 'blocks' AND pagetype = 'leaf' ORDER BY path DESC LIMIT 1").Scan(&page)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(r.path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(make([]byte, 4096), (page-1)*4096)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		r.open()
		orders, _ = r.b.findTopic("orders")
		other, _ = r.b.findTopic("other")
		err = r.publish(orders, storage.Record{})[0].Err
		if CodeOf(err) != Unavailable || !strings.Contains(err.Error(), "where its log ends is damaged") {
			t.Errorf("publish: %v", err)
		}
		if _, err = r.b.accept(context.Background(), "orders", named("me")); CodeOf(err) != Unavailable || !strings.Contains(err.Error(), "zbus recover") {
			t.Errorf("accept: %v", err)
		}
		if c := board.List(); len(c) != 1 || c[0].Subject != "orders" || c[0].Severity != condition.Critical {
			t.Errorf("conditions %+v", c)
		}
		r.mustPublish(other, "b")
		if got, _ := offsets(r.subscribe(r.findGroup("other", "g"), "1").take(1000)); len(got) != 301 {
			t.Errorf("%d messages of the other topic, want 301", len(got))
		}
		if err := r.b.removeTopic(context.Background(), "orders", "", named("me")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // for what removes its messages
		r.mustPublish(other, "c")
	})
}

// A time that is damaged does not make retention drop what is not old enough.
func TestDamagedTimeDropsNothingByAge(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{MaxAge: 600_000})
		for range 5 {
			r.mustPublish(topic, "a", "b")
		}
		r.alterFile(fmt.Sprintf("UPDATE blocks SET time = 1000 WHERE key = %d", int64(topic.id)<<40+4))
		topic, _ = r.b.findTopic("orders")
		time.Sleep(5 * time.Second)
		if topic.First() != 0 {
			t.Errorf("the first message is %d", topic.First())
		}
		time.Sleep(20 * time.Minute)
		if topic.First() != 10 {
			t.Errorf("when all are old, the first message is %d", topic.First())
		}
	})
}
