package stats

import (
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// A quarter of an hour is kept in so many parts.
const (
	quarterStep  = 3 * time.Minute
	quarterParts = 5
)

// quarter is by how much a counter grew in the last quarter of an hour. Counters begin at
// 0 with the broker or their group, so that what they are when they are first seen is
// from that time.
type quarter struct {
	value  int64
	starts [quarterParts + 1]int64 // what it was when a part began
	begun  time.Time               // when the newest part did
	n      int                     // how many parts there were
}

func (x *quarter) add(now time.Time, value int64) {
	if x.n == 0 || now.Sub(x.begun) >= quarterStep {
		x.starts[x.n%len(x.starts)], x.begun = x.value, now
		x.n++
	}
	x.value = value
}

func (x *quarter) grown() int64 {
	if x.n == 0 {
		return 0
	}
	return x.value - x.starts[max(0, x.n-len(x.starts))%len(x.starts)]
}

// Trend is how it goes with a group.
type Trend struct {
	Group     *broker.Group
	Filter    string
	Lag       Lag
	Flow      Flow
	Rate      float64 // deliveries a second over the last ten seconds
	Consumers int
	Paused    bool // it or its topic

	// Of the last 15 minutes: messages given up, deliveries that were not the first, and
	// all deliveries.
	Dead, Repeated, Delivered int64

	// Unmatched is how many of the newest messages, up to 10,000, were looked at while none
	// passes the filter.
	Unmatched int64
}

// Trends is how it goes with the groups of which there is something to say, as they were
// at the last sample.
func (s *Sampler) Trends() []Trend {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []Trend{}
	for g, x := range s.groups {
		t := Trend{
			Group: g, Filter: x.filter, Lag: x.lag, Flow: Flow{In: x.in.rate(), Out: x.out.rate()}, Rate: x.delivered.rate(),
			Consumers: x.consumers, Paused: x.paused,
			Dead: x.dead.grown(), Repeated: x.again.grown(), Delivered: x.given.grown(), Unmatched: x.unmatched,
		}
		if t.Lag.Messages > 0 || t.Dead > 0 || t.Repeated > 0 || t.Unmatched > 0 {
			list = append(list, t)
		}
	}
	return list
}
