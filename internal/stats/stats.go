// Package stats turns the broker's counters into rates. One goroutine looks at all
// of them once a second; all that show figures read what it found, so that many
// viewers cost no more than one.
package stats

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How often is sampled, over how many samples a rate goes, and how much is kept.
const (
	Interval      = time.Second
	RoughInterval = coarse * Interval

	rateSpan  = 10
	fineKept  = 900  // one a second: 15 minutes
	coarse    = 15   // samples that make one coarse point
	roughKept = 5760 // one every 15 seconds: 24 hours

	// What a sample may read of the logs to see what passes filters, for all topics
	// and groups together.
	reading = 20 * time.Millisecond
)

// Point is what happened in one interval.
type Point struct {
	Time        time.Time // its end
	In          float64   // messages published a second
	Out         float64   // messages delivered a second
	Calls       float64   // messages published to topics for calls a second
	Lag         int64     // messages that all groups have still to settle
	Exact       bool      // whether Lag is not an estimate
	Connections int64
	Backlog     int64 // bytes that wait for the storage writer
}

// Rates are messages a second over the last ten seconds.
type Rates struct{ In, Out float64 }

// Sampler samples. Its methods may be called by any number of goroutines.
type Sampler struct {
	broker      *broker.Broker
	connections func() int64
	services    func(topic string) Calls
	log         *slog.Logger
	lags        *Lags // owned by Run
	flows       flows // owned by Run

	mu     sync.RWMutex
	topics map[*broker.Topic]*topicSeries // guarded by mu
	groups map[*broker.Group]*groupSeries // guarded by mu
	total  Rates                          // guarded by mu
	calls  float64                        // guarded by mu: as total, of calls
	fine   ring                           // guarded by mu
	rough  ring                           // guarded by mu
	marks  int                            // guarded by mu: how many marks of topics there were
	marked time.Time                      // guarded by mu: when the last one was
	next   chan struct{}                  // guarded by mu: closed by the next sample
	record record                         // guarded by mu
}

// Options are what a Sampler asks besides the broker.
type Options struct {
	Connections func() int64             // how many there are
	Services    func(topic string) Calls // what became of calls; nil: there are none
	Log         *slog.Logger             // nil: nowhere
}

// New creates a Sampler.
func New(b *broker.Broker, o Options) *Sampler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sampler{
		broker: b, connections: o.Connections, services: o.Services, log: o.Log,
		record: record{open: map[storage.Series]*chunk{}},
		lags:   NewLags(reading), flows: flows{map[*broker.Topic]int64{}, map[*broker.Group]*passing{}},
		topics: map[*broker.Topic]*topicSeries{}, groups: map[*broker.Group]*groupSeries{},
		fine: ring{kept: fineKept}, rough: ring{kept: roughKept},
		marked: time.Now(), next: make(chan struct{}),
	}
}

// Run samples until ctx ends, and stores what it found.
func (s *Sampler) Run(ctx context.Context) error {
	kept := make(chan struct{})
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(kept)
		newKeeper(s).run(keeping)
	}()
	defer func() {
		stop()
		<-kept
	}()
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	s.sample(ctx, time.Now())
	for {
		select {
		case now := <-tick.C:
			s.sample(ctx, now)
		case <-ctx.Done():
			return nil
		}
	}
}

// looked is what a sample found of a group.
type looked struct {
	group  *broker.Group
	counts broker.GroupCounts
	filter string
	came   int64
	lag    Lag

	unmatched int64
	paused    bool
	consumers int
}

// sample looks at all counters once. What it reads of the logs is read before it holds
// the lock.
func (s *Sampler) sample(ctx context.Context, now time.Time) {
	topics := s.broker.System().Topics()
	groups := make([][]looked, len(topics))
	until := time.Now().Add(reading)
	s.lags.Begin()
	for i, t := range topics {
		groups[i] = s.look(ctx, t, until)
	}
	s.lags.End()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Point{Time: now, Connections: s.connections(), Backlog: s.broker.Backlog(), Exact: true}
	s.total, s.calls = Rates{}, 0
	s.record.tick(s.broker)
	seenTopics, seenGroups := make(map[*broker.Topic]*topicSeries, len(topics)), make(map[*broker.Group]*groupSeries)
	for i, t := range topics {
		in := follow(s.topics, t)
		published := t.Published()
		came := published - in.newest.value
		in.add(now, published)
		seenTopics[t] = in
		in.out = 0
		var all Figures
		for _, l := range groups[i] {
			x := follow(s.groups, l.group)
			f := x.figures(&l)
			if t.KeepsHistory() {
				s.record.add(storage.Series{Topic: t.ID(), Group: l.group.ID()}, &f, x.lag.Messages)
			}
			all.join(&f)
			x.latest = f
			x.add(now, l)
			seenGroups[l.group] = x
			in.out += x.delivered.rate()
			p.Out += x.delivered.last()
			p.Lag += l.lag.Messages
			p.Exact = p.Exact && l.lag.Exact
		}
		s.recordTopic(t, in, came, &all)
		s.total.Out += in.out
		s.total.In += in.rate()
		p.In += in.last()
		if t.Calls() {
			p.Calls += in.last()
			s.calls += in.rate()
		}
	}
	s.topics, s.groups = seenTopics, seenGroups
	s.flows.forget(seenTopics, seenGroups)
	if s.fine.added%latelySamples == 0 {
		for _, x := range seenTopics {
			x.mark(s.marks)
		}
		s.marks, s.marked = s.marks+1, now
	}
	s.fine.add(p)
	if s.fine.added%coarse == 0 {
		s.rough.add(mean(s.fine.last(coarse)))
	}
	close(s.next)
	s.next = make(chan struct{})
}

// look looks at the groups of a topic.
func (s *Sampler) look(ctx context.Context, t *broker.Topic, until time.Time) []looked {
	groups := t.Groups()
	s.flows.look(ctx, t, groups, until)
	paused := t.Definition().Paused
	list := make([]looked, len(groups))
	for i, g := range groups {
		l := s.lags.Of(ctx, g)
		list[i] = looked{
			group: g, counts: g.Counts(), filter: l.Info.Filter, came: s.flows.came(t, g),
			lag:       Lag{Messages: l.Lag, Exact: l.Exact, Seconds: s.lags.Seconds(ctx, l)},
			unmatched: s.flows.unmatched(g), paused: paused || l.Info.Paused, consumers: len(l.Info.Consumers),
		}
	}
	return list
}

// add takes what was found of a group.
func (x *groupSeries) add(now time.Time, l looked) {
	if x.filter != l.filter {
		x.filter, x.in = l.filter, minute{}
	}
	x.delivered.add(now, l.counts.Delivered)
	x.out.add(now, l.counts.Delivered-l.counts.Redelivered)
	x.in.add(now, l.came)
	x.given.add(now, l.counts.Delivered)
	x.again.add(now, l.counts.Redelivered)
	x.dead.add(now, l.counts.Dead)
	x.lag, x.unmatched, x.paused, x.consumers = l.lag, l.unmatched, l.paused, l.consumers
}

// follow finds the series of a topic or group, or begins one.
func follow[K comparable, S any](all map[K]*S, key K) *S {
	if x := all[key]; x != nil {
		return x
	}
	return new(S)
}

// Next is closed when the next sample was taken.
func (s *Sampler) Next() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next
}

// Total are the rates of the whole broker, calls those of topics for calls alone.
func (s *Sampler) Total() (total Rates, calls float64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.total, s.calls
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
	return x.delivered.rate()
}

// Flow is what comes to a group and goes out.
func (s *Sampler) Flow(g *broker.Group) Flow {
	s.mu.RLock()
	defer s.mu.RUnlock()
	x := s.groups[g]
	if x == nil {
		return Flow{}
	}
	return Flow{In: x.in.rate(), Out: x.out.rate()}
}

// Lag is how far a group is behind: what can be known without reading as it is now, and
// the rest as it was at the last sample.
func (s *Sampler) Lag(g *broker.Group) Lag {
	n, exact := inspect.Ahead(g)
	lag := Lag{Messages: n}
	s.mu.RLock()
	if x := s.groups[g]; x != nil {
		lag = x.lag
	}
	s.mu.RUnlock()
	if exact {
		lag.Messages, lag.Exact = n, true
	}
	if lag.Messages == 0 {
		lag.Seconds = 0
	}
	return lag
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
