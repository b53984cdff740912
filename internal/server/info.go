package server

import (
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// How many messages may be read to count a filtered group's lag exactly.
const (
	exactLag = 20_000
	quickLag = 0 // for tables of all groups: estimate
)

// The JSON objects of the protocol. Lists and maps are never null: some clients
// walk them unchecked.
type (
	serverAddress struct {
		Address    string `json:"address"`
		SSLEnabled bool   `json:"sslEnabled"`
	}
	trackerInfo struct {
		ServerAddress serverAddress         `json:"serverAddress"`
		ServerVersion string                `json:"serverVersion"`
		InfoVersion   int64                 `json:"infoVersion"`
		ServerTable   map[string]serverInfo `json:"serverTable"`
	}
	serverInfo struct {
		ServerAddress serverAddress              `json:"serverAddress"`
		ServerVersion string                     `json:"serverVersion"`
		InfoVersion   int64                      `json:"infoVersion"`
		TrackerList   []serverAddress            `json:"trackerList"`
		TopicTable    map[string]topicInfoObject `json:"topicTable"`
	}
	topicInfoObject struct {
		TopicName        string            `json:"topicName"`
		Mask             int64             `json:"mask"`
		MessageDepth     int64             `json:"messageDepth"`
		ConsumerCount    int               `json:"consumerCount"`
		ConsumeGroupList []groupInfoObject `json:"consumeGroupList"`
		CreatedTime      int64             `json:"createdTime"`
		LastUpdatedTime  int64             `json:"lastUpdatedTime"`
		ServerAddress    serverAddress     `json:"serverAddress"`
		ServerVersion    string            `json:"serverVersion"`
	}
	groupInfoObject struct {
		TopicName       string   `json:"topicName"`
		GroupName       string   `json:"groupName"`
		Mask            int64    `json:"mask"`
		Filter          string   `json:"filter"`
		MessageCount    int64    `json:"messageCount"`
		Estimated       bool     `json:"messageCountEstimated,omitempty"`
		Cursor          int64    `json:"cursor"`
		InFlight        int      `json:"inFlight"`
		AckTimeout      int64    `json:"ackTimeout,omitempty"` // ms, of explicit groups
		ConsumerCount   int      `json:"consumerCount"`
		ConsumerList    []string `json:"consumerList"`
		CreatedTime     int64    `json:"createdTime"`
		LastUpdatedTime int64    `json:"lastUpdatedTime"`
	}
)

func (s *Server) address() serverAddress {
	return serverAddress{Address: s.opts.Address, SSLEnabled: s.opts.TLS != nil}
}

// topicInfo describes a topic. The depth is the number of messages ever written,
// or for a memory topic those that are there.
func (s *Server) topicInfo(t *broker.Topic, lagBudget int) topicInfoObject {
	def := t.Definition()
	info := topicInfoObject{
		TopicName: def.Name, Mask: topicMask(&def), MessageDepth: def.Next,
		ConsumeGroupList: []groupInfoObject{},
		CreatedTime:      def.Created, LastUpdatedTime: max(def.Updated, def.LastTime),
		ServerAddress: s.address(), ServerVersion: s.opts.Version,
	}
	if t.Memory() {
		info.MessageDepth = def.Next - def.First
	}
	for _, g := range t.Groups() {
		gi := groupInfo(g, lagBudget)
		info.ConsumerCount += gi.ConsumerCount
		info.ConsumeGroupList = append(info.ConsumeGroupList, gi)
	}
	return info
}

func groupInfo(g *broker.Group, lagBudget int) groupInfoObject {
	info := g.Info()
	lag, exact := g.Lag(lagBudget)
	timeout := int64(0)
	if info.Settle == storage.SettleExplicit {
		timeout = g.AckTimeout()
	}
	return groupInfoObject{
		AckTimeout: timeout,
		TopicName:  g.Topic().Name(), GroupName: info.Name, Mask: groupMask(&info.Group), Filter: info.Filter,
		MessageCount: lag, Estimated: !exact, Cursor: info.Cursor, InFlight: info.InFlight,
		ConsumerCount: len(info.Consumers), ConsumerList: info.Consumers,
		CreatedTime: info.Created, LastUpdatedTime: info.Updated,
	}
}
