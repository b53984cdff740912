package cluster

import (
	"testing"
	"time"
)

// Servers that have lost a tracker at the same time try it one after the other: each every three seconds, and one of
// several at least every one and a half.
func TestServersTryALostTrackerInTurns(t *testing.T) {
	for _, n := range []int{1, 2, 3, 50} {
		const minute = time.Minute
		tries := map[time.Duration]bool{}
		for rank := range n {
			last := time.Duration(0)
			for at := turn(0, rank, n); at < minute; at += turn(at, rank, n) {
				if d := at - last; d <= 0 || d > rejoinTime {
					t.Fatalf("server %d of %d waits for %s", rank, n, d)
				}
				if last > 0 && n > 1 && at-last != rejoinTime {
					t.Fatalf("server %d of %d tries again after %s", rank, n, at-last)
				}
				tries[at], last = true, at
			}
		}
		last := time.Duration(0)
		for at := range minute / time.Millisecond {
			if at := at * time.Millisecond; tries[at] || n == 50 && tries[at.Round(rejoinTime/50)] {
				last = at
			} else if at-last >= rejoinTime/2+time.Millisecond {
				t.Fatalf("of %d servers none tries from %s to %s", n, last, at)
			}
		}
	}
	// One that the tracker has never listed.
	if d := turn(time.Second, -1, 0); d != 2*time.Second {
		t.Errorf("a server that is in no table waits for %s", d)
	}
	if d := turn(3*time.Second, -1, 4); d != rejoinTime {
		t.Errorf("and then for %s", d)
	}
}
