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
	past *lately // nil: nothing came in its time
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

// Lately is what came to a topic, in messages a second: oldest first, LatelyInterval
// apart.
type Lately struct {
	Topic *broker.Topic
	In    []float64
}

// Lately is what came to the topics to which something came at all, up to some time.
func (s *Sampler) Lately() (list []Lately, end time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := min(s.marks, latelyKept)
	for t, x := range s.topics {
		if x.past == nil {
			continue
		}
		in := make([]float64, n)
		for i := range in {
			in[i] = float64(x.past.in[(s.marks-n+i)%latelyKept])
		}
		list = append(list, Lately{Topic: t, In: in})
	}
	return list, s.marked
}
