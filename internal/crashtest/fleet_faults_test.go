//go:build unix

package crashtest

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

// The clients of the load.
const (
	fleetPublishers = 6
	fleetCallers    = 3
)

// record makes a fault record of what the checker found.
func (v *verdict) record(t *testing.T, test, fault, promise string, runs int) *faultreport.Record {
	t.Helper()
	for _, text := range v.broken {
		t.Error(text)
	}
	f := &faultreport.Record{Test: test, Fault: fault, Promise: promise, Runs: runs, Broken: len(v.broken)}
	f.Add("publishes answered", v.published)
	f.Add("publishes of unknown outcome", v.unknown)
	f.Add("publishes refused", v.refused)
	f.Add("messages consumed", v.delivered)
	f.Add("delivered again", v.redelivered)
	f.Add("calls answered", v.calls)
	f.Add("calls of unknown outcome", v.callsUnknown)
	f.Add("calls refused", v.callsRefused)
	return f
}

// quantile is the value below which so many of sorted ones are, in milliseconds.
func quantile(sorted []time.Duration, q float64) int64 {
	if len(sorted) == 0 {
		return -1
	}
	return sorted[int(q*float64(len(sorted)-1))].Milliseconds()
}

// busyFleet is one that runs, with clients.
func busyFleet(t *testing.T, n, trackers int, flags ...string) (*fleet, *load) {
	t.Helper()
	f := newFleet(t, n, trackers, flags...)
	f.start()
	return f, f.begin(fleetPublishers, fleetCallers)
}

// A server after the other is killed under load, and started again.
func TestServersOfASetAreKilled(t *testing.T) {
	t.Parallel()
	rounds := faultreport.ScaleAlways(t, 1, 20)
	f, l := busyFleet(t, 3, 2)
	var gaps []time.Duration
	for range rounds {
		for i, p := range f.servers {
			killed := l.kill(i)
			gaps = append(gaps, l.settled(killed, fleetPublishers)...)
			p.start()
			f.complete()
			l.settled(time.Now(), fleetPublishers)
		}
	}
	v := l.end()
	slices.Sort(gaps)
	r := v.record(t, "set-kill", "SIGKILL of each server of a set of three with two trackers, in turn, under load",
		"what was answered is stored once and consumed, publishers continue with another server within 3 s, and no call runs twice", rounds*len(f.servers))
	r.Add("failover p50 ms", quantile(gaps, 0.5))
	r.Add("failover max ms", quantile(gaps, 1))
	if quantile(gaps, 0.5) > 1000 || quantile(gaps, 1) > 3000 {
		t.Errorf("failover: %v", gaps)
		r.Broken++
	}
	r.Save(t)
}

// A server that falls silent, and later continues.
func TestAServerOfASetIsFrozen(t *testing.T) {
	t.Parallel()
	runs := faultreport.Scale(t, 1, 5)
	f, l := busyFleet(t, 3, 2)
	var gaps []time.Duration
	for i := range runs {
		p := f.servers[i%len(f.servers)]
		if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		frozen := time.Now()
		gaps = append(gaps, l.settled(frozen, fleetPublishers)...)
		if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		f.complete()
		l.settled(time.Now(), fleetPublishers)
	}
	v := l.end()
	slices.Sort(gaps)
	r := v.record(t, "set-freeze", "SIGSTOP of a server of a set of three under load, and SIGCONT when all publishers continued elsewhere",
		"what was answered is stored once and consumed, and no call runs twice", runs)
	r.Add("publishers continued after, max ms", quantile(gaps, 1))
	if time.Duration(quantile(gaps, 1))*time.Millisecond > allowed(t, 20*time.Second) {
		t.Errorf("publishers continued after %v", gaps)
		r.Broken++
	}
	r.Save(t)
}

// The only tracker is gone for a while. Clients know the other servers, and continue with them.
func TestTheTrackerOfASetIsGone(t *testing.T) {
	t.Parallel()
	seconds := faultreport.Scale(t, 5, 180)
	f, l := busyFleet(t, 3, 1)
	killed := l.kill(0)
	gaps := l.settled(killed, fleetPublishers)
	last := time.Now()
	longest := time.Duration(0)
	for time.Since(killed) < time.Duration(seconds)*time.Second {
		for _, gap := range l.settled(last, fleetPublishers) {
			longest = max(longest, gap)
		}
		last = time.Now()
	}
	f.servers[0].start()
	f.complete()
	l.settled(time.Now(), fleetPublishers)
	v := l.end()
	r := v.record(t, "set-tracker", "the only tracker of a set of three servers is killed, and started again after some time",
		"publishers, consumers and callers continue with the other servers; nothing is lost", 1)
	r.Add("seconds without the tracker", seconds)
	r.Add("failover max ms", quantile(gaps, 1))
	r.Add("longest time without a success after that ms", longest.Milliseconds())
	if longest > allowed(t, 20*time.Second) { // a disk that others use makes publishes wait, too, but not so long
		r.Broken++
	}
	r.Save(t)
}

// No tracker is left for a while. Servers and clients know each other, and continue without an error.
func TestAllTrackersOfASetAreGone(t *testing.T) {
	t.Parallel()
	seconds := faultreport.Scale(t, 5, 600)
	f := newFleet(t, 3, 1)
	f.trackedBy(2)
	f.start()
	l := f.begin(fleetPublishers, fleetCallers)
	l.settled(time.Now(), fleetPublishers)
	for _, p := range f.only {
		p.kill()
	}
	killed, longest := time.Now(), time.Duration(0)
	for last := killed; time.Since(killed) < time.Duration(seconds)*time.Second; last = time.Now() {
		for _, gap := range l.settled(last, fleetPublishers) {
			longest = max(longest, gap)
		}
	}
	for _, p := range f.only {
		p.start()
	}
	started := time.Now()
	f.complete()
	listed := time.Since(started)
	l.settled(time.Now(), fleetPublishers)
	v := l.end()
	if v.unknown+v.refused+v.callsUnknown+v.callsRefused > 0 {
		v.fault("%d publishes and %d calls failed, the outcome of %d and %d is unknown", v.refused, v.callsRefused, v.unknown, v.callsUnknown)
		l.ledger.explain(t)
	}
	if listed > time.Duration(faultreport.ScaleAlways(t, 30, 1))*2*time.Second { // a quick run is to find what hangs
		v.fault("all servers were listed after %s", listed)
	}
	r := v.record(t, "set-trackers", "the two trackers of a set of three servers, which hold no topics, are killed, and started again later",
		"no publish, delivery or call fails while they are down, nothing is lost, and all servers are listed within 2 s after they are back", 1)
	r.Add("seconds without a tracker", seconds)
	r.Add("longest time without a success ms", longest.Milliseconds())
	r.Add("all servers listed after ms", listed.Milliseconds())
	r.Save(t)
}

// All servers are restarted, one after the other, as for an upgrade: with --drain no client
// notices.
func TestServersOfASetAreRestartedInTurn(t *testing.T) {
	t.Parallel()
	rounds := faultreport.ScaleAlways(t, 1, 20)
	f, l := busyFleet(t, 3, 2, "--drain=30s")
	longest := time.Duration(0)
	for range rounds {
		for _, p := range f.servers {
			l.settled(time.Now(), fleetPublishers)
			longest = max(longest, p.terminate())
			l.settled(time.Now(), fleetPublishers)
			p.start()
			f.complete()
		}
	}
	v := l.end()
	extra := 0 // of the connects of one client to one server
	for server, n := range v.connects {
		if extra = max(extra, n-1-rounds); extra > 1 {
			v.fault("a client has connected to %s %d times, at %d starts of it", server, n, 1+rounds)
		}
	}
	if v.unknown+v.refused+v.callsUnknown+v.callsRefused > 0 {
		v.fault("%d publishes and %d calls failed, the outcome of %d and %d is unknown", v.refused, v.callsRefused, v.unknown, v.callsUnknown)
		l.ledger.explain(t)
	}
	r := v.record(t, "set-rolling", "a rolling restart of three servers with --drain, under load",
		"no publish or call fails, nothing is lost, and each client connects once for each start of a server", rounds*len(f.servers))
	r.Add("longest drain and stop ms", longest.Milliseconds())
	r.Add("most connects of a client to one server beyond its starts", extra)
	r.Save(t)
}

// explain logs some of the errors.
func (l *ledger) explain(t *testing.T) {
	t.Helper()
	n := 0
	for _, all := range []map[string]error{l.published, l.called} {
		for id, err := range all {
			if err != nil && n < 10 {
				n++
				t.Logf("%s: %v", id, err)
			}
		}
	}
}
