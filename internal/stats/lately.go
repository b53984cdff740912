package stats

import (
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// What came to each topic lately: a rate every few samples, for a few minutes.
const (
	LatelyInterval = latelySamples * Interval

	latelySamples = 5
	latelyKept    = 60 // five minutes
)

// topicSeries is the recent past of a topic.
type topicSeries struct {
	series
	out  float64 // the rate of its groups
	lag  int64   // at the last sample, of all groups or of calls that wait
	past *lately // nil: nothing came in its time

	latest Figures // of the last sample
}

// lately is a ring of rates. All topics have the same place in theirs, so that those
// which keep still need none.
type lately struct {
	in   [latelyKept]float32
	busy int // the last mark that was not 0
}

// mark keeps the rate as the nth, from 0.
func (x *topicSeries) mark(n int) {
	rate := float32(x.rate())
	switch {
	case rate != 0 && x.past == nil:
		x.past = &lately{}
	case x.past == nil:
		return
	}
	x.past.in[n%latelyKept] = rate
	if rate != 0 {
		x.past.busy = n
	} else if n-x.past.busy >= latelyKept {
		x.past = nil
	}
}

// Lately is the topics to which something came lately, and which rates were the last ones,
// for Past, and when they were taken.
func (s *Sampler) Lately() (list []*broker.Topic, mark int, taken time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for t, x := range s.topics {
		if x.past != nil {
			list = append(list, t)
		}
	}
	return list, s.marks, s.marked
}

// Past is what came to a topic up to a mark of Lately, in messages a second: oldest first,
// LatelyInterval apart. It is empty when that is no longer known.
func (s *Sampler) Past(t *broker.Topic, mark int) []float64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.topics[t]
	n := mark - max(s.marks-latelyKept, 0) // those before are overwritten
	if x == nil || x.past == nil || n <= 0 {
		return nil
	}
	in := make([]float64, n)
	for i := range in {
		in[i] = float64(x.past.in[(mark-n+i)%latelyKept])
	}
	return in
}
