package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/inspect"
)

// clusterTopics is a page of the topics of all servers.
type clusterTopics struct {
	Topics []ClusterTopic `json:"topics"`
	Total  int            `json:"total"`
	Next   *Next          `json:"next,omitempty"`
}

// VisitListTopicsResponse writes it.
func (c *clusterTopics) VisitListTopicsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(c)
}

// gathered is a topic of several servers.
type gathered struct {
	name    string
	kind    TopicKind
	servers []figures
}

// figures are those of a topic on one server.
type figures struct {
	address    string
	state      TopicOnServerState
	depth, lag int64
	consumers  int
}

// listClusterTopics lists the topics of all servers, of whose others is known what they have
// said last.
func (h *handler) listClusterTopics(ctx context.Context, p *ListTopicsParams) (ListTopicsResponseObject, error) {
	byName := map[string]*gathered{}
	add := func(name string, kind TopicKind, f *figures) {
		if !contains(name, p.Name) {
			return
		}
		key := strings.ToLower(name) // names differ in more than case
		g := byName[key]
		if g == nil {
			g = &gathered{name: name, kind: kind}
			byName[key] = g
		}
		g.servers = append(g.servers, *f)
	}
	here, address := h.thisState(), h.Server().Address
	for _, t := range h.view(ctx).Topics() {
		add(t.Name(), apiconv.TopicKind(t), ownFigures(t, address, here))
	}
	who := access.From(ctx)
	h.Cluster.EachTopic(func(s *cluster.Server, t *cluster.Topic) {
		if who.Allows(access.See, t.Name, "") {
			add(t.Name, TopicKind(t.Kind()), &figures{s.Address.Address, TopicOnServerState(s.State), t.Depth, t.Lag, t.Consumers})
		}
	})
	all := make([]*gathered, 0, len(byName))
	for _, g := range byName {
		if p.Kind == nil || g.kind == *p.Kind {
			all = append(all, g)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	some, next, err := page(all, func(g *gathered) string { return g.name }, p.After, p.Limit)
	if err != nil {
		return nil, err
	}
	answer := &clusterTopics{Topics: make([]ClusterTopic, 0, len(some)), Total: len(all), Next: next}
	for _, g := range some {
		answer.Topics = append(answer.Topics, g.topic())
	}
	return answer, nil
}

// ownFigures are those of a topic here.
func ownFigures(t *broker.Topic, address string, state KnownServerState) *figures {
	def := t.Definition()
	f := &figures{address: address, state: TopicOnServerState(state), depth: def.Next, consumers: t.Subscriptions()}
	if t.Memory() {
		f.depth = def.Next - def.First
	}
	for _, g := range t.Groups() {
		lag, _ := inspect.Ahead(g)
		f.lag = max(f.lag, lag)
	}
	return f
}

// topic describes the topic with its sums.
func (g *gathered) topic() ClusterTopic {
	sort.Slice(g.servers, func(i, j int) bool { return g.servers[i].address < g.servers[j].address })
	d := ClusterTopic{Name: g.name, Kind: g.kind}
	depth, lag := int64(0), int64(0)
	for _, f := range g.servers {
		depth, lag, d.Consumers = depth+f.depth, lag+f.lag, d.Consumers+f.consumers
		d.Servers = append(d.Servers, TopicOnServer{Address: f.address, State: f.state, Depth: apiconv.Count(f.depth), Lag: apiconv.Count(f.lag), Consumers: f.consumers})
	}
	d.Depth, d.Lag = apiconv.Count(depth), apiconv.Count(lag)
	return d
}
