package access

import (
	"sync"
	"time"
)

// How many failed tries are free, and how long one has to wait after more: each further
// one doubles the wait. Who has waited out a quiet time begins anew.
const (
	freeFailures = 5
	firstWait    = 12 * time.Second
	longestWait  = 5 * time.Minute
	quietTime    = 10 * time.Minute
	maxThrottled = 10_000
)

// throttle slows guessing down. Keys are addresses, and accounts as addresses ask for them.
// It goes by the time that has passed, not by the wall clock.
type throttle struct {
	mu    sync.Mutex
	tries map[string]*tries // guarded by mu
	began time.Time
	since func() time.Duration // time passed; replaced by tests
}

type tries struct {
	failures int
	last     time.Duration
	until    time.Duration
}

func (t *throttle) init() {
	t.tries = map[string]*tries{}
	t.began = time.Now()
	t.since = func() time.Duration { return time.Since(t.began) }
}

// wait is how long one has to wait before the next try; 0: it may be now.
func (t *throttle) wait(keys ...string) (longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.since()
	for _, key := range keys {
		if x := t.tries[key]; x != nil && x.until > now {
			longest = max(longest, x.until-now)
		}
	}
	return longest
}

// failed counts a failure.
func (t *throttle) failed(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.since()
	for _, key := range keys {
		x := t.tries[key]
		if x == nil || now-x.last > quietTime {
			t.makeRoom(now)
			x = &tries{}
			t.tries[key] = x
		}
		x.failures++
		x.last = now
		if over := x.failures - freeFailures; over >= 0 {
			x.until = now + min(firstWait<<min(over, 10), longestWait)
		}
	}
}

// exhausted says that a key has no free tries left.
func (t *throttle) exhausted(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.since()
	if x := t.tries[key]; x == nil || now-x.last > quietTime {
		t.makeRoom(now)
		t.tries[key] = &tries{failures: freeFailures - 1, last: now}
	} else {
		x.failures = max(x.failures, freeFailures-1)
	}
}

// succeeded forgets the failures of a key.
func (t *throttle) succeeded(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		delete(t.tries, key)
	}
}

// makeRoom drops those that are over, and if that is not enough any: a client with that many
// addresses is not slowed down by this.
func (t *throttle) makeRoom(now time.Duration) {
	if len(t.tries) < maxThrottled {
		return
	}
	for key, x := range t.tries {
		if now-x.last > quietTime {
			delete(t.tries, key)
		}
	}
	for key := range t.tries {
		if len(t.tries) < maxThrottled {
			return
		}
		delete(t.tries, key)
	}
}
