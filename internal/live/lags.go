package live

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// How much is read to see how far groups are behind.
const (
	lagBudget = 512                    // messages, to count the lag of a filtered group
	readTime  = 150 * time.Millisecond // a round, for all groups together
)

// lags knows how far groups are behind. Counting what passes a filter and looking for
// the next message read the log; it is done again only where something moved, and not
// in every round where that takes too long for all.
type lags struct {
	groups map[*broker.Group]*lagging
	round  int
	until  time.Time // no more is read in this round
	spread int       // so many rounds the reads are spread over
	late   bool      // something was left out in this round
}

// lagging is one group.
type lagging struct {
	group *broker.Group
	info  broker.GroupInfo // of this round
	round int              // when info is of

	lag   int64
	exact bool
	since int64 // time of the next message to settle, in Unix milliseconds; 0: there is none

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

func newLags() lags { return lags{groups: map[*broker.Group]*lagging{}, spread: 1} }

// begin begins a round.
func (x *lags) begin() {
	x.round++
	x.until, x.late = time.Now().Add(readTime), false
}

// end ends one: who was not asked for in a while is forgotten.
func (x *lags) end() {
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
func (x *lags) may(last int) bool {
	if last != 0 && x.round-last < x.spread {
		return false
	}
	x.late = x.late || !time.Now().Before(x.until)
	return !x.late
}

// of looks at a group, once a round.
func (x *lags) of(g *broker.Group) *lagging {
	l := x.groups[g]
	if l == nil {
		l = &lagging{group: g}
		x.groups[g] = l
	}
	if l.round == x.round {
		return l
	}
	l.info, l.round = g.Info(), x.round
	if l.info.Filter == "" {
		l.lag, l.exact = g.Lag(0)
		return l
	}
	now := l.place()
	if l.counted == now {
		return l
	}
	if !x.may(l.countedAt) {
		if l.countedAt == 0 {
			l.lag, l.exact = g.Behind(), false
		}
		return l
	}
	l.lag, l.exact = g.Lag(lagBudget)
	l.counted, l.countedAt = now, x.round
	return l
}

// place is where the group is now.
func (l *lagging) place() place {
	p := place{valid: true, filter: l.info.Filter, cursor: max(l.info.Cursor, l.group.Topic().First()), next: l.group.Topic().Next()}
	for _, r := range l.info.Progress.Settled {
		p.beyond += r.Hi - r.Lo
	}
	return p
}

// seconds is the age of the next message that a group has to settle, 0 if there is
// none.
func (x *lags) seconds(ctx context.Context, l *lagging) float64 {
	if l.lag == 0 {
		return 0
	}
	now := l.place()
	if l.since > 0 {
		now.next = l.sought.next // what comes behind the next message does not matter
	}
	if l.sought != now && x.may(l.soughtAt) {
		since, err := l.group.Waiting(ctx)
		if err == nil {
			l.since, l.sought, l.soughtAt = since, l.place(), x.round
		}
	}
	if l.since == 0 {
		return 0
	}
	return max(0, float64(time.Now().UnixMilli()-l.since)/1000)
}
