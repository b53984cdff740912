package stats

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How the minute of a Flow is kept, and how many of the newest messages of a topic are
// looked at in a round to see what of them passes the filters of its groups.
const (
	flowStep  = 5 * time.Second
	flowMarks = 12
	flowRows  = 512
)

// mostUnmatched is how many messages in a row are looked at for one that passes a filter.
const mostUnmatched = 10_000

// Flow is what comes to a group through its filter and what goes out for the first
// time, in messages a second over the last minute.
type Flow struct{ In, Out float64 }

// flows counts what comes to groups through their filters. It is owned by the
// goroutine that samples.
type flows struct {
	seen   map[*broker.Topic]int64    // up to where a topic was looked at
	passed map[*broker.Group]*passing // of groups with filters
}

// passing is what came to a group since it is looked at, and how many of the newest
// messages were looked at without one that passes.
type passing struct {
	filter    *filter.Filter
	count     float64
	unmatched int64
	back      int64 // messages below are still to be looked at for that; -1: one passed, or all were
}

// look counts what came to a topic since it was last looked at. It reads only when
// there are groups with filters, and not after until: what came is counted later then.
func (x *flows) look(ctx context.Context, t *broker.Topic, groups []*broker.Group, until time.Time) {
	filtered := x.filtered(t, groups)
	for _, p := range filtered {
		if p.back >= 0 && time.Now().Before(until) {
			p.lookBack(ctx, t)
		}
	}
	next := t.Next()
	from, known := x.seen[t]
	switch {
	case len(filtered) == 0:
		delete(x.seen, t)
		return
	case !known || next < from:
		x.seen[t] = next
		return
	case next == from || !time.Now().Before(until):
		return
	}
	matched := make([]int64, len(filtered))
	looked, _, err := t.Scan(ctx, broker.Scan{From: max(from, next-flowRows), To: next, Brief: true}, func(r *storage.Record) bool {
		for i, p := range filtered {
			if r.Damaged() || p.filter.Match(r.Tag) {
				matched[i] += r.End() - r.Offset
			}
		}
		return true
	})
	if err != nil || looked == 0 {
		return
	}
	for i, p := range filtered {
		p.count += float64(matched[i]) * float64(next-from) / float64(looked)
		if p.unmatched = min(p.unmatched+looked, mostUnmatched); matched[i] > 0 {
			p.unmatched, p.back = 0, -1
		}
	}
	x.seen[t] = next
}

// lookBack looks at some older messages for one that passes a filter, until there was
// one or enough were looked at.
func (p *passing) lookBack(ctx context.Context, t *broker.Topic) {
	if p.back > t.Next() { // the topic was emptied and begins anew
		p.back = t.Next()
	}
	matched := false
	from := max(p.back-flowRows, t.First())
	looked, _, err := t.Scan(ctx, broker.Scan{From: from, To: max(from, p.back), Brief: true}, func(r *storage.Record) bool {
		matched = matched || r.Damaged() || p.filter.Match(r.Tag)
		return !matched
	})
	switch {
	case err != nil:
	case matched:
		p.unmatched, p.back = 0, -1
	default:
		p.unmatched, p.back = min(p.unmatched+looked, mostUnmatched), from
		if p.unmatched == mostUnmatched || from <= t.First() {
			p.back = -1
		}
	}
}

// filtered are the groups with filters, each with the filter that it has now.
func (x *flows) filtered(t *broker.Topic, groups []*broker.Group) (list []*passing) {
	for _, g := range groups {
		text := g.Info().Filter
		p := x.passed[g]
		if text == "" {
			delete(x.passed, g)
			continue
		}
		if p == nil {
			p = &passing{}
			x.passed[g] = p
		}
		if p.filter == nil || p.filter.String() != text {
			compiled, err := filter.Parse(text)
			if err != nil {
				continue // the broker has it, so it can be parsed
			}
			p.filter, p.unmatched, p.back = compiled, 0, t.Next()
		}
		list = append(list, p)
	}
	return list
}

// came is how many messages came to a group, ever or since it is looked at.
func (x *flows) came(t *broker.Topic, g *broker.Group) int64 {
	if p := x.passed[g]; p != nil {
		return int64(p.count)
	}
	return t.Published()
}

// unmatched is how many of the newest messages were looked at while none passes the
// group's filter.
func (x *flows) unmatched(g *broker.Group) int64 {
	if p := x.passed[g]; p != nil {
		return p.unmatched
	}
	return 0
}

// forget drops topics and groups that no longer exist.
func (x *flows) forget(topics map[*broker.Topic]*topicSeries, groups map[*broker.Group]*groupSeries) {
	for t := range x.seen {
		if topics[t] == nil {
			delete(x.seen, t)
		}
	}
	for g := range x.passed {
		if groups[g] == nil {
			delete(x.passed, g)
		}
	}
}

// groupSeries is the recent past of a group, and how far it is behind.
type groupSeries struct {
	delivered series
	filter    string // that in is of
	in, out   minute
	lag       Lag

	given, again, dead quarter // deliveries, those that were not the first, messages given up
	unmatched          int64
	paused             bool
	consumers          int
	latest             Figures // of the last sample
}

// Lag is how many messages that pass its filter a group has still to settle, and the
// age of the next one in seconds. Exact is false when Messages is an estimate.
type Lag struct {
	Messages int64
	Exact    bool
	Seconds  float64
}

// minute is the last minute of one counter.
type minute struct{ trace }

func (x *minute) add(now time.Time, value int64) {
	x.trace.add(now, value, flowStep, flowStep, flowMarks+1)
}

// rate is the mean over the minute, or over as long as there are values.
func (x *minute) rate() float64 { return x.over(flowMarks) }
