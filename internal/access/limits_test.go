package access

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func (r *rig) limit(account string, l Limits) {
	r.Helper()
	r.ok(r.AlterAccount(r.Context(), boss, account, func(a *Account) { a.Limits = l }, nil))
}

// wait is how long an error says that one has to.
func wait(t *testing.T, err error) time.Duration {
	t.Helper()
	var limited *Limited
	if err != nil && !errors.As(err, &limited) {
		t.Errorf("%v", err)
	}
	return RetryAfter(err)
}

func TestPublishingIsBoundedByTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		_, text := r.token("ann")
		p := r.by(text)
		for range 1000 {
			r.ok(p.Quota().Publish(1, 1<<20))
		}
		r.limit("ann", Limits{Messages: 10, Bytes: 1000})
		for range 10 {
			r.ok(p.Quota().Publish(1, 10))
		}
		err := p.Quota().Publish(1, 10)
		if got := wait(t, err); got != time.Second || !strings.Contains(err.Error(), "account ann publishes more") {
			t.Errorf("the eleventh: %v, %v", got, err)
		}
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			r.ok(p.Quota().Publish(1, 10))
		}
		if wait(t, p.Quota().Publish(1, 10)) == 0 {
			t.Error("more than half in half a second")
		}
		// Another connection of the account, by another token.
		_, other := r.token("ann")
		if wait(t, r.by(other).Quota().Publish(1, 10)) == 0 {
			t.Error("another token has a quota of its own")
		}
		time.Sleep(time.Minute)
		r.ok(p.Quota().Publish(1, 3000)) // larger than a second's worth
		if got := wait(t, p.Quota().Publish(1, 500)); got != 3*time.Second {
			t.Errorf("after three seconds' worth at once: wait %v", got)
		}
		time.Sleep(2500 * time.Millisecond)
		r.ok(p.Quota().Publish(1, 500))
		r.limit("ann", Limits{})
		r.ok(p.Quota().Publish(1000, 1<<30))
	})
}

func TestDeliveriesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "consume:#")
		r.limit("ann", Limits{Messages: 10, Bytes: 1000})
		_, text := r.token("ann")
		q := r.by(text).Quota()
		if n := q.Room(100); n != 10 {
			t.Errorf("room for %d", n)
		}
		q.Deliver(10, 100)
		if got := q.Pause(); got < 99*time.Millisecond || got > 101*time.Millisecond {
			t.Errorf("wait %v", got)
		}
		time.Sleep(q.Pause())
		if n := q.Room(100); n != 1 || q.Pause() != 0 {
			t.Errorf("room for %d, wait %v", n, q.Pause())
		}
		q.Deliver(1, 5000) // a large one
		if got := q.Pause(); got < 4*time.Second {
			t.Errorf("after five seconds' worth: wait %v", got)
		}
		var free *Quota
		if free.Room(100) != 100 || free.Pause() != 0 {
			t.Error("who has no quota waits")
		}
	})
}

func TestConnectionsAndCallsAreCounted(t *testing.T) {
	r := newRig(t)
	r.add("ann", nil)
	_, text := r.token("ann")
	q := r.by(text).Quota()
	r.ok(q.Connect())
	r.limit("ann", Limits{Connections: 2, Calls: 1})
	r.ok(q.Connect())
	if err := q.Connect(); wait(t, err) == 0 || err.Error() != "account ann has 2 connections, which is the most: wait 1s" {
		t.Errorf("the third connection: %v", err)
	}
	q.Disconnect()
	r.ok(q.Connect())
	r.ok(q.Call())
	if wait(t, q.Call()) == 0 {
		t.Error("a second call in flight")
	}
	q.Answered()
	r.ok(q.Call())
}

// An account has its own limits, and where it has none the highest of its roles.
func TestLimitsAreThoseOfTheAccountOrTheHighestOfItsRoles(t *testing.T) {
	r := newRig(t)
	for name, l := range map[string]Limits{"low": {Messages: 5, Bytes: 100, Calls: 3}, "high": {Messages: 10, Calls: 2}} {
		r.ok(r.PutRole(t.Context(), boss, Role{Name: name, Grants: []string{"observe"}, Limits: l}))
	}
	for _, x := range []struct {
		roles []string
		own   Limits
		want  Limits
	}{
		{nil, Limits{}, Limits{}},
		{[]string{"low"}, Limits{}, Limits{Messages: 5, Bytes: 100, Calls: 3}},
		{[]string{"low", "high"}, Limits{}, Limits{Messages: 10, Calls: 3}},
		{[]string{"low", "viewer"}, Limits{}, Limits{}},
		{[]string{"low"}, Limits{Messages: 1, Connections: 7}, Limits{Messages: 1, Bytes: 100, Calls: 3, Connections: 7}},
	} {
		if got := r.LimitsOf(&Account{Roles: x.roles, Limits: x.own}); got != x.want {
			t.Errorf("%v and %+v: %+v, want %+v", x.roles, x.own, got, x.want)
		}
	}
	if err := r.PutRole(t.Context(), boss, Role{Name: "bad", Limits: Limits{Calls: -1}}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a negative limit: %v", err)
	}
}

// What is paid for in advance is what is used in the end, whoever pays and however much comes together.
func TestAPurseHoldsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		_, text := r.token("ann")
		q := r.by(text).Quota()
		var one, other Purse
		r.ok(one.Publish(q, 1<<20, true)) // without limits
		r.limit("ann", Limits{Messages: 100, Bytes: 10_000})
		for range 50 {
			r.ok(one.Publish(q, 100, true))
		}
		one.Return()
		one.Return()
		for range 49 {
			r.ok(other.Publish(q, 100, true))
		}
		other.Return()
		r.ok(one.Publish(q, 100, true))
		if wait(t, other.Publish(q, 1, true)) == 0 || wait(t, one.Publish(q, 1, false)) == 0 {
			t.Error("more than a second's worth")
		}
		one.Return()
		time.Sleep(time.Second)
		r.ok(one.Publish(q, 9_000, true))
		if wait(t, one.Publish(q, 1_100, true)) == 0 {
			t.Error("more bytes than a second's worth")
		}
		r.ok(one.Publish(q, 1_000, true)) // what was refused has used nothing
		one.Return()

		// Another account on the same connection pays for itself.
		r.add("bob", nil, "publish:#")
		r.limit("bob", Limits{Messages: 10})
		_, text = r.token("bob")
		his := r.by(text).Quota()
		time.Sleep(time.Second)
		r.ok(one.Publish(q, 1, true))
		for range 10 {
			r.ok(one.Publish(his, 1, true))
		}
		if wait(t, one.Publish(his, 1, true)) == 0 {
			t.Error("bob spends what is ann's")
		}
		for range 99 {
			r.ok(one.Publish(q, 1, true))
		}
		if wait(t, one.Publish(q, 1, true)) == 0 {
			t.Error("ann has more than before")
		}
	})
}

// What a message costs that an account with limits publishes: paid for by itself, and in advance as
// those that come together are.
func BenchmarkPaying(b *testing.B) {
	q := &Quota{account: "ann"}
	q.limits.Store(&Limits{Messages: 1 << 50, Bytes: 1 << 60})
	b.Run("each", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = q.Publish(1, 256)
			}
		})
	})
	b.Run("in advance", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			var p Purse
			for n := 0; pb.Next(); n++ {
				if _ = p.Publish(q, 256, true); n%256 == 255 {
					p.Return()
				}
			}
		})
	})
}

// An account that only the issuer knows is made anew with each request. Its limits are not changed
// by that, and need not be looked up again.
func TestEpochOfLimitsCountsTheirChanges(t *testing.T) {
	r := newRig(t)
	role := Role{Name: "dev", Grants: []string{"publish:a"}, Limits: Limits{Stored: 5}}
	r.ok(r.PutRole(t.Context(), boss, role))
	sign := func() uint64 {
		p, err := r.bySigned(Assertion{Name: "ann", Roles: []string{"dev"}})
		r.ok(err)
		p.Quota()
		return r.LimitsEpoch()
	}
	first := sign()
	for range 3 {
		if n := sign(); n != first {
			t.Errorf("the epoch is %d, and was %d: nothing has changed", n, first)
		}
	}
	role.Limits.Stored = 6
	r.ok(r.PutRole(t.Context(), boss, role))
	if n := sign(); n == first || r.LimitsFor("ann").Stored != 6 {
		t.Errorf("the epoch is still %d after a change, and the limit %d", n, r.LimitsFor("ann").Stored)
	}
}

// However many connections of an account ignore refusals, together they are as many as one.
func TestConnectionsThatWereRefusedTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		r.limit("ann", Limits{Messages: 1})
		_, text := r.token("ann")
		q := r.by(text).Quota()
		r.ok(q.Publish(1, 1))
		refused := q.Publish(1, 1)
		if wait(t, refused) == 0 {
			t.Fatal("it is not refused")
		}
		began := time.Now()
		waited := make(chan time.Duration, 100)
		for range cap(waited) {
			go func() {
				q.Cool(t.Context(), refused)
				waited <- time.Since(began)
			}()
		}
		for i := range cap(waited) {
			if got, want := <-waited, min(coolTime*time.Duration(i+1), longestTurn); got != want {
				t.Errorf("connection %d waits %v, want %v", i+1, got, want)
			}
		}
		time.Sleep(longestTurn)
		began = time.Now()
		if q.Cool(t.Context(), refused); time.Since(began) != coolTime {
			t.Errorf("one alone waits %v later", time.Since(began))
		}
		began = time.Now()
		q.Cool(t.Context(), nil)
		var none *Quota
		if none.Cool(t.Context(), nil); time.Since(began) != 0 {
			t.Error("who was not refused waits")
		}
		if none.Cool(t.Context(), refused); time.Since(began) != coolTime {
			t.Errorf("who is refused for what another has stored waits %v", time.Since(began))
		}
	})
}

// What an account may publish in a second is not refused when it comes at once, but does not go into one
// commit after the other either.
func TestWhatComesAtOnceIsSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		r.limit("ann", Limits{Messages: 1000, Bytes: 1 << 20})
		_, text := r.token("ann")
		q := r.by(text).Quota()
		publish := func(messages, bytes int) (waited time.Duration) {
			t.Helper()
			r.ok(q.Publish(messages, bytes))
			began := time.Now()
			q.Pace(t.Context())
			return time.Since(began)
		}
		if d := publish(125, 125<<10); d != 0 {
			t.Errorf("an eighth of a second's worth waits %v", d)
		}
		if d := publish(1, 1); d != coolTime {
			t.Errorf("after more it waits %v, want %v", d, coolTime)
		}
		began := time.Now()
		for range 13 {
			publish(64, 64)
		}
		if d := time.Since(began); d < 250*time.Millisecond || d > 500*time.Millisecond {
			t.Errorf("nearly a second's worth takes %v", d)
		}
		time.Sleep(time.Second)
		if d := publish(1, 200<<10); d != coolTime {
			t.Errorf("with many bytes it waits %v", d)
		}
		r.limit("ann", Limits{Messages: 5})
		time.Sleep(time.Minute)
		for range 5 {
			if d := publish(1, 1<<20); d != 0 {
				t.Errorf("within a low limit it waits %v", d)
			}
		}
		r.limit("ann", Limits{})
		if d := publish(100_000, 1<<30); d != 0 {
			t.Errorf("without a limit it waits %v", d)
		}
		var none *Quota
		none.Pace(t.Context())
	})
}

// What passed while nothing bounded it is not held against an account that gets a limit of it later.
func TestALimitThatComesLaterBeginsWithAFullSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#", "consume:#")
		r.limit("ann", Limits{Bytes: 1 << 20})
		_, text := r.token("ann")
		q := r.by(text).Quota()
		r.ok(q.Publish(1_000_000, 1))
		q.Deliver(1_000_000, 1)
		r.limit("ann", Limits{Messages: 1000, Bytes: 1 << 20})
		r.ok(q.Publish(100, 1))
		if began := time.Now(); q.Room(2000) != 1000 || q.Pause() != 0 {
			t.Errorf("room for %d, and wait %v", q.Room(2000), q.Pause())
		} else if q.Pace(t.Context()); time.Since(began) != 0 {
			t.Errorf("the first hundred at a stretch wait %v", time.Since(began))
		}
		r.limit("ann", Limits{Messages: 1000})
		r.ok(q.Publish(1, 1<<30))
		r.limit("ann", Limits{Messages: 1000, Bytes: 1 << 20})
		r.ok(q.Publish(1, 100<<10))
	})
}

// Requests that come at once are spread out, one after the other, and none is done long after the others.
func TestRequestsThatComeAtOnceAreSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.add("ann", nil, "publish:#")
		r.limit("ann", Limits{Messages: 1000})
		_, text := r.token("ann")
		q := r.by(text).Quota()
		began := time.Now()
		done := make(chan time.Duration, 1000)
		for range cap(done) {
			r.ok(q.Publish(1, 1))
			go func() {
				q.Spread(t.Context(), 1, 1)
				done <- time.Since(began)
			}()
			synctest.Wait() // so that they come in this order
		}
		for i := range cap(done) {
			// An eighth is free, and then it is two and a half times the limit.
			if got, want := <-done, time.Duration(max(0, i-125))*400*time.Microsecond; got != want {
				t.Fatalf("request %d is done after %v, want %v", i, got, want)
			}
		}
		time.Sleep(time.Second)
		r.ok(q.Publish(1000, 1))
		began = time.Now()
		if q.Spread(t.Context(), 1000, 1); time.Since(began) != 0 {
			t.Errorf("a batch alone waits %v", time.Since(began))
		}
		r.limit("ann", Limits{Messages: 2000})
		time.Sleep(300 * time.Millisecond) // and what is free is there again, but others wait still
		r.ok(q.Publish(1, 1))
		began = time.Now()
		if q.Spread(t.Context(), 1, 1); time.Since(began) != 100*time.Millisecond {
			t.Errorf("after a batch the next waits %v", time.Since(began))
		}
		r.limit("ann", Limits{})
		r.ok(q.Publish(100_000, 1<<30))
		began = time.Now()
		q.Spread(t.Context(), 100_000, 1<<30)
		var none *Quota
		if none.Spread(t.Context(), 1, 1); time.Since(began) != 0 {
			t.Errorf("without a limit it waits %v", time.Since(began))
		}
	})
}
