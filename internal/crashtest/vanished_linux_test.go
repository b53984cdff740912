package crashtest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// seen is when clients have noticed that a server is lost, and then that it is back, since reset.
type seen struct {
	mu         sync.Mutex
	server     string
	lost, back map[string]time.Time // by client
}

// watch is an option: what a client notes of the server.
func (l *seen) watch(client string) func(zbus.State) {
	return func(s zbus.State) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case s.Address != l.server:
		case !s.Connected && l.lost[client].IsZero():
			l.lost[client] = time.Now()
		case s.Connected && l.back[client].IsZero():
			l.back[client] = time.Now()
		}
	}
}

func (l *seen) reset(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server, l.lost, l.back = server, map[string]time.Time{}, map[string]time.Time{}
}

// all reports whether all clients have noticed, and how long after a moment the last of them did.
func (l *seen) all(by *map[string]time.Time, clients int, since time.Time) (last time.Duration, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range *by {
		last = max(last, at.Sub(since))
	}
	return last, len(*by) == clients
}

// stall is the longest time in which this process did not run, beyond a tick: what is late by it is not to be
// blamed on the broker.
type stall struct {
	mu      sync.Mutex
	longest time.Duration
}

func (s *stall) watch(ctx context.Context) {
	const tick = 20 * time.Millisecond
	for last := time.Now(); ctx.Err() == nil; {
		<-time.After(tick)
		now := time.Now()
		s.mu.Lock()
		s.longest = max(s.longest, now.Sub(last)-tick)
		s.mu.Unlock()
		last = now
	}
}

// vanish is a set of servers with clients that have the options of a client that sets none.
type vanish struct {
	*set
	r          *faultreport.Record
	publishers []*traffic
	consumers  seen
	stall      stall
	longest    map[string]time.Duration
}

const vanishedConsumers = 2

func (v *vanish) dial(opts zbus.Options) *zbus.Client {
	v.t.Helper()
	cl, err := zbus.Dial(v.t.Context(), v.list, opts)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// took is the handler of the consumers.
func (v *vanish) took(_ context.Context, d *zbus.Delivery) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(string(d.Body), "p"), "-")
	i, err := strconv.Atoi(name)
	if err != nil || i >= len(v.publishers) {
		return fmt.Errorf("%q was published by nobody", d.Body)
	}
	f := v.publishers[i]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delivered[string(d.Body)]++
	return nil
}

// within waits for something, and gives up the test when it does not come.
func (v *vanish) within(what string, so func() bool) {
	v.t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !so(); holdsFor(20 * time.Millisecond) {
		if time.Now().After(limit) {
			v.t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// noticed waits until all consumers have noticed something, and returns how long after a moment the last one did.
func (v *vanish) noticed(what string, by *map[string]time.Time, since time.Time) (last time.Duration) {
	v.t.Helper()
	v.within(what, func() (all bool) {
		last, all = v.consumers.all(by, vanishedConsumers, since)
		return all
	})
	return last
}

// note keeps the longest of several times. Those of clients have a limit.
func (v *vanish) note(what string, d, limit time.Duration) {
	v.longest[what] = max(v.longest[what], d)
	v.stall.mu.Lock()
	limit += 3 * v.stall.longest
	v.stall.mu.Unlock()
	if d > limit {
		v.t.Errorf("%s: %s, want %s at most", what, d, limit)
		v.r.Broken++
	}
}

// A machine vanishes: its cable is pulled, and its power is cut, so that nothing is ever heard of the connections
// to it. Clients that have set no option continue with the other servers within 10 s.
func TestMachineOfASetVanishes(t *testing.T) {
	t.Parallel()
	rounds := faultreport.Scale(t, 1, 12)
	n := inNetwork(t)
	if n == nil {
		return
	}
	v := &vanish{set: startSet(t, n), longest: map[string]time.Duration{}}
	v.r = &faultreport.Record{
		Test: "set-vanished", Fault: "the machine of a server of a set of three vanishes without a packet, and comes back; clients have default options",
		Promise: "each publisher publishes to another server, and each consumer knows of the loss, within 10 s; what was answered is delivered",
	}
	if _, err := v.dial(zbus.Options{}).DeclareGroup(t.Context(), topic, zbus.GroupSpec{Name: "g", Explicit: true}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { v.stall.watch(ctx) })
	for range 3 {
		v.publishers = append(v.publishers, &traffic{answered: map[string]bool{}, sent: map[string]bool{}, delivered: map[string]int{}, last: time.Now(), limit: time.Minute})
	}
	for i := range vanishedConsumers {
		cl := v.dial(zbus.Options{OnState: v.consumers.watch(fmt.Sprint(i))})
		if _, err := cl.Subscribe(t.Context(), topic, "g", zbus.SubscribeOptions{}, v.took); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range v.publishers {
		cl := v.dial(zbus.Options{})
		running.Go(func() { f.publish(ctx, cl, fmt.Sprint("p", i)) })
	}
	for i := range rounds {
		v.round(i % len(v.servers))
	}
	stop()
	running.Wait()
	v.end()
}

// round has one machine vanish and come back.
func (v *vanish) round(i int) {
	v.t.Helper()
	h, p := v.hosts[i], v.servers[i]
	v.flows()
	v.consumers.reset(v.addrs[i])
	for _, f := range v.publishers {
		f.reset()
	}
	vanished := time.Now()
	h.pull(true)
	p.kill()
	v.note("consumers knew after", v.noticed("all consumers know", &v.consumers.lost, vanished), allowed(v.t, 10*time.Second))
	v.flows()
	for _, f := range v.publishers {
		v.note("publishers continued after", f.reset(), allowed(v.t, 10*time.Second))
	}
	h.pull(false)
	p.start()
	returned := time.Now()
	again := v.noticed("all consumers are connected to it again", &v.consumers.back, returned)
	v.longest["consumers were connected to it again after"] = max(v.longest["consumers were connected to it again after"], again)
	v.r.Runs++
}

// flows waits until each publisher has published some more: to all servers that it knows, as it takes turns.
func (v *vanish) flows() {
	v.t.Helper()
	for _, f := range v.publishers {
		count := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.answered)
		}
		before := count()
		v.within("publishers publish", func() bool { return count() >= before+enough })
	}
}

func (v *vanish) end() {
	v.t.Helper()
	v.within("everything is delivered", func() bool {
		return !slices.ContainsFunc(v.publishers, func(f *traffic) bool { return f.missing() > 0 })
	})
	answered, unknown, refused, twice := 0, 0, 0, 0
	for _, f := range v.publishers {
		answered, unknown, refused = answered+len(f.answered), unknown+f.unknown, refused+f.refused
		for id, n := range f.delivered {
			if !f.sent[id] {
				v.r.Broken++
			}
			twice += n - 1
		}
	}
	v.r.Add("answered publishes", answered)
	v.r.Add("unknown outcomes, published again", unknown)
	v.r.Add("refused, published again", refused)
	v.r.Add("delivered again", twice)
	for what, d := range v.longest {
		v.r.Add(what+", max ms", d.Milliseconds())
	}
	slices.SortFunc(v.r.Figures[4:], func(a, b faultreport.Figure) int { return strings.Compare(a.Name, b.Name) })
	v.r.Save(v.t)
}
