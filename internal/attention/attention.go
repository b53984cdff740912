// Package attention judges what an operator should look at first. It gets figures and
// gives an order: the one place that says how much harm what does.
package attention

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
)

// Kind is what is the matter.
type Kind string

const (
	State       Kind = "condition"    // a condition of the broker holds
	Unconsumed  Kind = "unconsumed"   // messages wait, and nothing consumes
	Growing     Kind = "growing"      // more comes than goes
	Behind      Kind = "behind"       // the next message waits for long
	Paused      Kind = "paused"       // messages wait, because that was wanted
	DeadLetters Kind = "dead-letters" // messages were given up lately
	Redelivered Kind = "redelivered"  // a large part is delivered again
	Unmatched   Kind = "unmatched"    // a filter lets nothing through
	Unprovided  Kind = "unprovided"   // nobody answers calls
	BackupLate  Kind = "backup-late"  // the schedule has not been kept
	Backlog     Kind = "backlog"      // much waits for the disk
)

// Level is how much a matter matters.
type Level string

const (
	Critical Level = "critical" // now
	Warning  Level = "warning"
	Small    Level = "small" // when nothing else is left to do
)

// Group is what there is to judge of a group.
type Group struct {
	Topic, Name string
	Lag         int64   // messages that it has still to settle
	Exact       bool    // whether Lag is not an estimate
	Seconds     float64 // age of the next of them
	In, Out     float64 // messages a second that come and that go, over the last minute
	Rate        float64 // deliveries a second over the last ten seconds
	Consumers   int
	Paused      bool  // it or its topic
	Dead        int64 // messages given up in the last 15 minutes
	Repeated    int64 // deliveries in the last 15 minutes that were not the first
	Delivered   int64 // all deliveries in the last 15 minutes
	Unmatched   int64 // so many of the newest messages were looked at, and none passes the filter
	Filter      string
}

// Service is what there is to judge of a topic for calls.
type Service struct {
	Topic     string
	Providers int
	Waiting   int     // calls that no provider has got
	Rate      float64 // calls a second over the last ten seconds
}

// Backup is what there is to judge of a schedule.
type Backup struct {
	Every time.Duration // 0: there is no schedule
	Age   time.Duration // of the last one, or of the broker when there is none
}

// Figures are all there is to judge.
type Figures struct {
	Conditions []condition.Condition
	Groups     []Group
	Services   []Service
	Backup     Backup
	Backlog    int64 // bytes that wait for the disk
}

// Matter is one thing to look at. Which of the figures are set depends on Kind.
type Matter struct {
	Kind      Kind
	Level     Level
	Harm      float64 // orders them; the most harm first
	Group     *Group
	Service   *Service
	Condition *condition.Condition
	Backup    *Backup
	Growth    float64 // of a group: messages a second
	Bytes     int64   // of a backlog
}

// What is too little to be said.
const (
	settled     = 10   // seconds that a message may wait when nothing consumes
	patience    = 60   // seconds that it may wait otherwise
	floor       = 100  // messages; fewer do not count as a growing lag
	leastGrowth = 1    // messages a second
	leastAgain  = 20   // repeated deliveries
	againShare  = 0.05 // and of all deliveries this part
	emptyAfter  = 1000 // messages that a filter may reject in a row
	fewBytes    = 64e6 // that wait for the disk
)

// Harm from which on a matter is of a level.
const (
	critical = 10
	warning  = 5
)

// Of judges everything, the most harm first. What has the same harm is in the order of names.
func Of(f *Figures) []Matter {
	list := []Matter{}
	for i := range f.Conditions {
		c := &f.Conditions[i]
		list = append(list, Matter{Kind: State, Condition: c, Harm: conditionHarm(c)})
	}
	for i := range f.Groups {
		list = append(list, groupMatters(&f.Groups[i])...)
	}
	for i := range f.Services {
		if s := &f.Services[i]; s.Providers == 0 {
			list = append(list, Matter{Kind: Unprovided, Service: s, Harm: serviceHarm(s)})
		}
	}
	failed := slices.ContainsFunc(f.Conditions, func(c condition.Condition) bool { return c.Kind == "backup" }) // it says why
	if b := &f.Backup; b.Every > 0 && b.Age > 2*b.Every && !failed {
		list = append(list, Matter{Kind: BackupLate, Backup: b, Harm: 6 + math.Log10(float64(b.Age)/float64(b.Every))})
	}
	if f.Backlog >= fewBytes {
		list = append(list, Matter{Kind: Backlog, Bytes: f.Backlog, Harm: 9 + log(float64(f.Backlog)/fewBytes)})
	}
	for i := range list {
		switch m := &list[i]; {
		case m.Harm >= critical:
			m.Level = Critical
		case m.Harm >= warning:
			m.Level = Warning
		default:
			m.Level = Small
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return cmp.Or(cmp.Compare(b.Harm, a.Harm), cmp.Compare(a.name(), b.name()), cmp.Compare(a.Kind, b.Kind)) < 0
	})
	return list
}

// name is what a matter concerns.
func (m *Matter) name() string {
	switch {
	case m.Group != nil:
		return m.Group.Topic + "/" + m.Group.Name
	case m.Service != nil:
		return m.Service.Topic
	case m.Condition != nil:
		return m.Condition.Kind + "/" + m.Condition.Subject
	}
	return ""
}

// conditionHarm: what is critical refuses something, or data is at risk, so that it is
// above anything that a group can be. The rest stands among the groups.
func conditionHarm(c *condition.Condition) float64 {
	if c.Severity == condition.Critical {
		return 100
	}
	switch c.Kind {
	case "damage":
		return 14
	case "disk":
		return 13
	case "dead-letters":
		return 11
	case "tls":
		return 9
	}
	return 8
}

// groupMatters are what is the matter with a group. That it is behind is one of three.
func groupMatters(g *Group) (list []Matter) {
	growth := g.In - g.Out
	add := func(kind Kind, harm float64) {
		list = append(list, Matter{Kind: kind, Group: g, Harm: harm, Growth: growth})
	}
	switch {
	case g.Lag <= 0:
	case g.Paused:
		add(Paused, min(behindHarm(g, growth)/4, warning-1))
	case g.Consumers == 0 && g.Rate == 0 && g.Seconds >= settled:
		add(Unconsumed, behindHarm(g, growth)+1)
	case g.Lag >= floor && growth >= leastGrowth:
		add(Growing, behindHarm(g, growth))
	case g.Seconds >= patience:
		add(Behind, behindHarm(g, growth))
	}
	if g.Dead > 0 {
		add(DeadLetters, 6+2*log(float64(g.Dead)))
	}
	if g.Repeated >= leastAgain && float64(g.Repeated) >= againShare*float64(g.Delivered) {
		add(Redelivered, 3+2*log(float64(g.Repeated)))
	}
	if g.Unmatched >= emptyAfter && g.Filter != "" && !g.Paused {
		add(Unmatched, 6+min(float64(g.Consumers), 1))
	}
	return list
}

// behindHarm is growth × age × size, each as the number of its digits, so that none of
// them hides the others.
func behindHarm(g *Group, growth float64) float64 {
	return log(float64(g.Lag)) + log(g.Seconds) + log(max(growth, 0))
}

// serviceHarm: calls that nobody answers fail now; a service that nobody calls does not.
func serviceHarm(s *Service) float64 {
	if s.Waiting == 0 && s.Rate == 0 {
		return 3
	}
	return 9 + 2*log(s.Rate+float64(s.Waiting))
}

// log is the number of digits of what is above nothing.
func log(x float64) float64 { return math.Log10(1 + max(x, 0)) }
