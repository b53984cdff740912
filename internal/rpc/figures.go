package rpc

import (
	"fmt"
	"math/bits"
	"time"
)

// Latencies are counted in buckets: eight for each power of two of microseconds, so
// that a bucket is no wider than an eighth of what is in it. The last one ends at
// 2^31 microseconds, which is more than half an hour, and takes what is longer, too.
const (
	subBits = 3
	buckets = 29 << subBits
)

// bucketOf is the bucket of a latency.
func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 1<<subBits {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return min(shift<<subBits+int(us>>shift), buckets-1)
}

// upTo is the least latency that is above a bucket.
func upTo(bucket int) time.Duration {
	if bucket < 1<<subBits {
		return time.Duration(bucket+1) * time.Microsecond
	}
	shift := bucket>>subBits - 1
	return time.Duration(bucket-shift<<subBits+1) << shift * time.Microsecond
}

// Latencies is how many calls took how long. The zero value is empty.
type Latencies struct {
	counts [buckets]uint64
	n      uint64
	sum    time.Duration
	max    time.Duration
}

func (l *Latencies) add(d time.Duration) {
	l.counts[bucketOf(d)]++
	l.n++
	l.sum += d
	l.max = max(l.max, d)
}

// Merge adds what others have counted.
func (l *Latencies) Merge(o *Latencies) {
	for i, n := range o.counts {
		l.counts[i] += n
	}
	l.n += o.n
	l.sum += o.sum
	l.max = max(l.max, o.max)
}

// Count is how many calls were counted.
func (l *Latencies) Count() uint64 { return l.n }

// Sum is how long they took together.
func (l *Latencies) Sum() time.Duration { return l.sum }

// Max is the longest.
func (l *Latencies) Max() time.Duration { return l.max }

// Quantile is the latency that the share q (0 to 1) of the calls did not exceed, by
// an eighth too long at most; 0 when there were none.
func (l *Latencies) Quantile(q float64) time.Duration {
	if l.n == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(l.n-1)), uint64(0)
	for i, n := range l.counts {
		if seen += n; seen > rank {
			return min(upTo(i), l.max)
		}
	}
	return l.max
}

// Below is how many calls took less than 2^k microseconds, which is exact.
func (l *Latencies) Below(k int) (n uint64) {
	for i, c := range l.counts {
		if upTo(i) > time.Microsecond<<k {
			break
		}
		n += c
	}
	return n
}

// recent is the latencies of the present minute and the one before.
type recent struct {
	minute int64
	parts  [2]Latencies // by minute%2
}

func (r *recent) at(now Instant) {
	minute := int64(time.Duration(now) / time.Minute)
	if minute <= r.minute { // or another goroutine's clock was read later
		return
	}
	r.parts[minute%2] = Latencies{}
	if minute != r.minute+1 {
		r.parts[(minute+1)%2] = Latencies{}
	}
	r.minute = minute
}

// rateSpan is over how many seconds a rate goes.
const rateSpan = 10

// rate counts by the second.
type rate struct {
	second int64
	counts [rateSpan + 1]uint64 // by second; the present one is not complete
}

func (r *rate) at(now Instant) {
	second := int64(time.Duration(now) / time.Second)
	for s := max(r.second, second-rateSpan-1) + 1; s <= second; s++ {
		r.counts[s%(rateSpan+1)] = 0
	}
	r.second = max(r.second, second)
}

func (r *rate) add(now Instant) {
	r.at(now)
	r.counts[r.second%(rateSpan+1)]++
}

// perSecond is the mean over the last whole seconds.
func (r *rate) perSecond(now Instant) float64 {
	r.at(now)
	n := uint64(0)
	for _, c := range r.counts {
		n += c
	}
	return float64(n-r.counts[r.second%(rateSpan+1)]) / rateSpan
}

// method is the figures of one method. Guarded by Table.mu.
type method struct {
	name     string
	calls    uint64
	outcomes [outcomes]uint64
	failed   uint64 // answered with a status of 400 or more
	total    Latencies
	recent   recent
	rate     rate
	lastText string
	lastAt   Instant
}

func (m *method) begin(now Instant) {
	m.calls++
	m.rate.add(now)
}

func (m *method) end(c *Call, o Outcome, now Instant) {
	m.outcomes[o]++
	switch o {
	case Answered:
		d := time.Duration(now - c.began)
		m.total.add(d)
		m.recent.at(now)
		m.recent.parts[m.recent.minute%2].add(d)
	case Unavailable, TimedOut, ProviderGone:
		m.lastText, m.lastAt = o.String(), now
	case Abandoned, outcomes:
	}
}

// fault notes an answer that tells of an error.
func (m *method) fault(now Instant, status int) {
	m.failed++
	m.lastText, m.lastAt = fmt.Sprintf("answered with status %d", status), now
}

// MethodFigures is a snapshot of a method.
type MethodFigures struct {
	Name      string
	Calls     uint64
	Outcomes  map[string]uint64 // by Outcome.String, of calls that are over
	Failed    uint64            // of the answered ones, those with a status of 400 or more
	PerSecond float64           // calls, over the last ten seconds
	Total     Latencies         // of all answered calls
	Recent    Latencies         // of those of the last one to two minutes
	LastError string            // "" when there was none
	LastTime  time.Time         // of that
}

func (m *method) figures(t *Table, now Instant) MethodFigures {
	f := MethodFigures{
		Name: m.name, Calls: m.calls, Failed: m.failed, PerSecond: m.rate.perSecond(now),
		Outcomes: make(map[string]uint64, outcomes), Total: m.total, LastError: m.lastText,
	}
	for o := range outcomes {
		f.Outcomes[o.String()] = m.outcomes[o]
	}
	m.recent.at(now)
	f.Recent = m.recent.parts[0]
	f.Recent.Merge(&m.recent.parts[1])
	if m.lastText != "" {
		f.LastTime = t.start.Add(time.Duration(m.lastAt))
	}
	return f
}
