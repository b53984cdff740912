package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller is a peer that notes what becomes of its calls, as "id outcome".
type caller struct {
	Peer
	told []string
}

func (c *caller) CallFailed(call *Call, o Outcome) {
	c.told = append(c.told, call.ID()+" "+o.String())
}

func (c *caller) CallAnswered(*Call, Answer) {}

func (t *Table) peer(id string) *caller {
	c := new(caller)
	c.Init(t, id, "remote-"+id, c)
	return c
}

// load counts releases.
type load struct{ n int }

func (l *load) Release() { l.n++ }

// scene is a service with one caller and two providers, of which the first got the
// call "1".
type scene struct {
	*Table
	service      *Service
	caller, a, b *caller
	call         *Call
	load         load
}

func newScene() *scene {
	t := New(Options{})
	s := &scene{Table: t, service: t.Service("calc"), caller: t.peer("caller"), a: t.peer("a"), b: t.peer("b")}
	s.a.Provide(s.service)
	s.b.Provide(s.service)
	s.call = s.caller.Begin(s.Now(), s.service, "plus", "1", time.Second, nobodys{})
	s.a.Take(&s.load, s.call)
	return s
}

// want checks what the caller was told, how many answers were dropped, and that
// nothing is left.
func (s *scene) want(t *testing.T, told ...string) {
	t.Helper()
	if !slices.Equal(s.caller.told, told) {
		t.Errorf("the caller was told %q, want %q", s.caller.told, told)
	}
	f := s.service.Figures()
	over := uint64(0)
	for _, m := range f.Methods {
		for _, n := range m.Outcomes {
			over += n
		}
		if m.Calls != over && len(f.Methods) == 1 {
			t.Errorf("%s: %d calls and %d outcomes", m.Name, m.Calls, over)
		}
	}
	if f.Waiting != 0 || f.InFlight != 0 || s.call.Waiting() || s.wheel.next() != (&wheel{}).next() {
		t.Errorf("left: %d waiting, %d in flight, call %t, wheel %d", f.Waiting, f.InFlight, s.call.Waiting(), s.wheel.next())
	}
}

func TestTheProviderThatGotACallAnswersItOnce(t *testing.T) {
	s := newScene()
	for _, x := range []struct {
		who        *caller
		caller, id string
		want       Verdict
	}{
		{s.b, "caller", "1", Foreign}, // an impostor that serves as well
		{s.caller, "caller", "1", Foreign},
		{s.a, "caller", "2", Late},
		{s.a, "somebody", "1", Orphaned},
		{s.a, "caller", "1", Accepted},
		{s.a, "caller", "1", Late},
		{s.b, "caller", "1", Late},
	} {
		if call, verdict := x.who.Answer(s.Now(), x.caller, x.id, 200); verdict != x.want || (call != nil) != (verdict == Accepted) {
			t.Errorf("%s answers %s of %s: verdict %d, want %d", x.who.id, x.id, x.caller, verdict, x.want)
		}
	}
	s.want(t)
	if s.load.n != 1 {
		t.Errorf("released %d times, want once", s.load.n)
	}
}

func TestACallIsOverOnceWhateverHappens(t *testing.T) {
	answer := func(s *scene) { s.a.Answer(s.Now(), "caller", "1", 200) }
	leave := func(s *scene) { s.a.Leave() }
	quit := func(s *scene) { s.caller.Leave() }
	refuse := func(s *scene) {
		if s.call.Refuse() {
			s.caller.told = append(s.caller.told, "refused")
		}
	}
	expire := func(s *scene) {
		s.start = s.start.Add(-2 * time.Second) // so much later it is
		s.expire()
	}
	all := []func(*scene){answer, leave, quit, refuse, expire}
	for i, want := range [][]string{nil, {"1 provider_gone"}, nil, {"refused"}, {"1 timeout"}} {
		for k := range all {
			s := newScene()
			all[i](s)
			all[k](s)
			s.want(t, want...)
		}
	}
}

func TestDuplicateIDsAreAnsweredInOrderByWhoGotThem(t *testing.T) {
	s := newScene()
	second := s.caller.Begin(s.Now(), s.service, "plus", "1", time.Second, nobodys{})
	third := s.caller.Begin(s.Now(), s.service, "plus", "1", time.Second, nobodys{})
	s.b.Take(&s.load, second)
	s.a.Take(&s.load, third)
	for i, x := range []struct {
		who  *caller
		call *Call
	}{{s.b, second}, {s.a, s.call}, {s.a, third}} {
		if call, _ := x.who.Answer(s.Now(), "caller", "1", 200); call != x.call {
			t.Errorf("answer %d is for another call", i)
		}
	}
	s.want(t)
}

func TestCallsWithoutAnybodyToTakeThemFailAtOnce(t *testing.T) {
	s := newScene()
	answered := s.call
	waits := s.caller.Begin(s.Now(), s.service, "plus", "2", time.Minute, nobodys{})
	s.b.Withdraw(s.service)
	if !waits.Waiting() {
		t.Error("a call failed while a provider was there")
	}
	s.a.Withdraw(s.service)
	if waits.Waiting() || !answered.Waiting() {
		t.Errorf("after the last provider stopped: waits %t, was taken %t", waits.Waiting(), answered.Waiting())
	}
	s.a.Answer(s.Now(), "caller", "1", 200) // it may still do this
	s.want(t, "2 unavailable")
}

func TestAPeerThatLeftNeitherCallsNorProvides(t *testing.T) {
	s := newScene()
	s.a.Answer(s.Now(), "caller", "1", 200)
	s.b.Leave()
	c := s.caller.Begin(s.Now(), s.service, "m", "2", time.Second, nobodys{})
	if s.b.Take(&s.load, c); c.Waiting() {
		t.Error("a provider that left has taken a call")
	}
	s.b.Provide(s.service)
	if n := len(s.service.Figures().Providers); n != 1 {
		t.Errorf("%d providers, want the one that is there", n)
	}
	s.caller.Leave()
	if c := s.caller.Begin(s.Now(), s.service, "m", "3", time.Second, nobodys{}); c.Waiting() {
		t.Error("a caller that left still waits")
	}
	s.want(t, "2 provider_gone")
}

func TestAProviderThatLetsCallsTimeOutIsBusyUntilItAnswers(t *testing.T) {
	s := newScene()
	s.start = s.start.Add(-2 * time.Second)
	s.expire()
	over := s.caller.Begin(s.Now(), s.service, "plus", "2", time.Second, nobodys{})
	over.Refuse()
	s.a.Take(&s.load, over) // it was on its way
	if s.load.n != 0 {
		t.Errorf("released %d times before it said anything", s.load.n)
	}
	if n := s.service.Figures().Providers[0].Overdue; n != 2 {
		t.Errorf("%d overdue, want 2", n)
	}
	s.a.Answer(s.Now(), "caller", "1", 200)
	if s.load.n != 2 {
		t.Errorf("released %d times after a late answer, want 2", s.load.n)
	}
	s.want(t, "1 timeout")
}

func TestDeadlinesPassInTimeAndNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(Options{})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- table.Run(ctx) }()
		c := &timed{start: time.Now(), at: map[string]time.Duration{}}
		c.Init(table, "c", "", c)
		s := table.Service("slow")
		timeouts := []time.Duration{
			30 * time.Second, time.Millisecond, 500 * time.Millisecond, 8 * time.Second, 9 * time.Second, 10 * time.Minute,
			501 * time.Millisecond, 8589 * time.Millisecond, 8590 * time.Millisecond,
		}
		for _, d := range timeouts {
			c.Begin(table.Now(), s, "", d.String(), d, nobodys{})
			synctest.Wait()
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		for _, d := range timeouts {
			if at := c.at[d.String()]; at < d || at > d+20*time.Millisecond {
				t.Errorf("a call of %s ended after %s", d, at)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// timed notes when calls failed.
type timed struct {
	Peer
	start time.Time
	at    map[string]time.Duration
}

func (c *timed) CallFailed(call *Call, _ Outcome) { c.at[call.ID()] = time.Since(c.start) }

func TestTimeoutsHaveADefaultAndALimit(t *testing.T) {
	table := New(Options{Timeout: time.Second, MaxTimeout: time.Minute})
	for asked, want := range map[time.Duration]time.Duration{0: time.Second, 1: 1, time.Minute: time.Minute, time.Hour: time.Minute} {
		if got := table.Timeout(asked); got != want {
			t.Errorf("asked for %s: %s, want %s", asked, got, want)
		}
	}
}

func TestMethodsThatCallersMakeUpDoNotFillTheMemory(t *testing.T) {
	s := newScene()
	s.a.Answer(s.Now(), "caller", "1", 200)
	for i := range 2 * maxMethods {
		s.caller.Begin(s.Now(), s.service, fmt.Sprint("m", i), "x", time.Second, nobodys{}).Refuse()
	}
	s.caller.Begin(s.Now(), s.service, strings.Repeat("m", maxMethod+1), "x", time.Second, nobodys{}).Refuse()
	s.caller.Begin(s.Now(), s.service, "no text: \xff", "x", time.Second, nobodys{}).Refuse()
	f := s.service.Figures()
	total := uint64(0)
	for _, m := range f.Methods {
		total += m.Calls
	}
	if len(f.Methods) != maxMethods+1 || total != 2*maxMethods+3 {
		t.Errorf("%d methods with %d calls, want %d with %d", len(f.Methods), total, maxMethods+1, 2*maxMethods+3)
	}
}

func TestDescriptionsLastAsLongAsTheProvider(t *testing.T) {
	s := newScene()
	s.a.Answer(s.Now(), "caller", "1", 200)
	d := &Description{Name: "Calculator", Version: "1.2"}
	s.a.Describe(s.service, d)
	if f := s.service.Figures().Providers; f[0].Description != d || f[1].Description != nil {
		t.Errorf("descriptions: %v and %v", f[0].Description, f[1].Description)
	}
	s.a.Describe(s.service, nil)
	if f := s.service.Figures().Providers; f[0].Description != nil {
		t.Error("a description that was taken back is still there")
	}
	s.want(t)
}

func TestServicesOfRemovedTopicsAreForgottenWhenNobodyUsesThem(t *testing.T) {
	s := newScene()
	none := func(string) bool { return false }
	s.Forget(none)
	if n := len(s.Figures()); n != 1 {
		t.Fatalf("%d services, want the one in use", n)
	}
	s.a.Answer(s.Now(), "caller", "1", 200)
	s.a.Leave()
	s.b.Leave()
	s.Forget(func(string) bool { return true })
	if n := len(s.Figures()); n != 1 {
		t.Fatalf("%d services, want the one whose topic is there", n)
	}
	s.Forget(none)
	if n := len(s.Figures()); n != 0 {
		t.Errorf("%d services are left", n)
	}
}

func TestACallCostsNoMoreThanItsOwnMemory(t *testing.T) {
	s := newScene()
	s.a.Answer(s.Now(), "caller", "1", 200)
	allocs := testing.AllocsPerRun(1000, func() {
		c := s.caller.Begin(s.Now(), s.service, "plus", "1", time.Second, nobodys{})
		s.a.Take(&s.load, c)
		s.a.Answer(s.Now(), "caller", "1", 200)
	})
	if allocs > 1 {
		t.Errorf("%v allocations a call, want the call alone", allocs)
	}
}

func BenchmarkCall(b *testing.B) {
	s := newScene()
	for b.Loop() {
		c := s.caller.Begin(s.Now(), s.service, "plus", "2", time.Second, nobodys{})
		s.a.Take(&s.load, c)
		s.a.Answer(s.Now(), "caller", "2", 200)
	}
}

// nobodys are calls that nobody counts.
type nobodys struct{}

func (nobodys) Answered() {}
