// Package stats turns the broker's counters into rates. One goroutine looks at all
// of them once a second; whoever shows figures reads what it found, so that many
// viewers cost no more than one.
package stats

import (
	"context"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// How often is sampled, over how many samples a rate goes, and how much is kept.
const (
	Interval      = time.Second
	RoughInterval = coarse * Interval

	rateSpan  = 10
	fineKept  = 900  // one a second: 15 minutes
	coarse    = 15   // samples that make one coarse point
	roughKept = 5760 // one every 15 seconds: 24 hours
)

// Point is what happened in one interval.
type Point struct {
	Time        time.Time // its end
	In          float64   // messages published a second
	Out         float64   // messages delivered a second
	Calls       float64   // messages published to topics for calls a second
	Lag         int64     // messages between all cursors and the ends of their logs
	Connections int64
	Backlog     int64 // bytes that wait for the storage writer
}

// Rates are messages a second over the last ten seconds.
type Rates struct{ In, Out float64 }

// Sampler samples. Its methods may be called by any number of goroutines.
type Sampler struct {
	broker      *broker.Broker
	connections func() int64

	mu     sync.RWMutex
	topics map[*broker.Topic]*series // guarded by mu
	groups map[*broker.Group]*series // guarded by mu
	total  Rates                     // guarded by mu
	calls  float64                   // guarded by mu: as total, of calls
	lag    int64                     // guarded by mu
	fine   ring                      // guarded by mu
	rough  ring                      // guarded by mu
	next   chan struct{}             // guarded by mu: closed by the next sample
}

// New makes a Sampler. connections says how many connections there are.
func New(b *broker.Broker, connections func() int64) *Sampler {
	return &Sampler{
		broker: b, connections: connections,
		topics: map[*broker.Topic]*series{}, groups: map[*broker.Group]*series{},
		fine: ring{kept: fineKept}, rough: ring{kept: roughKept},
		next: make(chan struct{}),
	}
}

// Run samples until ctx ends.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	s.sample(time.Now())
	for {
		select {
		case now := <-tick.C:
			s.sample(now)
		case <-ctx.Done():
			return nil
		}
	}
}

// sample looks at all counters once.
func (s *Sampler) sample(now time.Time) {
	topics := s.broker.Topics()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Point{Time: now, Connections: s.connections(), Backlog: s.broker.Backlog()}
	s.total, s.calls = Rates{}, 0
	seenTopics, seenGroups := make(map[*broker.Topic]*series, len(topics)), make(map[*broker.Group]*series)
	for _, t := range topics {
		in := follow(s.topics, t)
		in.add(now, t.Published())
		seenTopics[t] = in
		out := 0.0
		for _, g := range t.Groups() {
			d := follow(s.groups, g)
			d.add(now, g.Counts().Delivered)
			seenGroups[g] = d
			out += d.rate()
			p.Out += d.last()
			p.Lag += g.Behind()
		}
		in.out = out
		s.total.Out += out
		s.total.In += in.rate()
		p.In += in.last()
		if t.Calls() {
			p.Calls += in.last()
			s.calls += in.rate()
		}
	}
	s.topics, s.groups, s.lag = seenTopics, seenGroups, p.Lag
	s.fine.add(p)
	if s.fine.added%coarse == 0 {
		s.rough.add(mean(s.fine.last(coarse)))
	}
	close(s.next)
	s.next = make(chan struct{})
}

// follow finds the series of a topic or group, or begins one.
func follow[K comparable](all map[K]*series, key K) *series {
	if x := all[key]; x != nil {
		return x
	}
	return new(series)
}

// Next is closed when the next sample was taken.
func (s *Sampler) Next() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next
}

// Total are the rates of the whole broker, calls those of topics for calls alone,
// and lag the messages between all cursors and the ends of their logs.
func (s *Sampler) Total() (total Rates, calls float64, lag int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.total, s.calls, s.lag
}

// Topic are the rates of a topic, deliveries to all its groups together.
func (s *Sampler) Topic(t *broker.Topic) Rates {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.topics[t]
	if x == nil {
		return Rates{}
	}
	return Rates{In: x.rate(), Out: x.out}
}

// Group is how many messages a second are delivered to a group.
func (s *Sampler) Group(g *broker.Group) float64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.groups[g]
	if x == nil {
		return 0
	}
	return x.rate()
}

// Fine are the points of the last 15 minutes, one a second, oldest first.
func (s *Sampler) Fine() []Point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fine.last(fineKept)
}

// Newest is the point of the last sample; ok is false before the first one.
func (s *Sampler) Newest() (p Point, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if last := s.fine.last(1); len(last) > 0 {
		return last[0], true
	}
	return Point{}, false
}

// Rough are the points of the last 24 hours, one every 15 seconds, oldest first.
func (s *Sampler) Rough() []Point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rough.last(roughKept)
}
