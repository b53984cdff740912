package cluster_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// Trackers that are started together know nobody, nor does one of the other. Their members say who is missing:
// the first table of each is whole all the same.
func TestTrackersThatAreStartedTogetherWaitForTheirMembers(t *testing.T) {
	t.Parallel()
	trackers := set(t, 2)
	list := addrs(trackers)
	all := slices.Clone(list)
	for range 3 {
		all = append(all, zbustest.Start(t, tracked(list...)).Addr)
	}
	for _, a := range list {
		subscribe(t, a).until(all...)
	}
	for _, b := range trackers {
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for _, b := range trackers {
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range list {
		complete(t, names(subscribe(t, a).latest), all, began)
	}
}

// What a server is told of a tracker that is back has it try that again. It does so for one that it has to join,
// and not faster than after any loss.
func TestKnockHasATrackerTriedAgain(t *testing.T) {
	t.Parallel()
	tracker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.Close()
	addr := tracker.Addr().String()
	b := zbustest.Start(t, func(c *config.Config) { c.Trackers = []string{addr} })
	tries := make(chan time.Time)
	go func() { // one that never answers
		defer close(tries)
		for {
			conn, err := tracker.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			tries <- time.Now()
		}
	}()
	// By itself the server would take 3 s for each.
	const n = 20
	c := connect(t, b.Addr)
	began := time.Now()
	for range n {
		c.ok("track_probe", "tracker", "127.0.0.1:1") // none of its trackers
		c.ok("track_probe", "tracker", addr)
		c.ok("track_probe", "tracker", addr)
		<-tries
	}
	took := time.Since(began)
	if took < (n-5)*200*time.Millisecond {
		t.Errorf("%d attempts within %s", n, took)
	}
	if took > n*2*time.Second {
		t.Errorf("%d attempts took %s", n, took)
	}
	_ = tracker.Close()
	for range tries { // until it is closed
	}
}
