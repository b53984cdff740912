package access

import (
	"context"
	"errors"
	"time"
)

// coolTime is how long a connection waits after a refusal before it is read again, and how far apart the turns of
// an account's connections are. longestTurn is the longest wait for one.
const (
	coolTime    = 50 * time.Millisecond
	longestTurn = time.Second
)

// Cool waits, or until ctx ends, where err is the [*Limited] with which a publish of this account was refused: a
// client that disregards refusals would take the processor from others by being refused. The connections of an
// account wait for their turns, one after the other, so that many of them make no more refusals, commits and
// syncs than one does. None waits longer than a second, which is what a refused client is told to wait.
func (q *Quota) Cool(ctx context.Context, err error) {
	if limited := (*Limited)(nil); !errors.As(err, &limited) {
		return
	}
	d := coolTime
	if q != nil {
		d = q.turn()
	}
	sleep(ctx, d)
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

// What an account with a limit may publish at a stretch: an eighth of what it may in a second, but at least
// this much. It comes back faster than the limit allows to publish, by this factor and no faster.
const (
	stretchShare    = 8
	leastMessages   = 64
	leastBytes      = 64 << 10
	stretchRecovers = 2.5 // times the limit a second
)

// Pace is called after something was published on a connection: it waits for a turn of the account, or until ctx
// ends, if the account has published more at a stretch than it should. All at once, what it may publish in a second
// would fill one commit after another, and all other accounts would wait for these.
func (q *Quota) Pace(ctx context.Context) {
	if q == nil {
		return
	}
	if l := q.limits.Load(); (l.Messages > 0 || l.Bytes > 0) && q.published.long(l) {
		sleep(ctx, q.turn())
	}
}

// Spread is Pace for who publishes by requests, each of which comes by itself: it waits until the messages of this one
// come after those of the others before it, as fast as what may be published at a stretch comes back. Requests
// that waited for turns would all be done at the end of the longest one.
func (q *Quota) Spread(ctx context.Context, messages, bytes int) {
	if q == nil {
		return
	}
	if l := q.limits.Load(); l.Messages > 0 || l.Bytes > 0 {
		if wait := q.published.spread(l, messages, bytes); wait > 0 {
			sleep(ctx, wait)
		}
	}
}

// spread is how long messages that have passed have to wait for those that did before them.
func (f *flow) spread(l *Limits, messages, bytes int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(l)
	if !f.tooLong(l) && f.spreadTo <= f.at { // nor does another wait
		return 0
	}
	var takes float64 // seconds
	for i, n := range [2]int{messages, bytes} {
		if rate := [2]int64{l.Messages, l.Bytes}[i]; rate > 0 {
			takes = max(takes, float64(n)/(stretchRecovers*float64(rate)))
		}
	}
	at := max(f.spreadTo, f.at)
	f.spreadTo = min(at+time.Duration(takes*float64(time.Second)), f.at+longestTurn)
	return at - f.at
}

// long reports whether more has passed at a stretch than it should.
func (f *flow) long(l *Limits) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(l)
	return f.tooLong(l)
}

// tooLong is long with f.mu held.
func (f *flow) tooLong(l *Limits) bool {
	return l.Messages > 0 && f.stretch[0] < 0 || l.Bytes > 0 && f.stretch[1] < 0
}

// rest gives back what may pass at a stretch, by the time that has passed. Called with f.mu held.
func (f *flow) rest(l *Limits, seconds float64) {
	for i, rate := range [2]float64{float64(l.Messages), float64(l.Bytes)} {
		most := max(rate/stretchShare, [2]float64{leastMessages, leastBytes}[i])
		f.stretch[i] = max(min(f.stretch[i]+seconds*stretchRecovers*rate, most), -most)
		if rate == 0 { // as in filled
			f.stretch[i] = full
		}
	}
}
