package server

import (
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/storage"
)

// exactLag is how many messages may be read to count a filtered group's lag exactly.
const exactLag = 20_000

// lagOf counts or estimates the lag of a group. For tables of all groups nothing is read.
type lagOf func(g *broker.Group) (n int64, exact bool)

// lag counts it for an answer to one client.
func (s *session) lag(g *broker.Group) (n int64, exact bool) {
	return inspect.Lag(s.life, g, exactLag)
}

func (s *Server) address() cluster.Address {
	return cluster.Address{Address: s.opts.Address, SSLEnabled: s.opts.TLS != nil}
}

// topicInfo describes a topic. The depth is the number of messages ever written,
// or for a memory topic those that are there.
func (s *Server) topicInfo(t *broker.Topic, lag lagOf) cluster.TopicInfo {
	def := t.Definition()
	info := cluster.TopicInfo{
		TopicName: def.Name, Mask: topicMask(&def), MessageDepth: def.Next,
		ConsumeGroupList: []cluster.GroupInfo{},
		CreatedTime:      def.Created, LastUpdatedTime: max(def.Updated, def.LastTime),
		ServerAddress: s.address(), ServerVersion: s.opts.Version,
	}
	if t.Memory() {
		info.MessageDepth = def.Next - def.First
	}
	for _, g := range t.Groups() {
		gi := groupInfo(g, lag)
		info.ConsumerCount += gi.ConsumerCount
		info.ConsumeGroupList = append(info.ConsumeGroupList, gi)
	}
	return info
}

func groupInfo(g *broker.Group, lag lagOf) cluster.GroupInfo {
	info := g.Info()
	n, exact := lag(g)
	timeout := int64(0)
	if info.Settle == storage.SettleExplicit {
		timeout = g.AckTimeout()
	}
	return cluster.GroupInfo{
		AckTimeout: timeout,
		TopicName:  g.Topic().Name(), GroupName: info.Name, Mask: groupMask(&info.Group), Filter: info.Filter,
		MessageCount: n, Estimated: !exact, Cursor: info.Cursor, InFlight: info.InFlight,
		ConsumerCount: len(info.Consumers), ConsumerList: info.Consumers,
		CreatedTime: info.Created, LastUpdatedTime: info.Updated,
	}
}
