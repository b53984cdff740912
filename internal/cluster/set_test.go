package cluster_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

func TestEveryTrackerListsAllServers(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 7} {
		all := set(t, n)
		var subs []*subscriber
		for _, b := range all {
			s := subscribe(t, b.Addr)
			s.until(addrs(all)...)
			subs = append(subs, s)
		}
		// A topic of one server is seen at all of them, with the server that has it.
		owner := connect(t, all[0].Addr)
		owner.ok("declare", "topic", "orders")
		for _, s := range subs {
			for len(s.latest.ServerTable[all[0].Addr].TopicTable["orders"].ConsumeGroupList) == 0 {
				s.next()
			}
			topic := s.latest.ServerTable[all[0].Addr].TopicTable["orders"]
			if topic.ServerAddress.Address != all[0].Addr || topic.ConsumerCount != 0 {
				t.Errorf("with %d servers: %+v", n, topic)
			}
		}
		// So is a consumer of it, which decides where publishers go.
		owner.send("consume", nil, "topic", "orders")
		for _, s := range subs {
			for s.latest.ServerTable[all[0].Addr].TopicTable["orders"].ConsumerCount != 1 {
				s.next()
			}
		}
	}
}

func TestServerThatStopsLeavesTheTable(t *testing.T) {
	t.Parallel()
	all := set(t, 3)
	list := addrs(all)
	s := subscribe(t, list[0])
	s.until(list...)
	before := s.latest.ServerTable[list[2]].InfoVersion
	if err := all[2].Stop(); err != nil {
		t.Fatal(err)
	}
	s.until(list[:2]...)
	if err := all[2].Restart(); err != nil {
		t.Fatal(err)
	}
	s.until(list...)
	if after := s.latest.ServerTable[list[2]].InfoVersion; after <= before {
		t.Errorf("version %d after a restart, and before it %d", after, before)
	}
}

func TestKilledServerLeavesTheTableAndComesBack(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	dir := t.TempDir()
	p := launch(t, dir, "127.0.0.1:0", tracker.Addr)
	s := subscribe(t, tracker.Addr)
	s.until(tracker.Addr, p.addr)
	before := s.latest.ServerTable[p.addr].InfoVersion
	p.kill()
	killed := time.Now()
	s.until(tracker.Addr)
	t.Logf("left the table %s after it was killed", time.Since(killed).Round(time.Millisecond))
	launch(t, dir, p.addr, tracker.Addr)
	s.until(tracker.Addr, p.addr)
	if after := s.latest.ServerTable[p.addr].InfoVersion; after <= before {
		t.Errorf("version %d after a restart, and before it %d", after, before)
	}
}

// A lone tracker knows of no server when it has started. Clients that were told so would
// drop all of them.
func TestRestartedTrackerWaitsForItsMembers(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	tracker.Configure(func(c *config.Config) { c.Trackers = []string{c.Listen[0]} })
	join := func(c *config.Config) { c.Trackers = []string{tracker.Addr} }
	all := []*zbustest.Broker{tracker, zbustest.Start(t, join), zbustest.Start(t, join)}
	s := subscribe(t, tracker.Addr)
	s.until(addrs(all)...)
	began := restart(t, tracker)
	again := subscribe(t, tracker.Addr) // the first table
	complete(t, names(again.latest), addrs(all), began)
	if again.version <= s.version {
		t.Errorf("version %d after a restart, and before it %d", again.version, s.version)
	}
}

// Trackers that name one another need no time: the others know who is missing.
func TestRestartedTrackerOfSeveralAnswersSoon(t *testing.T) {
	t.Parallel()
	all := set(t, 3)
	list := addrs(all)
	subscribe(t, list[1]).until(list...)
	subscribe(t, list[0]).until(list...)
	began := restart(t, all[0])
	m := connect(t, list[0]).ask("tracker", nil)
	complete(t, names(table(t, m)), list, began)
}

// restart restarts a broker, and says when it had stopped.
func restart(t *testing.T, b *zbustest.Broker) (stopped time.Time) {
	t.Helper()
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped = time.Now()
	if err := b.Restart(); err != nil {
		t.Fatal(err)
	}
	return stopped
}

// complete checks the first table of a tracker that was started after began. It lacks members
// only if they took longer to join again than a tracker waits.
func complete(t *testing.T, got, want []string, began time.Time) {
	t.Helper()
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case slices.Equal(got, slices.Sorted(slices.Values(want))):
		t.Logf("the first table came after %s", took)
	case took >= 3500*time.Millisecond:
		t.Logf("NOT TESTED: the machine is too busy, the first table has %q after %s", got, took)
	default:
		t.Errorf("the first table has %q after %s, want %q", got, took, want)
	}
}

func TestTrackerAloneIsInNoTable(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t, func(c *config.Config) { c.TrackerOnly = true })
	if s := subscribe(t, tracker.Addr); len(s.latest.ServerTable) != 0 {
		t.Errorf("without servers: %q", names(s.latest))
	}
	server := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{tracker.Addr} })
	subscribe(t, tracker.Addr).until(server.Addr)
	// It tells other trackers nothing of itself.
	tracker.Configure(func(c *config.Config) { c.Trackers = []string{server.Addr} })
	if err := tracker.Restart(); err != nil {
		t.Fatal(err)
	}
	subscribe(t, tracker.Addr).until(server.Addr)
	if s := subscribe(t, server.Addr); !slices.Equal(names(s.latest), []string{server.Addr}) {
		t.Errorf("at the server: %q", names(s.latest))
	}
}
