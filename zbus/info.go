package zbus

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Bits of masks.
const (
	maskMemory    = 1
	maskRPC       = 2
	maskProxy     = 4
	maskPause     = 8
	maskExclusive = 16
	maskTemporary = 32
	maskExplicit  = 64
)

// TopicInfo describes a topic.
type TopicInfo struct {
	Name      string
	Memory    bool  // its messages are in memory only
	RPC       bool  // it carries calls
	Proxy     bool  // it carries HTTP requests
	Messages  int64 // ever published; those that are there, for a topic in memory
	Consumers int   // connections that consume it
	Groups    []GroupInfo
	Created   time.Time
	Updated   time.Time // when it was changed or published to
	Server    string    // host:port, as the server calls itself
}

// GroupInfo describes a consume group.
type GroupInfo struct {
	Topic     string
	Name      string
	Filter    string
	Explicit  bool // a message is consumed when it was acked
	Exclusive bool // one connection at a time
	Temporary bool // removed when its last consumer leaves
	Paused    bool
	// AckTimeout is how long a consumer of an explicit group has for a message; 0 if the
	// server does not say.
	AckTimeout time.Duration
	// Lag is how many messages the group has not consumed. With a filter it may be an
	// estimate: see Estimated.
	Lag       int64
	Estimated bool
	Cursor    int64    // offset of the first message that is not consumed; 0 if the server does not say
	InFlight  int      // messages delivered and not settled
	Consumers []string // remote addresses
	Created   time.Time
	Updated   time.Time
}

// ServerInfo describes a server and its topics.
type ServerInfo struct {
	Address string // host:port, as the server calls itself
	TLS     bool
	Version string
	// Revision grows with each description that the server gives.
	Revision int64
	// Draining says that the server has its clients go to others, and that there are others for
	// the topics that it no longer lists here.
	Draining bool
	Topics   map[string]TopicInfo
}

// clone is a description that shares nothing with the other one.
func (s ServerInfo) clone() ServerInfo {
	s.Topics = maps.Clone(s.Topics)
	for name, t := range s.Topics {
		t.Groups = slices.Clone(t.Groups)
		for i := range t.Groups {
			t.Groups[i].Consumers = slices.Clone(t.Groups[i].Consumers)
		}
		s.Topics[name] = t
	}
	return s
}

// The JSON objects of the protocol.
type (
	addressJSON struct {
		Address    string `json:"address"`
		SSLEnabled bool   `json:"sslEnabled"`
	}
	trackerJSON struct {
		ServerAddress addressJSON           `json:"serverAddress"`
		InfoVersion   int64                 `json:"infoVersion"`
		ServerTable   map[string]serverJSON `json:"serverTable"`
	}
	serverJSON struct {
		ServerAddress addressJSON          `json:"serverAddress"`
		ServerVersion string               `json:"serverVersion"`
		InfoVersion   int64                `json:"infoVersion"`
		Drain         string               `json:"drain"` // how far it is with that
		TopicTable    map[string]topicJSON `json:"topicTable"`
	}
	topicJSON struct {
		TopicName        string      `json:"topicName"`
		Mask             int64       `json:"mask"`
		MessageDepth     int64       `json:"messageDepth"`
		ConsumerCount    int         `json:"consumerCount"`
		ConsumeGroupList []groupJSON `json:"consumeGroupList"`
		CreatedTime      int64       `json:"createdTime"`
		LastUpdatedTime  int64       `json:"lastUpdatedTime"`
		ServerAddress    addressJSON `json:"serverAddress"`
	}
	groupJSON struct {
		TopicName       string   `json:"topicName"`
		GroupName       string   `json:"groupName"`
		Mask            int64    `json:"mask"`
		Filter          string   `json:"filter"`
		MessageCount    int64    `json:"messageCount"`
		Estimated       bool     `json:"messageCountEstimated"`
		Cursor          int64    `json:"cursor"`
		InFlight        int      `json:"inFlight"`
		AckTimeout      int64    `json:"ackTimeout"`
		ConsumerList    []string `json:"consumerList"`
		CreatedTime     int64    `json:"createdTime"`
		LastUpdatedTime int64    `json:"lastUpdatedTime"`
	}
)

func (j *serverJSON) info() ServerInfo {
	s := ServerInfo{
		Address: j.ServerAddress.Address, TLS: j.ServerAddress.SSLEnabled,
		Version: j.ServerVersion, Revision: j.InfoVersion, Draining: j.Drain != "", Topics: make(map[string]TopicInfo, len(j.TopicTable)),
	}
	for name, t := range j.TopicTable {
		s.Topics[name] = t.info()
	}
	return s
}

func (j *topicJSON) info() TopicInfo {
	t := TopicInfo{
		Name: j.TopicName, Memory: j.Mask&(maskMemory|maskRPC|maskProxy) != 0,
		RPC: j.Mask&maskRPC != 0, Proxy: j.Mask&maskProxy != 0,
		Messages: j.MessageDepth, Consumers: j.ConsumerCount,
		Created: time.UnixMilli(j.CreatedTime), Updated: time.UnixMilli(j.LastUpdatedTime), Server: j.ServerAddress.Address,
	}
	for i := range j.ConsumeGroupList {
		t.Groups = append(t.Groups, j.ConsumeGroupList[i].info())
	}
	return t
}

func (j *groupJSON) info() GroupInfo {
	return GroupInfo{
		Topic: j.TopicName, Name: j.GroupName, Filter: j.Filter,
		Explicit: j.Mask&maskExplicit != 0, Exclusive: j.Mask&maskExclusive != 0,
		Temporary: j.Mask&maskTemporary != 0, Paused: j.Mask&maskPause != 0,
		AckTimeout: time.Duration(j.AckTimeout) * time.Millisecond,
		Lag:        j.MessageCount, Estimated: j.Estimated, Cursor: j.Cursor, InFlight: j.InFlight, Consumers: j.ConsumerList,
		Created: time.UnixMilli(j.CreatedTime), Updated: time.UnixMilli(j.LastUpdatedTime),
	}
}

// decode reads the JSON body of a reply into one of the types above.
func decode[J any](op, target string, body []byte) (*J, error) {
	j := new(J)
	if err := json.Unmarshal(body, j); err != nil {
		f := failure{text: "the answer is not what was expected", kinds: []error{ErrInternal}, cause: err}
		return nil, f.error(op, target)
	}
	return j, nil
}
