package api

import (
	"context"
	"math"
	"time"

	"github.com/rushmore/zbus-go/internal/attention"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
)

// listMatters is how many matters are listed at most.
const listMatters = 200

// GetAttention lists what to look at first.
func (h *handler) GetAttention(context.Context, GetAttentionRequestObject) (GetAttentionResponseObject, error) {
	return GetAttention200JSONResponse(AttentionOf(h.Server(), h.broker, h.stats, h.Calls)), nil
}

// AttentionOf judges what there is to look at.
func AttentionOf(info ServerInfo, b *broker.Broker, s *stats.Sampler, calls *rpc.Table) Attention {
	f := attention.Figures{Conditions: info.Conditions, Backup: backupFigures(&info), Backlog: b.Backlog()}
	for _, t := range s.Trends() {
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
	answer := Attention{Matters: []Matter{}}
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
func matterOf(m *attention.Matter) Matter {
	d := Matter{Kind: MatterKind(m.Kind), Level: MatterLevel(m.Level)}
	if g := m.Group; g != nil {
		d.Topic, d.Group = &g.Topic, &g.Name
		d.Lag, d.LagExact = optional(count(g.Lag)), &g.Exact
		d.Seconds, d.Growth = optional(roughly(g.Seconds)), optional(math.Round(m.Growth*10)/10)
		if n := map[attention.Kind]int64{attention.DeadLetters: g.Dead, attention.Redelivered: g.Repeated, attention.Unmatched: g.Unmatched}[m.Kind]; n > 0 {
			d.Count = optional(count(n))
		}
	}
	if s := m.Service; s != nil {
		d.Topic, d.Rate, d.Count = &s.Topic, optional(math.Round(s.Rate*10)/10), optional(count(int64(s.Waiting)))
	}
	if m.Bytes > 0 {
		d.Count = optional(count(m.Bytes))
	}
	if m.Backup != nil {
		d.Seconds = optional(roughly(m.Backup.Age.Seconds()))
	}
	if m.Condition != nil {
		d.Condition = optional(conditionOf(m.Condition))
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

func conditionOf(c *condition.Condition) Condition {
	d := Condition{
		Kind: c.Kind, Severity: ConditionSeverity(c.Severity), Ready: !c.NotReady, Text: c.Text, Since: c.Since.UTC().Truncate(time.Millisecond),
	}
	if c.Subject != "" {
		d.Subject = &c.Subject
	}
	return d
}
