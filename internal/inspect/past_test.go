package inspect

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// inBubbles runs a property of a broker, each case on a new file.
func inBubbles(t *testing.T, checks int, prop func(r *rig, rt *rapid.T)) {
	t.Helper()
	bubbles.Few(t, checks)
	bubbles.Check(t, func(rt *rapid.T, dir string) {
		r := &rig{T: rt, path: dir + "/zbus.db"}
		if rapid.Bool().Draw(rt, "all from disk") {
			r.opts.TailBytes = 1
		}
		r.open()
		defer func() { r.close() }()
		prop(r, rt)
	})
}

// past is a topic and a group with a random history: some of the log consumed with
// holes, some of it dropped. What is in recs is counted one by one in the tests.
type past struct {
	*rig
	topic *broker.Topic
	g     *broker.Group
	c     *consumer
	held  []*broker.Batch  // what c was given
	recs  []storage.Record // by offset less base, dropped ones included
	base  int64
}

var (
	someKind    = rapid.SampledFrom([]storage.Kind{storage.KindLog, storage.KindLog, storage.KindMemory})
	someSettle  = rapid.SampledFrom([]storage.Settle{storage.SettleAuto, storage.SettleExplicit})
	someTags    = rapid.SampledFrom([]string{"", "a.x", "a.y", "b", "b.x.y"})
	someFilters = rapid.SampledFrom([]string{"", "a.*", "!a.x", "b;#", "#.x.#;!b.#", "none"})
)

// newPast makes one.
func newPast(r *rig, rt *rapid.T, kind storage.Kind) *past {
	h := &past{rig: r, topic: r.topic("orders", kind, storage.Retention{})}
	h.base = h.topic.Next()
	h.g = r.group(broker.GroupSpec{
		Topic: "orders", Filter: ptr(someFilters.Draw(rt, "filter")),
		Settle: ptr(someSettle.Draw(rt, "settle")),
	})
	h.publish(rt, 0)
	h.c = r.subscribe(h.g, "past")
	h.c.eager = true
	h.consume(rt)
	h.publish(rt, 0)
	if rapid.Bool().Draw(rt, "consumer goes") {
		h.c.sub.Close()
	}
	h.drop(rt)
	h.publish(rt, 1)
	return h
}

// publish adds messages in some commits.
func (h *past) publish(rt *rapid.T, least int) {
	for range rapid.IntRange(least, 3).Draw(rt, "commits") {
		time.Sleep(time.Millisecond)
		recs := make([]storage.Record, rapid.IntRange(1, 9).Draw(rt, "messages"))
		for i := range recs {
			recs[i] = storage.Record{
				ID: fmt.Sprint("m", len(h.recs)+i), Tag: someTags.Draw(rt, "tag"),
				Body: make([]byte, rapid.IntRange(0, 20).Draw(rt, "body")),
			}
		}
		h.rig.publish(h.topic, recs...)
		for _, rec := range recs {
			if rec.Offset != h.base+int64(len(h.recs)) {
				h.Fatalf("message %d is at %d", len(h.recs), rec.Offset)
			}
			h.recs = append(h.recs, rec)
		}
	}
}

// consume takes some messages and acks some of those, in any order.
func (h *past) consume(rt *rapid.T) {
	if !slices.Contains(h.g.Info().Consumers, h.c.Name()) {
		return
	}
	got := h.c.take(int64(rapid.IntRange(0, 25).Draw(rt, "credit")))
	h.c.sub.SetCredit("no more", 0)
	h.held = append(h.held, got...)
	for _, b := range got {
		if b.Auto {
			continue
		}
		order := make([]int, len(b.Items))
		for i := range order {
			order[i] = i
		}
		for _, i := range rapid.Permutation(order).Draw(rt, "order") {
			if rapid.IntRange(0, 2).Draw(rt, "ack") == 0 {
				continue
			}
			if err := ackNow(h.g, b.Items[i].Record.Offset, b.Handle(i)); err != nil {
				h.Fatal(err)
			}
		}
	}
}

// drop has retention drop the beginning of the log, or not.
func (h *past) drop(rt *rapid.T) {
	left := rapid.IntRange(0, 2*len(h.recs)).Draw(rt, "left")
	if left == 0 || left >= len(h.recs) {
		return
	}
	kind := h.topic.Kind()
	h.rig.topic("orders", kind, storage.Retention{MaxCount: int64(left)})
	time.Sleep(dropsWithin)
	synctest.Wait()
	h.rig.topic("orders", kind, storage.Retention{})
}

// at is the message at an offset.
func (h *past) at(offset int64) *storage.Record { return &h.recs[offset-h.base] }

// each goes through the log as it is.
func (h *past) each(visit func(r *storage.Record)) {
	for offset := h.topic.First(); offset < h.topic.Next(); offset++ {
		visit(h.at(offset))
	}
}

// filterOf is the group's filter.
func filterOf(t bubbles.T, g *broker.Group) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(g.Info().Filter)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// restored compares the position of a group with that it had before, of which retention
// may have dropped the beginning since.
func (h *past) restored(want storage.Progress) {
	h.Helper()
	got := h.g.Info().Progress
	first, cursor := h.topic.First(), max(want.Cursor, h.topic.First())
	for cursor < h.topic.Next() && want.Done(cursor) {
		cursor++
	}
	same := got.Cursor == want.Cursor && got.Read == want.Read && slices.Equal(got.Settled, want.Settled)
	if first <= want.Cursor && !same {
		h.Fatalf("the group is at %+v, want %+v", got, want)
	}
	if got.Cursor != cursor || got.Read != max(want.Read, cursor) {
		h.Fatalf("cursor %d and read %d, want %d and %d; the log begins at %d, the group was at %+v",
			got.Cursor, got.Read, cursor, max(want.Read, cursor), first, want)
	}
	h.each(func(m *storage.Record) {
		if got.Done(m.Offset) != want.Done(m.Offset) {
			h.Fatalf("the group is at %+v, was at %+v: another fate of %d", got, want, m.Offset)
		}
	})
}

func TestRevertPutsThePlaceBack(t *testing.T) {
	inBubbles(t, faultreport.ScaleAlways(t, 6, 600), func(r *rig, rt *rapid.T) {
		h := newPast(r, rt, 0)
		position := func() broker.Position { return at(int64(rapid.IntRange(0, len(h.recs)).Draw(rt, "to"))) }
		before := h.g.Info().Progress
		moved, err := r.move(h.g, position())
		if err != nil {
			r.Fatal(err)
		}
		h.consume(rt)
		h.publish(rt, 0)
		h.drop(rt)
		there := h.g.Info().Progress
		undone := r.revert(moved.Entry)
		h.restored(before)
		if rapid.Bool().Draw(rt, "crash") {
			h.reopen()
			h.restored(before)
		}
		r.revert(undone)
		h.restored(there)
		h.reopen()
		h.restored(there)

		c := r.subscribe(h.g, "then")
		c.eager = true
		got, _ := offsets(c.take(1000))
		want := slices.DeleteFunc(h.matching(0), func(o int64) bool { return there.Done(o) })
		if !slices.Equal(got, want) {
			r.Fatalf("delivered %d, want %d from the position %+v", got, want, there)
		}
	})
}

// reopen is a crash.
func (h *past) reopen() {
	h.Helper()
	h.crash()
	h.g = h.again()
	h.topic = h.g.Topic()
}
