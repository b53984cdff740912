package stats

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// faulty is a writer that refuses changes of history while the test says so, and counts the others.
type faulty struct {
	*storage.Writer

	full    atomic.Bool
	tickets atomic.Int64 // with history
}

func (f *faulty) refuses(ops []storage.Op) bool {
	history := slices.ContainsFunc(ops, func(op storage.Op) bool {
		switch op := op.(type) {
		case *storage.PutHistory, *storage.DropHistory, *storage.ForgetHistory:
			return true
		case *storage.Atomic:
			_, ok := op.Ops[0].(*storage.DropHistory)
			return ok
		}
		return false
	})
	if history && !f.full.Load() {
		f.tickets.Add(1)
	}
	return history && f.full.Load()
}

func (f *faulty) Submit(t *storage.Ticket) error {
	if f.refuses(t.Ops) {
		return storage.ErrFull
	}
	return f.Writer.Submit(t)
}

func (f *faulty) Do(ctx context.Context, ops ...storage.Op) error {
	if f.refuses(ops) {
		return storage.ErrFull
	}
	return f.Writer.Do(ctx, ops...)
}

// unknown is how many intervals nothing is known of.
func (h *History) unknown() (n int) {
	for i := range h.Parts {
		if !h.Parts[i].Known {
			n++
		}
	}
	return n
}

func TestPuttingTogetherTakesNothingFromTheFinerView(t *testing.T) {
	r := newRig(t)
	r.pass(70, r.topic("orders"), 1)
	r.pass(400, r.topic("orders"), 0)
	r.restart(true, 0)
	orders := r.topic("orders")
	r.pass(500, orders, 0)
	r.pass(1, orders, 1)
	before := r.history(orders, 0, "15m").unknown()
	r.pass(80, orders, 0) // what it did before the stop is put together
	if after := r.history(orders, 0, "15m").unknown(); after > before || before > 100 {
		t.Errorf("nothing is known of %d s, and before of %d s: want no more, and 100 at most", after, before)
	}
}

func TestWhatRemainedBeforeAViewBeginsRemainsInIt(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	g := r.group("orders", "stuck")
	for n := range int64(20) {
		r.pass(1, orders, 1)
		for range 20 {
			r.pass(10, orders, 0)
			h := r.history(orders, g.ID(), "15m")
			for i := range h.Parts {
				if p := &h.Parts[i]; n > 4 && (!p.Known || p.Lag < n-4) {
					t.Fatalf("after message %d, %d s ago: %+v, want a lag of %d or more", n, len(h.Parts)-i, p, n-4)
				}
			}
		}
	}
}

func TestWhatCouldNotBeStoredIsStoredLater(t *testing.T) {
	r := newRig(t)
	orders, gone := r.topic("orders"), r.topic("gone")
	r.w.full.Store(true)
	for range 40 {
		r.pass(5, orders, 1)
		r.pass(1, gone, 1)
	}
	if err := r.b.System().RemoveTopic(t.Context(), "gone", ""); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		h := r.history(r.topic("orders"), 0, "15m")
		if n := h.in(); n != 200 {
			t.Errorf("%d messages came, want 200", n)
		}
		if n := h.unknown(); n > 900-200 {
			t.Errorf("nothing is known of %d s, want all known since the start", n)
		}
	}
	check()
	r.w.full.Store(false)
	r.pass(5, orders, 0)
	check()
	r.countsWhatIsStored()
	r.restart(false, 0)
	check()
}

// countsWhatIsStored checks that the keeper knows how much is stored.
func (r *rig) countsWhatIsStored() {
	r.Helper()
	counted := r.k.total
	if !r.k.ask(r.Context()) || r.k.total != counted {
		r.Errorf("%d bytes are counted, and %d are stored", counted, r.k.total)
	}
}

func TestWhatIsPutTogetherAtATimeIsOneCommit(t *testing.T) {
	r := newRig(t)
	topics := make([]*broker.Topic, 8)
	for i := range topics {
		topics[i] = r.topic(fmt.Sprint("t", i))
	}
	for range 2 {
		for _, topic := range topics {
			r.pass(4, topic, 1)
		}
		r.k.store(0)
		r.b.Advance(16 * time.Minute)
	}
	for _, topic := range topics {
		r.pass(1, topic, 1)
		r.k.kept[storage.Series{Topic: topic.ID()}].fine = fineChunks
	}
	r.b.Advance(saveAge * time.Millisecond)
	before := r.w.tickets.Load()
	r.k.step(t.Context(), r.b.Micros()/1000)
	if n := r.w.tickets.Load() - before; n != 2 {
		t.Errorf("%d commits, want one of new chunks and one of what was put together", n)
	}
	for _, topic := range topics {
		if n := r.rows(storage.Series{Topic: topic.ID()}); n[1] != 1 {
			t.Errorf("%v chunks are stored at the levels, want one of 15 seconds", n)
		}
	}
	r.countsWhatIsStored()
}

func TestShrinkForgetsNothingWhileItIsNotKnownWhatThereIs(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	r.pass(70, orders, 1)
	r.k.most = 1
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.k.shrink(ended)
	if n := r.rows(storage.Series{Topic: orders.ID()}); n[0] == 0 {
		t.Errorf("%v chunks are stored, want those that were there", n)
	}
}

func TestAProcessWhoseClockBeganEarlierIsNotTakenForStored(t *testing.T) {
	b := newBuilder(&record{at: 900_000, began: 800_000}, Spans()["15m"])
	b.add(&moment{at: 805_000, began: 1000, Figures: Figures{In: 1}})
	b.memory = true
	b.add(&moment{at: 801_000, began: 800_000, Figures: Figures{In: 1}})
	if n := b.end(&moment{at: 900_000, began: 800_000}).in(); n != 2 {
		t.Errorf("%d messages came, want both", n)
	}
}

func TestWhatThereIsNoRoomForHasAGapAndIsSaid(t *testing.T) {
	r := newRig(t)
	orders := r.topic("orders")
	var log strings.Builder
	r.s.log = slog.New(slog.NewTextHandler(&log, nil))
	r.k = newKeeper(r.s)
	r.pass(1, orders, 0)
	for i := range mostOpen {
		r.s.record.open[storage.Series{Topic: storage.TopicID(1e6 + i)}] = &chunk{first: r.s.record.at}
	}
	r.pass(4, orders, 1)
	gap := func(known bool) {
		t.Helper()
		h := r.history(orders, 0, "15m")
		for i := range 4 {
			if p := h.Parts[len(h.Parts)-1-i]; p.Known != known || known && p.In != 1 {
				t.Errorf("%d s ago: %+v", i, p)
			}
		}
	}
	gap(false)
	r.k.step(t.Context(), r.b.Micros()/1000)
	if !strings.Contains(log.String(), "without=1\n") {
		t.Errorf("the log has %q, want of how many nothing is kept", &log)
	}
	r.s.record.open = map[storage.Series]*chunk{}
	r.pass(1, orders, 0)
	before := r.history(orders, 0, "15m").unknown()
	r.pass(4, orders, 1)
	gap(true)
	if after := r.history(orders, 0, "15m").unknown(); after > before {
		t.Errorf("nothing is known of %d s, before of %d: there is room again", after, before)
	}
}

func TestNothingWaitsLongToBeStoredHoweverMuchThereIs(t *testing.T) {
	for _, series := range []int{100, 500, 10_000} {
		t.Run(fmt.Sprint(series), func(t *testing.T) {
			s := &Sampler{record: record{open: map[storage.Series]*chunk{}}}
			most, oldest := 0, int64(0)
			for at := int64(1_000_000); at < 1_400_000; at += 5000 {
				taken, _ := s.due(at - saveAge)
				s.saved(slices.Collect(maps.Keys(taken)))
				most = max(most, len(taken))
				for _, c := range s.record.open {
					oldest = max(oldest, at-c.first)
				}
				for i := range series {
					of := storage.Series{Topic: storage.TopicID(i + 1)}
					if s.record.open[of] == nil {
						s.record.open[of] = &chunk{first: at}
					}
				}
			}
			if oldest > saveAge || most > max(saveMost, series/12+1) || most == 0 {
				t.Errorf("%d chunks at a time, the oldest is %d s old", most, oldest/1000)
			}
		})
	}
}
