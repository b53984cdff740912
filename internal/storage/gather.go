package storage

import (
	"math"
	"time"
)

// How long the writer waits for company, at most: a share of what the last sync took. A wait
// below leastGather is none: waking up later costs as much.
const (
	gatherShare = 5
	leastGather = 100 * time.Microsecond
)

// gather is the wait for company after a sync: those who were just answered come back in a
// moment, while those who came during the sync are there already. With a commit at once they
// would fall into two halves, of which each waits for two syncs. So the writer waits until
// as many have come back as did before, or the sync that this saves would not be worth it.
// Guarded by Writer.mu.
type gather struct {
	until   time.Time   // zero: no op is waited for
	held    time.Time   // since when something waits for company
	missing int         // tickets that are still waited for
	answers int         // tickets that the last sync had answered
	came    int         // tickets since then, and before the next sync
	over    bool        // the next sync has begun
	enough  bool        // as many came as were waited for
	share   float64     // of the answered who came back in time lately
	timer   *time.Timer // wakes the writer at until
}

// begin begins to wait, when a sync of so long has ended that answered some tickets. wake
// is called when the wait is over by time.
func (g *gather) begin(took time.Duration, answered int, wake func()) {
	g.learn()
	*g = gather{answers: answered, share: g.share, timer: g.timer}
	most := took / gatherShare
	g.missing = int(math.Round(g.share * float64(answered)))
	if most < leastGather || g.missing == 0 {
		g.missing = 0
		return
	}
	g.until = time.Now().Add(most)
	if g.timer == nil {
		g.timer = time.AfterFunc(most, wake)
	} else {
		g.timer.Reset(most)
	}
}

// learn takes in how many came back in time after the last answers. When all came who were
// waited for, more may have come a moment later: so it hopes for more.
func (g *gather) learn() {
	if g.answers == 0 {
		if g.share == 0 {
			g.share = 1
		}
		return
	}
	back := min(float64(g.came)/float64(g.answers), 1)
	if g.enough {
		back = 1
	}
	g.share += (back - g.share) / 2
}

// add notes a ticket.
func (g *gather) add() {
	if g.over {
		return
	}
	g.came++
	if g.missing > 0 {
		g.missing--
		g.enough = g.missing == 0
	}
}

// waits reports whether a commit or sync is better made a little later; some says that there
// is something to be committed or synced.
func (g *gather) waits(some bool) bool {
	if g.missing == 0 {
		return false
	}
	now := time.Now()
	if some && g.held.IsZero() {
		g.held = now
	}
	return now.Before(g.until)
}

// end ends the wait, if there was one, and returns for how long something has waited.
func (g *gather) end() (waited time.Duration) {
	if !g.until.IsZero() {
		if !g.held.IsZero() {
			waited = min(time.Since(g.held), g.until.Sub(g.held))
		}
		g.until, g.held, g.missing = time.Time{}, time.Time{}, 0
		g.timer.Stop()
	}
	return max(waited, 0)
}
