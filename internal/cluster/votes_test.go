package cluster_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// rule is how a client of the original counts trackers. It keeps a server that at least half of
// them list.
type rule int

const (
	ever      rule = iota // Python, JavaScript, C++ and PHP: each tracker that has ever answered
	connected             // Java and .NET: those that are connected; with none they keep what they have
	rules
)

func (r rule) String() string { return [...]string{"ever", "connected"}[r] }

// voter follows trackers, and keeps servers as the clients of the original do.
type voter struct {
	mu      sync.Mutex
	tables  map[string]*cluster.TrackerInfo // guarded by mu; by tracker that has ever answered, nil without a connection
	version map[string]int64                // guarded by mu; of the last table
	kept    [rules][]string                 // guarded by mu; sorted
	dropped [rules][]string                 // guarded by mu; servers that were kept, since forget
}

// vote has a voter follow trackers until the test ends.
func vote(t *testing.T, trackers []string) *voter {
	v := &voter{tables: map[string]*cluster.TrackerInfo{}, version: map[string]int64{}}
	stop := make(chan struct{})
	var following sync.WaitGroup
	for _, a := range trackers {
		following.Go(func() { v.follow(a, stop) })
	}
	t.Cleanup(func() {
		close(stop)
		following.Wait()
	})
	return v
}

// follow follows a tracker, and connects again when it has lost it.
func (v *voter) follow(tracker string, stop <-chan struct{}) {
	for {
		if conn, err := net.Dial("tcp", tracker); err == nil {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				v.read(tracker, conn)
			}()
			select {
			case <-ended:
			case <-stop:
			}
			_ = conn.Close()
			<-ended
		}
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (v *voter) read(tracker string, conn net.Conn) {
	ask := wire.AppendField(wire.AppendField(wire.AppendRequestLine(nil, "GET", "/"), "cmd", "track_sub"), "id", "v")
	if _, err := conn.Write(wire.AppendBody(ask, nil)); err != nil {
		return
	}
	for r := wire.NewReader(conn, wire.Limits{Body: 64 << 20}); ; {
		m, err := r.Read()
		if err != nil {
			v.lost(tracker)
			return
		}
		info := new(cluster.TrackerInfo)
		if err := json.Unmarshal(m.Body, info); err == nil && m.Status == 200 {
			v.told(tracker, info)
		}
	}
}

// told takes a table. One that is not newer than the last one of its tracker is passed over.
func (v *voter) told(tracker string, info *cluster.TrackerInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if info.InfoVersion <= v.version[tracker] {
		return
	}
	v.version[tracker], v.tables[tracker] = info.InfoVersion, info
	v.count()
}

// lost drops the votes of a tracker.
func (v *voter) lost(tracker string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.tables[tracker]; known {
		v.tables[tracker] = nil
		v.count()
	}
}

// count counts the votes. Called with mu held.
func (v *voter) count() {
	votes, answering := map[string]int{}, 0
	for _, info := range v.tables {
		if info == nil {
			continue
		}
		answering++
		for key := range info.ServerTable {
			votes[key]++
		}
	}
	for r, of := range [rules]int{ever: len(v.tables), connected: answering} {
		if of == 0 {
			continue
		}
		var kept []string
		for key, n := range votes {
			if 2*n >= of {
				kept = append(kept, key)
			}
		}
		slices.Sort(kept)
		for _, was := range v.kept[r] {
			if !slices.Contains(kept, was) {
				v.dropped[r] = append(v.dropped[r], was)
			}
		}
		v.kept[r] = kept
	}
}

// keeps reports whether a client keeps just these servers.
func (v *voter) keeps(r rule, servers ...string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Equal(v.kept[r], slices.Sorted(slices.Values(servers)))
}

// forget forgets what was dropped.
func (v *voter) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropped = [rules][]string{}
}

// unanimous reports whether all of these trackers list just these servers.
func (v *voter) unanimous(trackers, servers []string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !slices.ContainsFunc(trackers, func(a string) bool {
		info := v.tables[a]
		return info == nil || !slices.Equal(names(*info), slices.Sorted(slices.Values(servers)))
	})
}

// ballot is trackers, a server in a process of its own that has joined them, and a voter.
type ballot struct {
	t        *testing.T
	trackers []*zbustest.Broker
	list     []string
	dir      string
	server   *process
	*voter
}

// until waits until clients of both kinds keep just these servers.
func (b *ballot) until(what string, servers ...string) {
	b.t.Helper()
	for r := range rules {
		eventually(b.t, fmt.Sprintf("%s, by trackers that are or were %s", what, r), func() bool { return b.keeps(r, servers...) })
	}
}

// complete waits until every tracker and every client has all servers.
func (b *ballot) complete() {
	b.t.Helper()
	all := append([]string{b.server.addr}, b.list...)
	b.until("all are kept", all...)
	eventually(b.t, "all trackers list all servers", func() bool { return b.unanimous(b.list, all) })
}

// only checks that nobody was dropped but these.
func (b *ballot) only(servers ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for r, dropped := range b.dropped {
		for _, a := range dropped {
			if !slices.Contains(servers, a) {
				b.t.Errorf("%s: %s was dropped, want none but %q", rule(r), a, servers)
			}
		}
	}
}

func (b *ballot) stop(n int) {
	b.t.Helper()
	for _, tracker := range b.trackers[:n] {
		if err := tracker.Stop(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *ballot) start(n int) {
	b.t.Helper()
	for _, tracker := range b.trackers[:n] {
		if err := tracker.Restart(); err != nil {
			b.t.Fatal(err)
		}
	}
}

// Clients of the original keep a server that half of the trackers list. With any number of trackers they
// have all servers, also with half of the trackers stopped, and they drop one that is killed.
func TestClientsKeepServersByTheVotesOfOneToSevenTrackers(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 7; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			b := &ballot{t: t, trackers: set(t, n), dir: t.TempDir()}
			b.list = addrs(b.trackers)
			b.server = launch(t, b.dir, "127.0.0.1:0", b.list...)
			b.voter = vote(t, b.list)
			b.complete()
			b.half(n / 2)
			b.most(n/2 + 1)
		})
	}
}

// half stops at most half of the trackers: the votes of the others are enough.
func (b *ballot) half(n int) {
	b.t.Helper()
	stopped, running := b.list[:n], b.list[n:]
	b.forget()
	b.stop(n)
	with := append([]string{b.server.addr}, running...)
	b.until("those that run are kept", with...)
	b.only(stopped...)
	b.server.kill()
	b.until("a killed server is dropped", running...)
	b.server = launch(b.t, b.dir, b.server.addr, b.list...)
	b.until("it is back", with...)
	b.forget()
	b.start(n)
	b.complete()
	b.only()
}

// most stops more than half of them. Clients that count trackers which are gone drop all servers, the others
// keep what the rest of the trackers list, or the last of them has listed.
func (b *ballot) most(n int) {
	b.t.Helper()
	running := b.list[n:]
	b.forget()
	b.stop(n)
	eventually(b.t, "clients that count all trackers have no servers", func() bool { return b.keeps(ever) })
	if len(running) > 0 {
		eventually(b.t, "clients that count trackers there are have the others", func() bool {
			return b.keeps(connected, append([]string{b.server.addr}, running...)...)
		})
	}
	b.mu.Lock()
	if slices.Contains(b.dropped[connected], b.server.addr) {
		b.t.Error("clients that count trackers there are dropped a server that runs")
	}
	b.mu.Unlock()
	b.start(n)
	b.complete()
}
