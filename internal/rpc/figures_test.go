package rpc

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBucketsFollowEachOtherAndAreNarrow(t *testing.T) {
	for b := range buckets - 1 {
		low, high := upTo(b-1), upTo(b)
		if b == 0 {
			low = 0
		}
		if bucketOf(low) != b || bucketOf(high-1) != b {
			t.Fatalf("bucket %d is from %s to %s, but these are in %d and %d", b, low, high, bucketOf(low), bucketOf(high-1))
		}
		if b > 8 && float64(high-low) > float64(low)/8 {
			t.Errorf("bucket %d is %s wide at %s", b, high-low, low)
		}
	}
	if b := bucketOf(math.MaxInt64); b != buckets-1 {
		t.Errorf("the longest latency is in bucket %d, want %d", b, buckets-1)
	}
}

func TestQuantilesAreWithinAnEighth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int64Range(0, int64(10*time.Minute)), 1, 200).Draw(t, "latencies")
		var l Latencies
		for _, d := range all {
			l.add(time.Duration(d))
		}
		slices.Sort(all)
		for _, q := range []float64{0, .5, .95, .99, 1} {
			exact := time.Duration(all[int(q*float64(len(all)-1))])
			if got := l.Quantile(q); got < exact || got > exact+exact/8+time.Microsecond {
				t.Fatalf("quantile %v: %s, want %s or an eighth more", q, got, exact)
			}
		}
		k := rapid.IntRange(0, 29).Draw(t, "power")
		below := uint64(0)
		for _, d := range all {
			if d < int64(time.Microsecond)<<k {
				below++
			}
		}
		if got := l.Below(k); got != below {
			t.Fatalf("%d are below 2^%d µs, want %d", got, k, below)
		}
	})
}

func TestRecentLatenciesAndRatesAreForgotten(t *testing.T) {
	m := new(method)
	second := func(n int) Instant { return Instant(time.Duration(n) * time.Second) }
	call := func(now Instant, took time.Duration) {
		m.begin(now)
		m.end(&Call{began: now - Instant(took)}, Answered, now)
	}
	table := New(Options{})
	check := func(when int, perSecond float64, recent uint64, p50 time.Duration) {
		t.Helper()
		f := m.figures(table, second(when))
		if f.PerSecond != perSecond || f.Recent.Count() != recent || f.Recent.Quantile(.5) != p50 {
			t.Errorf("after %d s: %v/s, %d recent with a median of %s; want %v/s, %d, %s",
				when, f.PerSecond, f.Recent.Count(), f.Recent.Quantile(.5), perSecond, recent, p50)
		}
	}
	for i := range 20 {
		for range 3 {
			call(second(100+i), time.Millisecond)
		}
	}
	check(119, 3, 60, time.Millisecond) // the present second does not count
	check(120, 3, 60, time.Millisecond)
	check(125, 1.5, 60, time.Millisecond)
	call(second(179), time.Second)
	check(179, 0, 61, 1024*time.Microsecond) // of the minute from 120 on, and the one before
	check(180, .1, 1, time.Second)
	check(240, 0, 0, 0)
	check(1000, 0, 0, 0)
	if f := m.figures(table, second(1000)); f.Total.Count() != 61 || f.Calls != 61 {
		t.Errorf("%d latencies of %d calls altogether, want 61", f.Total.Count(), f.Calls)
	}
}

func TestTheLastErrorIsToldWithItsTime(t *testing.T) {
	s := newScene()
	s.a.Answer(s.Now(), "caller", "1", 500)
	f := s.service.Figures().Methods[0]
	if f.Failed != 1 || f.LastError != "answered with status 500" || time.Since(f.LastTime) > time.Minute {
		t.Errorf("%d failed, last %q at %s", f.Failed, f.LastError, f.LastTime)
	}
	s.caller.Begin(s.Now(), s.service, "plus", "2", time.Second, nobodys{}).Refuse()
	if f := s.service.Figures().Methods[0]; f.LastError != "unavailable" || f.Outcomes["unavailable"] != 1 {
		t.Errorf("last %q of %v", f.LastError, f.Outcomes)
	}
}

// Whatever callers and providers do, every call has one outcome, told to its caller
// once, and what is in flight adds up.
func TestEveryCallHasOneOutcomeInAnyOrderOfEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table := New(Options{})
		s := table.Service("calc")
		w := &world{T: t, table: table, service: s, outcomes: map[string]int{}}
		for i := range 6 {
			w.join(i)
		}
		for range rapid.IntRange(1, 120).Draw(t, "events") {
			w.event()
		}
		for i := range w.peers {
			w.peers[i].Leave()
		}
		for _, c := range w.calls {
			if c.Waiting() {
				t.Fatalf("call %s has no outcome", c.id)
			}
		}
		f := s.Figures()
		if f.Waiting != 0 || f.InFlight != 0 || len(f.Providers) != 0 {
			t.Fatalf("left: %d waiting, %d in flight, %d providers", f.Waiting, f.InFlight, len(f.Providers))
		}
		for id, n := range w.outcomes {
			if n != 1 {
				t.Fatalf("call %s has %d outcomes", id, n)
			}
		}
	})
}

// world is peers that do this and that.
type world struct {
	*rapid.T
	table    *Table
	service  *Service
	peers    []*actor
	calls    []*Call
	outcomes map[string]int
	n        int
}

type actor struct {
	Peer
	world *world
	got   []*Call
}

func (a *actor) CallFailed(c *Call, _ Outcome) { a.world.outcomes[c.id]++ }

func (a *actor) Release() {}

func (w *world) join(i int) {
	a := &actor{world: w}
	w.n++
	a.Init(w.table, fmt.Sprint("peer", w.n), "", a)
	if i < len(w.peers) {
		w.peers[i] = a
	} else {
		w.peers = append(w.peers, a)
	}
}

func (w *world) event() {
	i := rapid.IntRange(0, len(w.peers)-1).Draw(w.T, "peer")
	p := w.peers[i]
	switch rapid.SampledFrom([]string{"call", "call", "take", "take", "answer", "answer", "impostor", "provide", "withdraw", "leave", "time"}).Draw(w.T, "event") {
	case "call":
		w.n++
		w.calls = append(w.calls, p.Begin(w.table.Now(), w.service, "m", fmt.Sprint(w.n), time.Duration(w.n%3+1)*time.Second, nobodys{}))
	case "take":
		for _, c := range w.calls {
			if c.Waiting() && c.provider == nil {
				p.Take(p, c)
				p.got = append(p.got, c)
				return
			}
		}
	case "answer":
		if len(p.got) > 0 {
			c := p.got[0]
			p.got = p.got[1:]
			waits := c.Waiting()
			answered, _ := p.Answer(w.table.Now(), c.caller.id, c.id, 200)
			if (answered == c) != waits || answered != nil && answered != c {
				w.Fatalf("an answer to a call that waits (%t) was for another or none", waits)
			}
			if answered != nil {
				w.outcomes[c.id]++
			}
		}
	case "impostor":
		for _, c := range w.calls {
			if c.Waiting() && (c.provider == nil || c.provider.peer != &p.Peer) {
				if answered, _ := p.Answer(w.table.Now(), c.caller.id, c.id, 200); answered != nil {
					w.Fatalf("a provider answered a call that it did not get")
				}
				return
			}
		}
	case "provide":
		p.Provide(w.service)
	case "withdraw":
		p.Withdraw(w.service)
	case "leave":
		p.Leave()
		w.join(i)
	case "time":
		w.table.start = w.table.start.Add(-1100 * time.Millisecond)
		w.table.expire()
	}
}

func TestTheWheelGivesOutWhatIsDueAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		there := map[*Call]bool{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				c := &Call{due: w.now + int64(rapid.IntRange(1, 5000).Draw(t, "delay"))}
				w.add(c)
				there[c] = true
			case 1:
				for c := range there {
					w.remove(c)
					delete(there, c)
					break
				}
			case 2:
				to := w.now + int64(rapid.IntRange(1, 3000).Draw(t, "passes"))
				due := map[*Call]int64{}
				for c := range there {
					due[c] = c.due
				}
				for c := w.advance(to); c != nil; c = c.later {
					if due[c] > to || !there[c] {
						t.Fatalf("due at %d, given out at %d", due[c], to)
					}
					delete(there, c)
				}
				for c := range there {
					if c.due <= to {
						t.Fatalf("due at %d and not given out at %d", c.due, to)
					}
				}
			}
			for c := range there {
				if next := w.next(); c.due < next {
					t.Fatalf("nothing is expected before %d, but something is due at %d", next, c.due)
				}
			}
		}
	})
}
