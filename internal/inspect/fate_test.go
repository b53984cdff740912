package inspect

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// fatesOf are those of all messages in the log.
func (r *rig) fatesOf(g *broker.Group) []Fate {
	r.Helper()
	f, err := FatesOf(context.Background(), g)
	if err != nil {
		r.Fatal(err)
	}
	var all []Fate
	_, _, err = g.Topic().Scan(context.Background(), broker.Scan{To: g.Topic().Next(), Brief: true}, func(m *storage.Record) bool {
		fate := f.Of(m)
		waits := fate.Fate != FateSettled && fate.Fate != FateBeforeCursor
		if fate.Group != g.Name() || waits && fate.Fate != FateFiltered && !f.Pending(m.Offset) || !waits && f.Pending(m.Offset) {
			r.Fatalf("fate of %d: %+v, pending: %t", m.Offset, fate, f.Pending(m.Offset))
		}
		all = append(all, fate)
		return true
	})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

// are compares fates, in the order of the log.
func (r *rig) are(g *broker.Group, want ...string) {
	r.Helper()
	var got []string
	for _, f := range r.fatesOf(g) {
		got = append(got, f.Fate)
	}
	if !slices.Equal(got, want) {
		r.Errorf("the fates are\n%q, want\n%q", got, want)
	}
}

func TestFateOfEveryKind(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.mustPublish(topic, "a", "a", "a", "a.b.c", "a", "a", "a", "a", "x.b")
		g := r.group(broker.GroupSpec{
			Topic: "orders", Settle: ptr(storage.SettleExplicit), Start: at(2), Filter: ptr("a;x.y.z;!b"),
		})
		c := r.subscribe(g, "c")
		b := c.take(4)[0] // 2, 4, 5, 6
		if err := ackNow(g, 4, b.Handle(1)); err != nil {
			r.Fatal(err)
		}
		if err := nackNow(g, 5, b.Handle(2), 60_000); err != nil {
			r.Fatal(err)
		}
		r.mustPublish(topic, "b", "")
		r.are(g, FateBeforeCursor, FateBeforeCursor, FateInFlight, FateFiltered, FateSettled, FateReturned,
			FateInFlight, FatePending, FateFiltered, FateFiltered, FateFiltered)
		all := r.fatesOf(g)
		for _, w := range []struct {
			offset, part int
			pattern      string
			deliveries   int64
		}{{2, 0, "", 1}, {3, 2, "a", 0}, {5, 0, "", 1}, {7, 0, "", 0}, {8, 2, "x.y.z", 0}, {9, 0, "!b", 0}, {10, 1, "a", 0}} {
			if f := all[w.offset]; f.Part != w.part || f.Pattern != w.pattern || f.Deliveries != w.deliveries {
				r.Errorf("fate of %d: %+v, want %+v", w.offset, f, w)
			}
		}
	})
}

// What was skipped is told from what was consumed, before and behind it.
func TestFateOfWhatWasPassedOver(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.mustPublish(topic, make([]string, 8)...)
		g := r.group(broker.GroupSpec{Topic: "orders", Start: at(1)})
		c := r.subscribe(g, "c")
		c.eager = true
		move := func(to int64) broker.Move {
			m, err := r.move(g, at(to))
			if err != nil {
				r.Fatal(err)
			}
			synctest.Wait()
			return m
		}
		c.take(2) // 1, 2
		skip := move(5)
		c.take(1) // 5
		const s, p, b = FateSettled, FatePending, FateBeforeCursor
		r.are(g, b, s, s, b, b, s, p, p)
		move(2)
		r.are(g, b, s, p, p, p, p, p, p)
		move(8)
		r.are(g, b, s, s, b, b, s, b, b)
		r.revert(skip.Entry)
		r.are(g, b, s, s, p, p, p, p, p)
		time.Sleep(time.Second)
		r.crash()
		r.are(r.again(), b, s, s, p, p, p, p, p)
	})
}

// What is settled beyond the cursor when the filter changes was settled by the old one.
func TestFateGoesByTheFilterOfItsTime(t *testing.T) {
	inBubble(t, broker.Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(broker.GroupSpec{Topic: "orders", Settle: ptr(storage.SettleExplicit), Filter: ptr("a")})
		r.mustPublish(topic, "a", "a", "b", "a")
		c := r.subscribe(g, "c")
		c.eager = true
		b := c.take(3)[0] // 0, 1, 3
		if err := ackNow(g, 1, b.Handle(1)); err != nil {
			r.Fatal(err)
		}
		const s, f = FateSettled, FateFiltered
		r.are(g, FateInFlight, s, f, FateInFlight)
		r.group(broker.GroupSpec{Topic: "orders", Filter: ptr("c")})
		r.are(g, FateInFlight, s, f, FateInFlight)
		if all := r.fatesOf(g); all[2].Pattern != "a" {
			r.Errorf("message 2 was shut out by %q, want a", all[2].Pattern)
		}
		r.mustPublish(topic, "a", "b", "c")
		c.sub.Close()
		r.are(g, FateReturned, s, f, FateReturned, f, f, FatePending)
		if all := r.fatesOf(g); all[5].Pattern != "c" {
			r.Errorf("message 5 is shut out by %q, want c", all[5].Pattern)
		}
	})
}

// fates is a group whose messages are followed one by one.
type fates struct {
	*past
	how    map[int64]Fate // of what is settled, or was before a move
	before storage.Progress
}

func TestFatesAreWhatHappened(t *testing.T) {
	inBubbles(t, faultreport.ScaleAlways(t, 6, 600), func(r *rig, rt *rapid.T) {
		h := &past{rig: r, topic: r.topic("orders", 0, storage.Retention{})}
		h.publish(rt, 0)
		start := int64(rapid.IntRange(0, len(h.recs)).Draw(rt, "start"))
		h.g = r.group(broker.GroupSpec{Topic: "orders", Settle: ptr(someSettle.Draw(rt, "settle")), Start: at(start)})
		h.c = r.subscribe(h.g, "c")
		h.c.eager = true
		f := &fates{past: h, how: map[int64]Fate{}, before: h.g.Info().Progress}
		for o := range start {
			f.how[o] = Fate{Group: "orders", Fate: FateBeforeCursor}
		}
		f.compare()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			f.step(rt)
			f.compare()
		}
		time.Sleep(time.Second) // all is saved
		f.reopen()
		f.compare()
	})
}

func (f *fates) step(rt *rapid.T) {
	filter, moved := filterOf(f, f.g), false
	switch rapid.IntRange(0, 4).Draw(rt, "step") {
	case 0:
		f.publish(rt, 1)
	case 1:
		f.consume(rt)
	case 2:
		moved = true
		if _, err := f.move(f.g, at(int64(rapid.IntRange(0, len(f.recs)).Draw(rt, "to")))); err != nil {
			f.Fatal(err)
		}
	case 3:
		if info := f.g.Info(); info.InFlight == 0 { // what is in flight passed the old filter
			f.group(broker.GroupSpec{Topic: "orders", Filter: ptr(someFilters.Draw(rt, "filter"))})
		}
	case 4:
		f.publish(rt, 1)
		f.consume(rt)
	}
	synctest.Wait()
	f.follow(moved, filter)
}

// follow notes what became of the messages that are settled since it was called last.
func (f *fates) follow(moved bool, filter *filter.Filter) {
	now := f.g.Info().Progress
	f.each(func(m *storage.Record) {
		o := m.Offset
		if !now.Done(o) || f.before.Done(o) {
			return
		}
		fate := Fate{Group: "orders", Fate: FateSettled}
		if moved {
			fate.Fate = FateBeforeCursor
		} else if pattern, part, ok := filter.Mismatch(m.Tag); ok {
			fate.Fate, fate.Pattern, fate.Part = FateFiltered, pattern, part
		}
		if _, known := f.how[o]; !moved || !known {
			f.how[o] = fate
		}
	})
	f.before = now
}

// compare asks the broker for the fates.
func (f *fates) compare() {
	f.Helper()
	info, filter := f.g.Info(), filterOf(f, f.g)
	got := f.fatesOf(f.g)
	flying := f.g.Snapshot().InFlight
	f.each(func(m *storage.Record) {
		want := Fate{Group: "orders", Fate: FatePending}
		if info.Done(m.Offset) {
			want = f.how[m.Offset]
		} else if n, ok := flying[m.Offset]; ok {
			want.Fate, want.Deliveries = FateInFlight, n
		} else if pattern, part, ok := filter.Mismatch(m.Tag); ok {
			want.Fate, want.Pattern, want.Part = FateFiltered, pattern, part
		}
		if got[m.Offset] != want {
			f.Fatalf("fate of %d: %+v, want %+v; the group is at %+v, the journal is %+v", m.Offset, got[m.Offset], want, info.Progress, f.entries(f.g))
		}
	})
}
