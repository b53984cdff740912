package apiconv

import (
	"math"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/attention"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
)

// listMatters is how many matters are listed at most.
const listMatters = 200

// Attention judges what there is to look at.
func Attention(info ServerInfo, b *broker.Broker, s *stats.Sampler, calls *rpc.Table) apimodel.Attention {
	f := attention.Figures{Conditions: info.Conditions, Backup: backupFigures(&info), Backlog: b.Backlog()}
	for _, t := range s.Trends() {
		if t.Group.Redrives() {
			continue // its letters wait for people, who are told when messages die
		}
		f.Groups = append(f.Groups, attention.Group{
			Topic: t.Group.Topic().Name(), Name: t.Group.Name(), Filter: t.Filter,
			Lag: t.Lag.Messages, Exact: t.Lag.Exact, Seconds: t.Lag.Seconds, In: t.Flow.In, Out: t.Flow.Out, Rate: t.Rate,
			Consumers: t.Consumers, Paused: t.Paused, Dead: t.Dead, Repeated: t.Repeated, Delivered: t.Delivered, Unmatched: t.Unmatched,
		})
	}
	for _, t := range b.System().Topics() {
		if t.Calls() {
			f.Services = append(f.Services, serviceToJudge(calls, t))
		}
	}
	answer := apimodel.Attention{Matters: []apimodel.Matter{}}
	for _, m := range attention.Of(&f) {
		switch m.Level {
		case attention.Critical:
			answer.Critical++
		case attention.Warning:
			answer.Warning++
		default:
			answer.Small++
		}
		if len(answer.Matters) < listMatters {
			answer.Matters = append(answer.Matters, matterOf(&m))
		}
	}
	return answer
}

func serviceToJudge(calls *rpc.Table, t *broker.Topic) attention.Service {
	x := calls.Service(t.Name()).Figures()
	s := attention.Service{Topic: t.Name(), Providers: len(x.Providers), Waiting: x.Waiting}
	for _, m := range x.Methods {
		s.Rate += m.PerSecond
	}
	return s
}

func backupFigures(info *ServerInfo) (b attention.Backup) {
	if info.Backup.Schedule == nil {
		return b
	}
	b.Every = time.Duration(info.Backup.Schedule.Every) * time.Millisecond
	b.Age = time.Since(info.Started)
	if last := info.Backup.Last; last != nil {
		b.Age = time.Since(last.Time)
	}
	return b
}

// matterOf describes a matter. Its figures are rounded so that the passing of time alone
// does not make new ones every second.
func matterOf(m *attention.Matter) apimodel.Matter {
	d := apimodel.Matter{Kind: apimodel.MatterKind(m.Kind), Level: apimodel.MatterLevel(m.Level)}
	if g := m.Group; g != nil {
		d.Topic, d.Group = &g.Topic, &g.Name
		d.Lag, d.LagExact = Optional(Count(g.Lag)), &g.Exact
		d.Seconds, d.Growth = Optional(roughly(g.Seconds)), Optional(math.Round(m.Growth*10)/10)
		if n := map[attention.Kind]int64{attention.DeadLetters: g.Dead, attention.Redelivered: g.Repeated, attention.Unmatched: g.Unmatched}[m.Kind]; n > 0 {
			d.Count = Optional(Count(n))
		}
	}
	if s := m.Service; s != nil {
		d.Topic, d.Rate, d.Count = &s.Topic, Optional(math.Round(s.Rate*10)/10), Optional(Count(int64(s.Waiting)))
	}
	if m.Bytes > 0 {
		d.Count = Optional(Count(m.Bytes))
	}
	if m.Backup != nil {
		d.Seconds = Optional(roughly(m.Backup.Age.Seconds()))
	}
	if m.Condition != nil {
		d.Condition = Optional(conditionOf(m.Condition))
	}
	return d
}

// roughly rounds seconds to whole ones, ten or minutes, by how many there are.
func roughly(seconds float64) float64 {
	step := 1.0
	switch {
	case seconds >= 3600:
		step = 60
	case seconds >= 60:
		step = 10
	}
	return math.Floor(seconds/step) * step
}
