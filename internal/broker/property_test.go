package broker

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// fewChecks has rapid try n cases, unless -rapid.checks says how many.
func fewChecks(t *testing.T, n int) {
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
}

// inBubbles runs a property of a broker, each case on a new file.
func inBubbles(t *testing.T, checks int, prop func(r *rig, rt *rapid.T)) {
	t.Helper()
	fewChecks(t, checks)
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(hidden{t}, func(rt *rapid.T) {
			dir, err := os.MkdirTemp(t.TempDir(), "")
			if err != nil {
				rt.Fatal(err)
			}
			r := &rig{tester: rt, path: dir + "/zbus.db"}
			if rapid.Bool().Draw(rt, "all from disk") {
				r.opts.TailBytes = 1
			}
			r.open()
			defer func() { r.close() }()
			prop(r, rt)
		})
	})
}

// past is a topic and a group with a random history: some of the log consumed with
// holes, some of it dropped. What is in recs is counted one by one in the tests.
type past struct {
	*rig
	topic *Topic
	g     *Group
	c     *consumer
	held  []*Batch         // what c was given
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
	h.g = r.group(GroupSpec{
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
		for _, p := range h.rig.publish(h.topic, recs...) {
			if p.Err != nil || p.Record.Offset != h.base+int64(len(h.recs)) {
				h.Fatalf("message %d is at %d: %v", len(h.recs), p.Record.Offset, p.Err)
			}
			h.recs = append(h.recs, p.Record)
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
			if err := h.g.ackNow(b.Items[i].Record.Offset, b.Handle(i)); err != nil {
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
	time.Sleep(2 * retentionInterval)
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
func filterOf(t tester, g *Group) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(g.Info().Filter)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
