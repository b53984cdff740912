package access

import (
	"context"
	"errors"
	"time"
)

// coolTime is how long nothing more is taken from whom something was refused, and between two connections of
// an account of which something was refused. longestTurn is how long each waits at most.
const (
	coolTime    = 50 * time.Millisecond
	longestTurn = time.Second
)

// Cool waits a little after a [*Limited] error, or until ctx ends: a client that does not slow down when it is
// refused would take the processor from others.
func Cool(ctx context.Context, err error) {
	if limited := (*Limited)(nil); errors.As(err, &limited) {
		sleep(ctx, coolTime)
	}
}

// Cool is Cool for a connection of which a publish was refused. The connections of an account take turns,
// so many of them cause no more refusals, commits and syncs than one. No connection waits longer than
// a second, the time that a refused client is told to wait.
func (q *Quota) Cool(ctx context.Context, err error) {
	if limited := (*Limited)(nil); q == nil || !errors.As(err, &limited) {
		Cool(ctx, err)
		return
	}
	sleep(ctx, q.turn())
}

// turn takes the next turn, and returns how long it is until then.
func (q *Quota) turn() time.Duration {
	q.published.mu.Lock()
	defer q.published.mu.Unlock()
	now := time.Now()
	at := q.turns.Add(coolTime)
	if least := now.Add(coolTime); at.Before(least) {
		at = least
	}
	if most := now.Add(longestTurn); at.After(most) {
		return longestTurn
	}
	q.turns = at
	return at.Sub(now)
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// What an account with a limit may publish at a stretch: an eighth of what it may in a second, and so much at
// least. It comes back faster than by the limit, but no faster than this.
const (
	stretchShare    = 8
	leastMessages   = 64
	leastBytes      = 64 << 10
	stretchRecovers = 2.5 // times the limit a second
)

// Pace is for a connection of which something was published: it waits for a turn of its account, or until ctx ends,
// when that has published more at a stretch than it should. If a second's worth
// came at once, it would fill one commit after the other, and all other accounts would wait for these.
func (q *Quota) Pace(ctx context.Context) {
	if q == nil {
		return
	}
	if l := q.limits.Load(); (l.Messages > 0 || l.Bytes > 0) && q.published.long(l) {
		sleep(ctx, q.turn())
	}
}

// long reports whether more has passed at a stretch than should.
func (f *flow) long(l *Limits) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(l)
	return l.Messages > 0 && f.stretch[0] < 0 || l.Bytes > 0 && f.stretch[1] < 0
}

// rest refills the allowance for a stretch. Called with f.mu held.
func (f *flow) rest(l *Limits, seconds float64) {
	for i, rate := range [2]float64{float64(l.Messages), float64(l.Bytes)} {
		most := max(rate/stretchShare, [2]float64{leastMessages, leastBytes}[i])
		f.stretch[i] = max(min(f.stretch[i]+seconds*stretchRecovers*rate, most), -most)
	}
}
