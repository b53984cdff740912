package broker

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/access"

	"github.com/rushmore/zbus-go/internal/storage"
)

// revert undoes a journal entry.
func (r *rig) revert(e storage.JournalEntry) storage.JournalEntry {
	r.Helper()
	g, done, err := r.b.As(caller("ann"), access.Move).Revert(context.Background(), e.ID, "a mistake")
	if err != nil {
		r.Fatalf("revert of %+v: %v", e, err)
	}
	if newest := r.entries(g)[0]; fmt.Sprint(newest) != fmt.Sprint(done) || done.Kind != "revert" || done.Actor.Name != "ann" || done.Reason != "a mistake" {
		r.Fatalf("the revert gives %+v, journalled is %+v", done, newest)
	}
	return done
}

// entries is the journal of a group, newest entry first.
func (r *rig) entries(g *Group) []storage.JournalEntry {
	r.Helper()
	list, err := g.Journal(context.Background(), 0, 1000)
	if err != nil || len(list) == 0 {
		r.Fatalf("journal of %s: %d entries, %v", g.Name(), len(list), err)
	}
	return list
}

func TestRevertOfAPlaceThatWasDroppedInPart(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(10, 0)
		b := r.subscribe(g, "a").take(9)[0]
		for _, o := range []int64{2, 3, 5, 7} {
			if err := g.ackNow(o, b.Handle(int(o))); err != nil {
				r.Fatal(err)
			}
		}
		moved, err := g.relocate(context.Background(), at(10), "relocate", named("bob"), "")
		if err != nil {
			r.Fatal(err)
		}
		r.topic("orders", 0, storage.Retention{MaxCount: 5})
		time.Sleep(2 * retentionInterval)
		r.revert(moved.Entry)
		want := storage.Progress{Cursor: 6, Read: 9, Settled: storage.Ranges{{Lo: 7, Hi: 8}}}
		if got := g.Info().Progress; !reflect.DeepEqual(got, want) {
			r.Errorf("the group is at %+v, want %+v", got, want)
		}
		if list, counts := offsets(r.subscribe(g, "b").take(9)); !slices.Equal(list, []int64{6, 8, 9}) || !slices.Equal(counts, []int64{2, 2, 1}) {
			r.Errorf("delivered %d with counts %d", list, counts)
		}
	})
}

func TestRevertOfAFilter(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Filter: ptr("a")})
		r.mustPublish(topic, "a", "b")
		r.group(GroupSpec{Topic: "orders", Filter: ptr("b"), Actor: named("bob"), Reason: "more b"})
		change := r.entries(g)[0]
		if change.Kind != "filter" || change.Reason != "more b" || change.FilterFrom != "a" || change.FilterTo != "b" {
			r.Fatalf("journalled %+v", change)
		}
		if done := r.revert(change); done.FilterFrom != "b" || done.FilterTo != "a" || done.To != 0 {
			r.Errorf("the revert is %+v", done)
		}
		if _, _, err := r.b.As(caller("ann"), access.Move).Revert(context.Background(), change.ID, ""); CodeOf(err) != Conflict || err == nil {
			r.Errorf("the same revert again: %v, want a conflict", err)
		}
		r.crash()
		g = r.again()
		if list, _ := offsets(r.subscribe(g, "c").take(5)); !slices.Equal(list, []int64{0}) || g.Info().Filter != "a" {
			r.Errorf("delivered %d with the filter %q", list, g.Info().Filter)
		}
		r.revert(r.entries(g)[0])
		if f := g.Info().Filter; f != "b" {
			r.Errorf("filter %q after the revert of the revert", f)
		}
	})
}

func TestRevertThatCannotBe(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.mustPublish(topic, "", "", "")
		gone := r.group(GroupSpec{Topic: "orders", Name: "gone"})
		move, err := gone.relocate(context.Background(), at(3), "relocate", named("bob"), "")
		if err != nil {
			r.Fatal(err)
		}
		if err := r.b.removeGroup(context.Background(), "orders", "gone", "", named("bob")); err != nil {
			r.Fatal(err)
		}
		again := r.group(GroupSpec{Topic: "orders", Name: "gone", Start: at(1)})
		for _, c := range []struct {
			what  string
			entry int64
			want  Code
		}{
			{"no entry", 999, NotFound},
			{"of a removed group", move.Entry.ID, NotFound},
			{"the beginning", r.entries(again)[0].ID, Invalid},
		} {
			if _, _, err := r.b.As(caller("ann"), access.Move).Revert(context.Background(), c.entry, ""); CodeOf(err) != c.want || err == nil {
				r.Errorf("%s: %v, want code %d", c.what, err, c.want)
			}
		}
		synctest.Wait()
		if info := again.Info(); info.Cursor != 1 || info.Epoch != 0 || len(r.entries(again)) != 1 {
			r.Errorf("the new group of that name was moved: %+v", info)
		}
	})
}
