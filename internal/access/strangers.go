package access

import (
	"context"
	"math"
	"sync"
	"time"
)

// How many failed tries at one account are free, a minute and from all addresses together, and how long
// the next one waits before it is looked at: each failure doubles that.
const (
	freeAtAccount = 5
	failureCounts = time.Minute / freeAtAccount
	firstPause    = time.Second
	longestPause  = 10 * time.Second
	mostAtAccount = freeAtAccount + 5 // failures that count: more would not make the wait longer
	maxAttacked   = 10_000
	maxAcquainted = 10_000
)

// strangers slows down guessing at one account from many addresses. Logins from an
// address where the account has logged in before are not slowed down. Others wait, but are never refused because
// of other clients' failures: the right password gets in from a new address, too, after the wait.
type strangers struct {
	mu         sync.Mutex
	attacks    map[string]*attack // guarded by mu; by account, whether there is one or not
	acquainted map[string]string  // guarded by mu: accounts with addresses they have logged in from, and the account of each
}

// attack is how many failed tries at an account count.
type attack struct {
	failures float64
	at       time.Duration // up to here they were forgotten
}

func (s *strangers) init() {
	s.attacks, s.acquainted = map[string]*attack{}, map[string]string{}
}

// pause is how long a try at an account waits. at is the account together with the address.
func (s *strangers) pause(account, at string, now time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.attacks[account]
	if _, ok := s.acquainted[at]; ok || a == nil {
		return 0
	}
	a.forget(now)
	if over := int(math.Ceil(a.failures)) - freeAtAccount; over >= 0 {
		return min(firstPause<<over, longestPause)
	}
	return 0
}

// failed counts a failure, and reports whether it is one more than is free.
func (s *strangers) failed(account, at string, now time.Duration) (over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.acquainted[at]; ok {
		return false
	}
	a := s.attacks[account]
	if a == nil {
		s.makeRoom(now)
		a = &attack{at: now}
		s.attacks[account] = a
	}
	a.forget(now)
	a.failures = min(a.failures+1, mostAtAccount)
	return a.failures > freeAtAccount
}

// succeeded remembers where an account has logged in. When there is no room, one of its own addresses is
// forgotten, if it has any: no account can have those of others forgotten by logging in from everywhere.
func (s *strangers) succeeded(account, at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.acquainted[at]; !ok && len(s.acquainted) >= maxAcquainted {
		var gone string
		for other, of := range s.acquainted {
			if gone = other; of == account {
				break
			}
		}
		delete(s.acquainted, gone)
	}
	s.acquainted[at] = account
}

// makeRoom drops the attacks that are over, and if that is not enough, any others: as passwords take long to check,
// no attacker can keep so many going. Called with s.mu held.
func (s *strangers) makeRoom(now time.Duration) {
	if len(s.attacks) < maxAttacked {
		return
	}
	for account, a := range s.attacks {
		if a.forget(now); a.failures == 0 {
			delete(s.attacks, account)
		}
	}
	for account := range s.attacks {
		if len(s.attacks) < maxAttacked {
			return
		}
		delete(s.attacks, account)
	}
}

// forget forgets failures with time.
func (a *attack) forget(now time.Duration) {
	a.failures = max(a.failures-float64(now-a.at)/float64(failureCounts), 0)
	a.at = now
}

// turn waits until a password may be checked, and returns how to end that. An error is [*Refused].
func (r *Registry) turn(ctx context.Context, account, address, at string) (end func(), err error) {
	for paused := false; ; paused = true {
		select {
		case r.hashing <- struct{}{}:
		case <-ctx.Done():
			return nil, &Refused{Text: "too many passwords are being checked: try again", RetryAfter: time.Second}
		}
		// Only now: guesses made at the same time count as well.
		end := func() { <-r.hashing }
		if wait := r.slow.wait(address, at); wait > 0 {
			end()
			return nil, tooOften(wait)
		}
		pause := r.strangers.pause(account, at, r.slow.since())
		if paused || pause == 0 {
			return end, nil
		}
		end()
		if sleep(ctx, pause); ctx.Err() != nil {
			return nil, &Refused{Text: "others have failed to log in to this account too often: try again", RetryAfter: pause}
		}
	}
}
