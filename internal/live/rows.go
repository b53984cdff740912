package live

import (
	"context"
	"math"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/stats"
)

// topicFigures are what is shown of a topic. Groups is their number, or the groups.
type topicFigures struct {
	Name            string             `json:"name"`
	Kind            apimodel.TopicKind `json:"kind"`
	Paused          bool               `json:"paused"`
	Depth           apimodel.Count     `json:"depth"`
	FirstOffset     apimodel.Count     `json:"firstOffset"`
	NextOffset      apimodel.Count     `json:"nextOffset"`
	Bytes           apimodel.Count     `json:"bytes"`
	In              float64            `json:"in"`
	Out             float64            `json:"out"`
	Consumers       int                `json:"consumers"`
	Groups          any                `json:"groups"`
	WorstLag        apimodel.Count     `json:"worstLag"`
	WorstLagGroup   string             `json:"worstLagGroup,omitempty"`
	WorstLagSeconds float64            `json:"worstLagSeconds"`
	Second          *secondFigures     `json:"second,omitempty"` // of one topic alone
	worst           int64
}

// secondFigures are what happened in the last second, as in an interval of the history.
type secondFigures struct {
	In          int64   `json:"in,omitempty"`
	Out         int64   `json:"out,omitempty"`
	Redelivered int64   `json:"redelivered,omitempty"`
	Failed      int64   `json:"failed,omitempty"`
	Lag         int64   `json:"lag,omitempty"`
	Age         float64 `json:"age,omitempty"`
	Latency     float64 `json:"latency,omitempty"`
	Slowest     float64 `json:"slowest,omitempty"`
}

// second is nil when nothing happened to a group.
func (f *figures) second(t *broker.Topic, g *broker.Group) *secondFigures {
	x := f.hub.opts.Stats.Latest(t, g)
	if g != nil && x == (stats.Figures{}) {
		return nil
	}
	return &secondFigures{
		x.In, x.Out, x.Again, x.Failed, x.Lag, round1(float64(x.Age) / 1000),
		round2(float64(x.Took) / 1000 / float64(max(x.Timed, 1))), round2(float64(x.Longest) / 1000),
	}
}

// groupFigures are what is shown of a group.
type groupFigures struct {
	Topic      string              `json:"topic,omitempty"` // these two where they aren't known from around it
	Kind       apimodel.TopicKind  `json:"kind,omitempty"`  // of the topic
	Name       string              `json:"name"`
	Filter     string              `json:"filter"`
	Paused     bool                `json:"paused"`
	Settle     apimodel.SettleMode `json:"settle"`
	Cursor     apimodel.Count      `json:"cursor"`
	Lag        apimodel.Count      `json:"lag"`
	LagExact   bool                `json:"lagExact"`
	LagSeconds float64             `json:"lagSeconds"`
	Rate       float64             `json:"rate"`
	In         float64             `json:"in"`
	Out        float64             `json:"out"`
	Drain      *int64              `json:"drain,omitempty"`
	InFlight   apimodel.Count      `json:"inFlight"`
	Returned   apimodel.Count      `json:"returned"`
	Consumers  int                 `json:"consumers"`
	Version    string              `json:"version"`
	Second     *secondFigures      `json:"second,omitempty"` // where those of one topic are shown
}

// topicList and groupList are the figures of topics and groups.
type (
	topicList struct {
		Topics []topicFigures `json:"topics"`
	}
	groupList struct {
		Groups []groupFigures `json:"groups"`
	}
)

// round1 and round2 leave digits out that mean nothing and would make every figure a
// new one.
func round1(x float64) float64 { return math.Round(x*10) / 10 }
func round2(x float64) float64 { return math.Round(x*100) / 100 }

// topicRow makes the figures of a topic, but for its groups.
func (f *figures) topicRow(t *broker.Topic) topicFigures {
	def, rates := t.Definition(), f.hub.opts.Stats.Topic(t)
	return topicFigures{
		Name: def.Name, Kind: apiconv.TopicKind(t), Paused: def.Paused,
		Depth: decimal(def.Next - def.First), FirstOffset: decimal(def.First), NextOffset: decimal(def.Next),
		Bytes: decimal(def.Bytes), In: round2(rates.In), Out: round2(rates.Out), Consumers: t.Subscriptions(),
		WorstLag: "0",
	}
}

// lagsMost notes a group that is further behind than those before.
func (d *topicFigures) lagsMost(l *stats.Lagging) bool {
	if l.Lag <= d.worst {
		return false
	}
	d.worst, d.WorstLag, d.WorstLagGroup = l.Lag, decimal(l.Lag), l.Group.Name()
	return true
}

// topics makes the figures of all topics.
func (f *figures) topics(ctx context.Context, _ channelKey) (data, same any, err error) {
	all := f.hub.opts.Broker.System().Topics()
	list := make([]topicFigures, len(all))
	for i, t := range all {
		d := f.topicRow(t)
		groups := t.Groups()
		d.Groups = len(groups)
		var worst *stats.Lagging
		for _, g := range groups {
			if l := f.lags.Of(ctx, g); d.lagsMost(l) {
				worst = l
			}
		}
		if worst != nil {
			d.WorstLagSeconds = round1(f.lags.Seconds(ctx, worst))
		}
		list[i] = d
	}
	return topicList{list}, nil, nil
}

// topic makes the figures of one topic with its groups.
func (f *figures) topic(ctx context.Context, key channelKey) (data, same any, err error) {
	d := f.topicRow(key.topic)
	list := []groupFigures{}
	for _, g := range key.topic.Groups() {
		l := f.lags.Of(ctx, g)
		row := f.groupRow(ctx, l)
		row.Second = f.second(nil, g)
		if d.lagsMost(l) {
			d.WorstLagSeconds = row.LagSeconds
		}
		if len(list) < maxGroups {
			list = append(list, row)
		}
	}
	d.Groups, d.Second = list, f.second(key.topic, nil)
	return d, nil, nil
}

// groups makes the figures of all groups.
func (f *figures) groups(ctx context.Context, _ channelKey) (data, same any, err error) {
	list := []groupFigures{}
	for _, t := range f.hub.opts.Broker.System().Topics() {
		kind := apiconv.TopicKind(t)
		for _, g := range t.Groups() {
			if len(list) == maxGroups {
				return groupList{list}, nil, nil
			}
			row := f.groupRow(ctx, f.lags.Of(ctx, g))
			row.Topic, row.Kind = t.Name(), kind
			list = append(list, row)
		}
	}
	return groupList{list}, nil, nil
}

func (f *figures) groupRow(ctx context.Context, l *stats.Lagging) groupFigures {
	g, info := l.Group, &l.Info
	rate, flow := f.hub.opts.Stats.Group(g), f.hub.opts.Stats.Flow(g)
	d := groupFigures{
		Name: info.Name, Filter: info.Filter, Paused: info.Paused, Settle: apimodel.SettleMode(info.Settle.String()),
		Cursor: decimal(info.Cursor), Lag: decimal(l.Lag), LagExact: l.Exact,
		LagSeconds: round1(f.lags.Seconds(ctx, l)),
		Rate:       round2(rate), Drain: apiconv.Drain(l.Lag, flow), In: round2(flow.In), Out: round2(flow.Out),
		InFlight: decimal(int64(info.InFlight)), Returned: decimal(int64(info.Returned)),
		Consumers: len(info.Consumers), Version: g.Version(),
	}
	return d
}
