package cluster

// The JSON objects of the protocol. Lists and maps are never null: some clients
// walk them unchecked.
type (
	// Address is where a server can be reached. Clients and servers use it as its name.
	Address struct {
		Address    string `json:"address"` // host:port
		SSLEnabled bool   `json:"sslEnabled"`
	}
	// TrackerInfo is what a tracker tells. A server that follows it is told of servers that are
	// as it was told before by their keys alone.
	TrackerInfo struct {
		ServerAddress Address               `json:"serverAddress"`
		ServerVersion string                `json:"serverVersion"`
		InfoVersion   int64                 `json:"infoVersion"`
		Unchanged     []string              `json:"unchanged,omitempty"`
		ServerTable   map[string]ServerInfo `json:"serverTable"` // by Address.Key
	}
	// ServerInfo is a server with its topics.
	ServerInfo struct {
		ServerAddress Address              `json:"serverAddress"`
		ServerVersion string               `json:"serverVersion"`
		InfoVersion   int64                `json:"infoVersion"` // grows, also over restarts
		Drain         Phase                `json:"drain,omitempty"`
		TrackerList   []Address            `json:"trackerList"`
		TopicTable    map[string]TopicInfo `json:"topicTable"`
	}
	// TopicInfo is a topic of one server.
	TopicInfo struct {
		TopicName        string      `json:"topicName"`
		Mask             int64       `json:"mask"`
		MessageDepth     int64       `json:"messageDepth"`
		ConsumerCount    int         `json:"consumerCount"`
		ConsumeGroupList []GroupInfo `json:"consumeGroupList"`
		CreatedTime      int64       `json:"createdTime"`
		LastUpdatedTime  int64       `json:"lastUpdatedTime"`
		ServerAddress    Address     `json:"serverAddress"`
		ServerVersion    string      `json:"serverVersion"`
	}
	// GroupInfo is a group of a topic.
	GroupInfo struct {
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

// probed is what a server answers to a track_probe.
type probed struct {
	ServerAddress Address `json:"serverAddress"`
	// Proved says that the secret in the request is that of this server.
	Proved bool `json:"proved"`
	// Fresh says that it was just started, and waits for its members.
	Fresh bool `json:"fresh,omitempty"`
	// Servers are those that it lists, itself too; only for clients that may join.
	Servers []Address `json:"servers"`
	// Figures are its own, for clients that may join and the trackers that it has joined.
	Figures *Figures `json:"figures,omitempty"`
	// Others are those of the servers that have joined it, if they are asked for.
	Others []figuresOf `json:"others,omitempty"`
}
