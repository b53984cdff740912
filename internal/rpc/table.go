package rpc

import (
	"context"
	"math"
	"sync"
	"time"
)

// Options are the limits of a Table. A zero field takes its default.
type Options struct {
	Timeout    time.Duration // of a call that names none; 30 s
	MaxTimeout time.Duration // the most that a call can ask for; 10 min
}

// Table is the calls under way. Its methods may be called by any number of
// goroutines.
type Table struct {
	opts  Options
	start time.Time     // what instants count from
	wake  chan struct{} // capacity 1: one token says that a deadline is earlier than Run expects

	mu       sync.Mutex
	peers    map[string]*Peer    // guarded by mu: those that have called, by id
	services map[string]*Service // guarded by mu: by topic
	wheel    wheel               // guarded by mu
	sleeping int64               // guarded by mu: the tick until which Run sleeps
	dropped  Dropped             // guarded by mu
}

// Dropped is how many answers went nowhere.
type Dropped struct {
	Late     uint64 // no such call was still pending
	Foreign  uint64 // the call was with another provider, or with none yet
	Orphaned uint64 // the caller was gone
}

// New creates a Table. Deadlines pass only while Run runs.
func New(opts Options) *Table {
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.MaxTimeout == 0 {
		opts.MaxTimeout = 10 * time.Minute
	}
	return &Table{
		opts: opts, start: time.Now(), wake: make(chan struct{}, 1),
		peers: make(map[string]*Peer), services: make(map[string]*Service),
		sleeping: math.MaxInt64,
	}
}

// Instant is a point in time as a Table counts it: nanoseconds since it was made,
// on a monotonic clock.
type Instant int64

// At is when a time was that time.Now gave. A caller with many things to report asks for
// the time once.
func (t *Table) At(now time.Time) Instant { return Instant(now.Sub(t.start)) }

// Now is the present.
func (t *Table) Now() Instant { return Instant(time.Since(t.start)) }

// Run ends calls whose time is over, until ctx ends.
func (t *Table) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(t.expire())
		select {
		case <-timer.C:
		case <-t.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// expire ends what is overdue, and says for how long nothing else can be.
func (t *Table) expire() time.Duration {
	now := t.Now()
	var over *Call
	t.mu.Lock()
	for c := t.wheel.advance(now.tick()); c != nil; {
		next := c.later
		t.end(c, TimedOut, now)
		c.later, over = over, c
		c = next
	}
	// Also with nothing to wait for it looks again after a turn of the wheel, and not
	// when there is a call: with one call after the other that would be each time.
	t.sleeping = min(t.wheel.next(), t.wheel.now+wheelSlots)
	wait := time.Duration(t.sleeping<<tickBits) - time.Duration(t.Now())
	t.mu.Unlock()
	report(over, TimedOut)
	return max(wait, 0)
}

// report tells callers of a chain of calls that these have failed. Called without
// the lock.
func report(chain *Call, o Outcome) {
	for c := chain; c != nil; {
		next := c.later
		c.later = nil
		c.caller.sink.CallFailed(c, o)
		c = next
	}
}

// Timeout is how long a call may take that asks for a time, in the same range; 0 is
// the default.
func (t *Table) Timeout(asked time.Duration) time.Duration {
	if asked <= 0 {
		return t.opts.Timeout
	}
	return min(asked, t.opts.MaxTimeout)
}

// Drops are the answers that went nowhere so far.
func (t *Table) Drops() Dropped {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// Drop counts an answer that goes nowhere.
func (t *Table) Drop(why Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch why {
	case Late:
		t.dropped.Late++
	case Foreign:
		t.dropped.Foreign++
	case Orphaned:
		t.dropped.Orphaned++
	case Accepted:
	}
}
