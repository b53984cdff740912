package stats

import (
	"context"
	"math"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/inspect"
)

// lagBudget is how many messages are read to count the lag of a filtered group.
const lagBudget = 512

// Lags knows how far groups are behind. Counting what passes a filter and looking for
// the next message read the log; it is done again only where something moved, and not
// in every round where that takes too long for all. It is owned by one goroutine.
type Lags struct {
	time   time.Duration // of reading, a round
	groups map[*broker.Group]*Lagging
	round  int
	until  time.Time // no more is read in this round
	spread int       // so many rounds the reads are spread over
	late   bool      // something was left out in this round
}

// Lagging is one group: how many messages that pass its filter it has still to settle.
// Exact is false when Lag is an estimate.
type Lagging struct {
	Group *broker.Group
	Info  broker.GroupInfo // of this round
	Lag   int64
	Exact bool

	round   int     // when Info is of
	passing float64 // the part of the messages ahead that passes, when it was last counted
	since   int64   // time of the next message to settle, in Unix milliseconds; 0: there is none

	countedAt, soughtAt int   // rounds of the reads
	counted             place // for which lag was counted
	sought              place // for which since was found
}

// place is what the figures of a group depend on.
type place struct {
	valid          bool
	filter         string
	cursor, beyond int64 // messages settled beyond the cursor
	next           int64 // end of the log
}

// NewLags makes Lags that read for so long in a round, for all groups together.
func NewLags(reading time.Duration) *Lags {
	return &Lags{time: reading, groups: map[*broker.Group]*Lagging{}, spread: 1}
}

// Begin begins a round.
func (x *Lags) Begin() {
	x.round++
	x.until, x.late = time.Now().Add(x.time), false
}

// End ends one: a group that was not asked for in a while is forgotten.
func (x *Lags) End() {
	switch {
	case x.late:
		x.spread = min(x.spread+1, 60)
	case x.spread > 1:
		x.spread--
	}
	for g, l := range x.groups {
		if l.round < x.round-60 {
			delete(x.groups, g)
		}
	}
}

// may reports whether there is time to read for a group that was last read for in
// some round.
func (x *Lags) may(last int) bool {
	if last != 0 && x.round-last < x.spread {
		return false
	}
	x.late = x.late || !time.Now().Before(x.until)
	return !x.late
}

// Of looks at a group, once a round.
func (x *Lags) Of(ctx context.Context, g *broker.Group) *Lagging {
	l := x.groups[g]
	if l == nil {
		l = &Lagging{Group: g, passing: 1}
		x.groups[g] = l
	}
	if l.round == x.round {
		return l
	}
	l.Info, l.round = g.Info(), x.round
	if l.Info.Filter == "" {
		l.Lag, l.Exact = inspect.Ahead(g)
		return l
	}
	now := l.place()
	if l.counted == now {
		return l
	}
	if !x.may(l.countedAt) {
		l.Lag, l.Exact = int64(math.Round(l.passing*float64(now.ahead()))), false
		return l
	}
	l.Lag, l.Exact = inspect.Lag(ctx, g, lagBudget)
	l.counted, l.countedAt = now, x.round
	if ahead := now.ahead(); ahead > 0 {
		l.passing = float64(l.Lag) / float64(ahead)
	}
	return l
}

// ahead is how many messages are not settled, whatever the filter says of them.
func (p place) ahead() int64 { return max(0, p.next-p.cursor-p.beyond) }

// place is where the group is now.
func (l *Lagging) place() place {
	p := place{valid: true, filter: l.Info.Filter, cursor: max(l.Info.Cursor, l.Group.Topic().First()), next: l.Group.Topic().Next()}
	for _, r := range l.Info.Progress.Settled {
		p.beyond += r.Hi - r.Lo
	}
	return p
}

// Seconds is the age of the next message that a group has to settle, 0 if there is
// none.
func (x *Lags) Seconds(ctx context.Context, l *Lagging) float64 {
	if l.Lag == 0 {
		return 0
	}
	now := l.place()
	if l.since > 0 {
		now.next = l.sought.next // what comes behind the next message does not matter
	}
	if l.sought != now && x.may(l.soughtAt) {
		since, err := inspect.OldestPending(ctx, l.Group)
		if err == nil {
			l.since, l.sought, l.soughtAt = since, l.place(), x.round
		}
	}
	if l.since == 0 {
		return 0
	}
	return max(0, float64(time.Now().UnixMilli()-l.since)/1000) // wall clock: the age of a message
}
