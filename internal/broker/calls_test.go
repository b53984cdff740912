package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

// asker is a caller that a test can send away.
type asker struct{ gone, unserved bool }

func (w *asker) Waiting() bool { return !w.gone }
func (w *asker) Unserved()     { w.gone, w.unserved = true, true }

// call publishes a call with a body of the given size.
func (r *rig) call(t *Topic, size int) *asker {
	r.Helper()
	w := new(asker)
	done := make(chan struct{})
	p := r.b.NewPublishing(func() { close(done) })
	p.Add(Message{Topic: t, Record: storage.Record{Body: make([]byte, size)}, Call: true, GiveAway: true})
	p.Attach(w)
	_ = p.Publish(context.Background())
	<-done
	if _, err := p.Result(0); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
	return w
}

// providers subscribes some that take every call at once, each with a credit.
func (r *rig) providers(g *Group, credit int64, names ...string) []*consumer {
	r.Helper()
	all := make([]*consumer, len(names))
	for i, name := range names {
		all[i] = r.subscribe(g, name)
		all[i].eager = true
		all[i].sub.SetCredit("c", credit)
	}
	synctest.Wait()
	return all
}

// got is how many calls each was given since the last time.
func got(all []*consumer) []int {
	n := make([]int, len(all))
	for i, c := range all {
		list, _ := offsets(c.drain())
		n[i] = len(list)
	}
	return n
}

// Calls to a topic that was declared just now wait a moment for its first provider, and
// keep nothing else waiting.
func TestCallsWaitForTheFirstProviderOfANewTopic(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("calc", storage.KindRPC, storage.Retention{})
		g := r.group(GroupSpec{Topic: "calc"})
		served := r.call(topic, 1)
		time.Sleep(providerWait / 2)
		all := r.providers(g, 9, "late")
		if n := got(all); n[0] != 1 {
			r.Errorf("the first provider got %d calls, want 1", n[0])
		}
		time.Sleep(providerWait)
		if served.unserved {
			r.Error("a call that a provider got is refused")
		}
		kept := r.b.InMemory()
		other := r.topic("none", storage.KindRPC, storage.Retention{})
		first, second := r.call(other, 1), r.call(other, 1)
		time.Sleep(providerWait + time.Millisecond)
		synctest.Wait()
		if !first.unserved || !second.unserved {
			r.Error("no provider came, and calls still wait for one")
		}
		if p := r.publish(other, storage.Record{}); CodeOf(p[0].Err) != Unavailable {
			r.Errorf("a call after that: %v, want unavailable", p[0].Err)
		}
		if n := r.b.InMemory() - kept; n != 0 {
			r.Errorf("%d bytes of refused calls are kept", n)
		}
	})
}

func TestCallsGoToTheLeastBusyProviderThenToTheLongestIdle(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("add", storage.KindRPC, storage.Retention{})
		all := r.providers(r.group(GroupSpec{Topic: "add"}), 100, "a", "b", "c")
		want := func(why string, n ...int) {
			r.Helper()
			if have := got(all); !slices.Equal(have, n) {
				r.Errorf("%s: the providers got %d, want %d", why, have, n)
			}
		}
		for range 3 {
			r.call(topic, 1)
		}
		want("all are idle", 1, 1, 1)
		all[1].sub.Release()
		r.call(topic, 1)
		want("b is idle", 0, 1, 0)
		all[2].sub.Release() // idle longer than a
		all[0].sub.Release()
		r.call(topic, 1)
		want("c is idle for longer than a", 0, 0, 1)
		for range 3 { // a: 0, b: 1, c: 1
			r.call(topic, 1)
		}
		want("a is behind, then all are as busy and b was served longest ago", 1, 1, 1)
		for range 5 { // b hangs with all it has
			r.call(topic, 1)
			all[0].sub.Release()
			r.call(topic, 1)
			all[2].sub.Release()
		}
		if n := got(all); n[1] > 1 {
			r.Errorf("a provider that hangs got %d of 10 calls, want at most one", n[1])
		}
	})
}

func TestCallsNeverGoBeyondAProvidersCredit(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("add", storage.KindRPC, storage.Retention{})
		g := r.group(GroupSpec{Topic: "add"})
		small, large := r.providers(g, 2, "small")[0], r.providers(g, 7, "large")[0]
		for range 20 {
			r.call(topic, 1)
		}
		if n := got([]*consumer{small, large}); !slices.Equal(n, []int{2, 7}) {
			r.Errorf("credit of 2 and 7 brought %d calls", n)
		}
		small.sub.Release()
		synctest.Wait()
		if n := got([]*consumer{small}); n[0] != 0 {
			r.Error("being done with a call brought another without credit for it")
		}
		list, _ := offsets(small.take(1))
		if len(list) != 1 {
			r.Errorf("one more credit brought %d calls", len(list))
		}
	})
}

func TestACallIsHandedOutOnceWhateverHappensToIt(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(*rig, *Topic, *Group, *consumer)
	}{
		{"a second group", func(r *rig, _ *Topic, _ *Group, _ *consumer) {
			g := r.group(GroupSpec{Topic: "add", Name: "second", Start: Position{At: AtEarliest}})
			if n := got(r.providers(g, 10, "other")); n[0] != 0 {
				r.Errorf("a second group got %d calls that the first one had", n[0])
			}
		}},
		{"relocation", func(r *rig, _ *Topic, g *Group, p *consumer) {
			if _, err := g.relocate(context.Background(), Position{At: AtEarliest}, "relocate", named("test"), ""); err != nil {
				r.Fatal(err)
			}
			synctest.Wait()
			if n := got([]*consumer{p}); n[0] != 0 {
				r.Errorf("the group got %d calls again", n[0])
			}
		}},
		{"a write that failed", func(r *rig, topic *Topic, g *Group, p *consumer) {
			p.eager = false
			r.call(topic, 1)
			batches := p.drain()
			if len(batches) != 1 {
				r.Fatalf("%d batches, want the call", len(batches))
			}
			p.sub.Close()
			batches[0].Done(0)
			synctest.Wait()
			if n := got(r.providers(g, 10, "other")); n[0] != 0 {
				r.Errorf("another provider got %d calls that may have run", n[0])
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				topic := r.topic("add", storage.KindRPC, storage.Retention{})
				// A mask that asks for acks would bring it again after their timeout.
				g := r.group(GroupSpec{Topic: "add", Settle: ptr(storage.SettleExplicit), AckTimeout: ptr(int64(1))})
				p := r.providers(g, 10, "first")[0]
				r.call(topic, 1)
				if n := got([]*consumer{p}); n[0] != 1 {
					r.Fatalf("the provider got %d calls, want 1", n[0])
				}
				c.then(r, topic, g, p)
			})
		})
	}
}

func TestACallWhoseCallerIsGoneIsNotHandedOutAndCostsNoCredit(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("add", storage.KindRPC, storage.Retention{})
		p := r.subscribe(r.group(GroupSpec{Topic: "add"}), "p")
		p.eager = true
		first, _, third := r.call(topic, 1), r.call(topic, 1), r.call(topic, 1)
		first.gone, third.gone = true, true
		list, _ := offsets(p.take(2))
		if len(list) != 1 || list[0] != topic.First()+1 {
			r.Errorf("got the calls at %d, want the second one alone", list)
		}
		r.call(topic, 1)
		if n := got([]*consumer{p}); n[0] != 1 {
			r.Errorf("the second credit brought %d calls, want 1", n[0])
		}
	})
}

func TestCallsThatWereHandedOutMakeRoomForOthers(t *testing.T) {
	inBubble(t, Options{MemoryBytes: 1 << 20}, func(r *rig) {
		one, two := r.topic("one", storage.KindRPC, storage.Retention{}), r.topic("two", storage.KindRPC, storage.Retention{})
		r.providers(r.group(GroupSpec{Topic: "one"}), 1000, "p")
		r.providers(r.group(GroupSpec{Topic: "two"}), 1000, "p")
		for range 20 { // more than fits together, never at the same time
			r.call(one, 100_000)
			r.call(two, 100_000)
		}
		if n := len(two.calls.calls); n > 1 {
			r.Errorf("%d calls that were handed out are remembered", n)
		}
	})
}

func TestReadyIsInOrderWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subs := make([]*Subscription, rapid.IntRange(1, 12).Draw(t, "subscriptions"))
		for i := range subs {
			subs[i] = new(Subscription)
		}
		var r ready
		there := map[*Subscription]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			s := rapid.SampledFrom(subs).Draw(t, "subscription")
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				if !there[s] {
					r.push(s)
				} else {
					r.remove(s)
				}
				there[s] = !there[s]
			case 1:
				s.busy += int64(rapid.IntRange(0, 5).Draw(t, "more"))
			case 2:
				s.busy = 0
				r.idle(s)
			}
			if r.has(s) != there[s] {
				t.Fatalf("has: %t, want %t", r.has(s), there[s])
			}
			if there[s] {
				r.fix(s)
			}
			checkReady(t, &r, there)
		}
	})
}

func checkReady(t *rapid.T, r *ready, there map[*Subscription]bool) {
	var order []*Subscription
	for s, ok := range there {
		if ok {
			order = append(order, s)
		}
	}
	slices.SortFunc(order, func(a, b *Subscription) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	if r.len() != len(order) || len(order) > 0 && r.first() != order[0] {
		t.Fatalf("%d are ready, want %d with the first of them in front", r.len(), len(order))
	}
	lead := int64(0)
	if len(order) > 1 {
		lead = order[1].busy - order[0].busy
	}
	if r.lead() != lead {
		t.Fatalf("lead %d, want %d", r.lead(), lead)
	}
}
