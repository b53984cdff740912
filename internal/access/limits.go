package access

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound what all connections of an account do together, and what the topics that it owns keep.
// Zero is no limit.
type Limits struct {
	Connections int64 `json:"connections,omitempty"` // at a time, requests over HTTP aside
	Messages    int64 `json:"messages,omitempty"`    // a second, published and delivered each
	Bytes       int64 `json:"bytes,omitempty"`       // of bodies a second, published and delivered each
	Calls       int64 `json:"calls,omitempty"`       // in flight
	Stored      int64 `json:"stored,omitempty"`      // bytes that its topics keep on disk
	Topics      int64 `json:"topics,omitempty"`      // that it owns
}

// each pairs the limits of two.
func (l *Limits) each(other *Limits, f func(mine, theirs *int64)) {
	f(&l.Connections, &other.Connections)
	f(&l.Messages, &other.Messages)
	f(&l.Bytes, &other.Bytes)
	f(&l.Calls, &other.Calls)
	f(&l.Stored, &other.Stored)
	f(&l.Topics, &other.Topics)
}

// or gives the other limits where l has none.
func (l Limits) or(other Limits) Limits {
	l.each(&other, func(mine, theirs *int64) {
		if *mine == 0 {
			*mine = *theirs
		}
	})
	return l
}

// most gives the higher of two limits each; none is higher than any.
func (l Limits) most(other Limits) Limits {
	l.each(&other, func(mine, theirs *int64) {
		if *mine != 0 && (*theirs == 0 || *theirs > *mine) {
			*mine = *theirs
		}
	})
	return l
}

func (l Limits) check() (err error) {
	l.each(&l, func(mine, _ *int64) {
		if *mine < 0 {
			err = invalid("limit %d: must be 0, for none, or more", *mine)
		}
	})
	return err
}

// limits are those of an account: its own, or the highest of its roles.
func (p *picture) limits(a *Account) Limits {
	var roles Limits
	for i, name := range a.Roles {
		if r := p.roles[name]; r != nil && i == 0 {
			roles = r.Limits
		} else if r != nil {
			roles = roles.most(r.Limits)
		}
	}
	return a.Limits.or(roles)
}

// Limited is why something is refused that is allowed: there was too much of it.
type Limited struct {
	Text       string
	RetryAfter time.Duration // when it may be tried again, at least
}

func (e *Limited) Error() string { return e.Text }

// ClientText is what a client may read.
func (e *Limited) ClientText() string { return e.Text }

// Quota is what the connections of an account use together of its limits. Its methods may be
// called by any number of goroutines, and on a nil one, which has no limits.
type Quota struct {
	account     string
	signed      *Account               // guarded by Registry.mu: who has no stored account, and limits by its roles
	limits      atomic.Pointer[Limits] // those of the present picture
	connections atomic.Int64
	calls       atomic.Int64
	published   flow
	delivered   flow
	turns       time.Time // guarded by published.mu: when the last turn that was given away begins
	done        totals
}

const tooMuch = "publishes more than it may in a second"

// Publish uses up what is published. An error is [*Limited]: then nothing was used.
func (q *Quota) Publish(messages, bytes int) error {
	if q == nil {
		return nil
	}
	if wait := q.published.take(q.limits.Load(), messages, bytes); wait > 0 {
		return q.over(wait, tooMuch)
	}
	q.done.publish(messages, bytes)
	return nil
}

// Pause is how long nothing more may be delivered; 0: something may.
func (q *Quota) Pause() time.Duration {
	if q == nil {
		return 0
	}
	return q.delivered.take(q.limits.Load(), 0, 0)
}

// Room is how many messages may be delivered now, at most; at least 1.
func (q *Quota) Room(most int) int {
	if q == nil {
		return most
	}
	return q.delivered.room(q.limits.Load(), most)
}

// Deliver uses up what was delivered. What is more than there was room for is waited for
// before the next.
func (q *Quota) Deliver(messages int, bytes int64) {
	if q != nil {
		q.delivered.use(q.limits.Load(), messages, bytes)
		q.done[Delivered].Add(int64(messages))
		q.done[DeliveredBytes].Add(bytes)
	}
}

// Connect counts a connection, until Disconnect. An error is [*Limited]: then it was not
// counted.
func (q *Quota) Connect() error {
	if q == nil {
		return nil
	}
	if n, most := q.connections.Add(1), q.limits.Load().Connections; most > 0 && n > most {
		q.connections.Add(-1)
		return q.over(time.Second, fmt.Sprintf("has %d connections, which is the most", most))
	}
	return nil
}

// Disconnect is the end of a connection that was counted.
func (q *Quota) Disconnect() {
	if q != nil {
		q.connections.Add(-1)
	}
}

// Call counts a call, until Answered. An error is [*Limited]: then it was not counted.
func (q *Quota) Call() error {
	if q == nil {
		return nil
	}
	if n, most := q.calls.Add(1), q.limits.Load().Calls; most > 0 && n > most {
		q.calls.Add(-1)
		return q.over(time.Second, fmt.Sprintf("has %d calls in flight, which is the most", most))
	}
	return nil
}

// Answered is the end of a call that was counted, however it ended.
func (q *Quota) Answered() {
	if q != nil {
		q.calls.Add(-1)
	}
}

// busy reports whether it counts anything.
func (q *Quota) busy() bool { return q.connections.Load() > 0 || q.calls.Load() > 0 }

// refuse counts what was refused elsewhere for a limit of the account.
func (q *Quota) refuse() { q.done[RefusedByLimit].Add(1) }

func (q *Quota) over(wait time.Duration, what string) error {
	q.refuse()
	wait = max((wait + time.Second - 1).Truncate(time.Second), time.Second)
	return &Limited{fmt.Sprintf("account %s %s: wait %s", q.account, what, wait), wait}
}

// flow is a stream of messages and bytes, bounded by the second: two buckets that hold what
// may pass in one. A message larger than that passes when they are full, and is waited for
// afterwards.
type flow struct {
	mu              sync.Mutex
	began           time.Time     // monotonic
	at              time.Duration // since began: up to here they were filled
	messages, bytes float64       // what may still pass; below 0: what was too much
	stretch         [2]float64    // messages and bytes that may still pass at a stretch; see Quota.Pace
	spreadTo        time.Duration // since began: when the last request that waits is done with; see Quota.Spread
}

// fill adds what has come up since the last time. Called with f.mu held.
func (f *flow) fill(l *Limits) {
	if f.began.IsZero() {
		f.began, f.messages, f.bytes = time.Now(), full, full
		f.stretch = [2]float64{full, full}
	}
	now := time.Since(f.began)
	seconds := (now - f.at).Seconds()
	f.at = now
	f.messages = filled(f.messages, seconds, l.Messages)
	f.bytes = filled(f.bytes, seconds, l.Bytes)
	f.rest(l, seconds)
}

// full is more than any bucket holds.
const full = math.MaxFloat64

// filled is what a bucket holds after some time. Without a limit it is full for the one that may come: what
// passed before that was not too much.
func filled(level, seconds float64, rate int64) float64 {
	if rate == 0 {
		return full
	}
	return min(level+seconds*float64(rate), float64(rate))
}

// take uses messages and bytes up, unless it returns how long that has to wait.
func (f *flow) take(l *Limits, messages, bytes int) (wait time.Duration) {
	if l.Messages == 0 && l.Bytes == 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.takeNow(l, messages, bytes)
}

// takeNow is take with f.mu held.
func (f *flow) takeNow(l *Limits, messages, bytes int) (wait time.Duration) {
	f.fill(l)
	lack := func(level float64, n int, rate int64) {
		// What is more than a second's worth needs a full bucket.
		if need := min(float64(max(n, 1)), float64(rate)); rate > 0 && level < need {
			wait = max(wait, time.Duration((need-level)/float64(rate)*float64(time.Second))+1)
		}
	}
	lack(f.messages, messages, l.Messages)
	lack(f.bytes, bytes, l.Bytes)
	if wait == 0 {
		f.pass(messages, bytes)
	}
	return wait
}

// pass takes away what passes, or gives back what has not. Called with f.mu held.
func (f *flow) pass(messages, bytes int) {
	f.messages -= float64(messages)
	f.bytes -= float64(bytes)
	f.stretch[0] -= float64(messages)
	f.stretch[1] -= float64(bytes)
}

// advance uses a message up, unless it returns how long that has to wait, and with it some of what is
// there: messages that will follow, and the bytes of these.
func (f *flow) advance(l *Limits, bytes int) (messages, more int, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wait = f.takeNow(l, 1, bytes); wait > 0 {
		return 0, 0, wait
	}
	messages, more = advanceMessages, advanceBytes
	if l.Messages > 0 {
		messages = min(messages, max(int(f.messages), 0))
	}
	if l.Bytes > 0 {
		more = min(more, max(int(f.bytes), 0))
	}
	if messages == 0 {
		more = 0
	}
	f.pass(messages, more)
	return messages, more, 0
}

// giveBack is for what was taken in advance and not used.
func (f *flow) giveBack(messages, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pass(-messages, -bytes)
}

// room is how many messages may pass, at most and at least 1.
func (f *flow) room(l *Limits, most int) int {
	if l.Messages == 0 {
		return most
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(l)
	return max(min(most, int(f.messages)), 1)
}

// use takes away what has passed.
func (f *flow) use(l *Limits, messages int, bytes int64) {
	if l.Messages == 0 && l.Bytes == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fill(l)
	f.messages -= float64(messages)
	f.bytes -= float64(bytes)
}
