package metrics

import (
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/stats"
)

// family is one series of each topic, or of each group.
type family[T any] struct {
	kind       kind
	name, help string
	read       func(T) float64
}

// groupFigures are read once for all series of a group.
type groupFigures struct {
	broker.GroupInfo
	broker.GroupCounts
	lag stats.Lag
}

// lists are the series of topics and groups. There may be a million of them, so each is written as
// it is read: the text is not put together in memory.
type lists struct {
	broker *broker.Broker
	stats  *stats.Sampler
	topics []family[*broker.Topic]
	groups []family[*groupFigures]
}

func newLists(o Options) *lists {
	l := &lists{broker: o.Broker, stats: o.Stats}
	topic := func(kind kind, name, help string, read func(*broker.Topic) float64) {
		l.topics = append(l.topics, family[*broker.Topic]{kind, name, help, read})
	}
	group := func(kind kind, name, help string, read func(*groupFigures) float64) {
		l.groups = append(l.groups, family[*groupFigures]{kind, name, help, read})
	}

	topic(counter, "zbus_topic_published_messages_total", "Messages published.", func(t *broker.Topic) float64 { return float64(t.Published()) })
	topic(gauge, "zbus_topic_messages", "Messages that are there.", func(t *broker.Topic) float64 { return float64(t.Next() - t.First()) })
	topic(gauge, "zbus_topic_size_bytes", "Size of these.", func(t *broker.Topic) float64 { return float64(t.Definition().Bytes) })
	topic(gauge, "zbus_topic_consumers", "Consumers over all groups.", func(t *broker.Topic) float64 { return float64(t.Subscriptions()) })

	group(counter, "zbus_group_delivered_messages_total", "Deliveries, repeated ones included.", func(g *groupFigures) float64 { return float64(g.Delivered) })
	group(counter, "zbus_group_redelivered_messages_total", "Deliveries that were repeated.", func(g *groupFigures) float64 { return float64(g.Redelivered) })
	group(counter, "zbus_group_dead_messages_total", "Dead letters stored, of messages that were delivered too often.", func(g *groupFigures) float64 { return float64(g.Dead) })
	group(counter, "zbus_group_damaged_messages_total", "Messages not delivered because they are damaged or missing.", func(g *groupFigures) float64 { return float64(g.Damaged) })
	group(counter, "zbus_group_ack_timeouts_total", "Deliveries that were not acked in time.", func(g *groupFigures) float64 { return float64(g.Timeouts) })
	group(gauge, "zbus_group_lag_messages", "Messages that pass the filter and have still to be settled; see zbus_group_lag_estimated.", func(g *groupFigures) float64 { return float64(g.lag.Messages) })
	group(gauge, "zbus_group_lag_estimated", "1 while zbus_group_lag_messages is scaled up from a part that was counted.", func(g *groupFigures) float64 { return truth(!g.lag.Exact) })
	group(gauge, "zbus_group_oldest_seconds", "Age of the next message to settle; 0 when there is none.", func(g *groupFigures) float64 { return g.lag.Seconds })
	group(gauge, "zbus_group_in_flight_messages", "Deliveries that wait for their ack.", func(g *groupFigures) float64 { return float64(g.InFlight) })
	group(gauge, "zbus_group_pending_dead_letters", "Messages that were delivered too often and whose dead letters are not stored yet.", func(g *groupFigures) float64 { return float64(g.DeadLetters.Waiting) })
	group(gauge, "zbus_group_consumers", "Consumers.", func(g *groupFigures) float64 { return float64(len(g.Consumers)) })
	return l
}

// labelled is the labels of a group, as they are written, and its values.
type labelled struct {
	labels string
	values []float64
}

// held is about how much is in memory while the series are written.
func (l *lists) held(topics []*broker.Topic) int64 {
	const topic, group = 8, 256
	n := int64(topic * len(topics))
	for _, t := range topics {
		n += group * int64(len(t.Groups()))
	}
	return n
}

// write writes all of them in the text format of Prometheus.
func (l *lists) write(w text, topics []*broker.Topic) {
	for i := 0; i < len(l.topics) && len(topics) > 0; i++ {
		f := &l.topics[i]
		w.head(f.name, f.kind, f.help)
		for _, t := range topics {
			w.value(f.name, labels("topic", t.Name()), f.read(t))
		}
	}
	groups := l.read(topics)
	for i := 0; i < len(l.groups) && len(groups) > 0; i++ {
		f := &l.groups[i]
		w.head(f.name, f.kind, f.help)
		for n := range groups {
			w.value(f.name, groups[n].labels, groups[n].values[i])
		}
	}
}

// read takes the values of all groups: what they are read from is large.
func (l *lists) read(topics []*broker.Topic) (all []labelled) {
	for _, t := range topics {
		for _, g := range t.Groups() {
			figures := &groupFigures{GroupInfo: g.Info(), GroupCounts: g.Counts(), lag: l.stats.Lag(g)}
			one := labelled{labels("group", g.Name(), "topic", t.Name()), make([]float64, len(l.groups))}
			for i := range l.groups {
				one.values[i] = l.groups[i].read(figures)
			}
			all = append(all, one)
		}
	}
	return all
}
