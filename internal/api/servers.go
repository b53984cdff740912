package api

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/stats"
)

// ListServers lists the servers that are known: this one, and the others.
func (h *handler) ListServers(context.Context, ListServersRequestObject) (ListServersResponseObject, error) {
	answer := ListServers200JSONResponse{Servers: []KnownServer{h.thisServer()}}
	for _, s := range h.Cluster.Servers() {
		answer.Servers = append(answer.Servers, otherServer(&s))
	}
	return answer, nil
}

// GetCluster describes the brokers that share a database.
func (h *handler) GetCluster(ctx context.Context, _ GetClusterRequestObject) (GetClusterResponseObject, error) {
	topics := len(h.broker.System().Topics())
	if h.Database == nil {
		address := h.Server().Address
		node := ClusterNode{Name: address, Address: address, State: Active, Topics: &topics}
		return GetCluster200JSONResponse{Nodes: []ClusterNode{node}, Takeovers: []Takeover{}}, nil
	}
	s, err := h.Database(ctx)
	if err != nil {
		return nil, err
	}
	s.Nodes[0].Topics = &topics
	return GetCluster200JSONResponse(s), nil
}

// thisState is the state of this server.
func (h *handler) thisState() KnownServerState {
	if phase, _ := h.Cluster.Phase(); phase != cluster.Serving {
		return KnownServerStateDraining
	}
	return KnownServerStateUp
}

// thisServer is this server among those that are known, with all that it knows of itself.
func (h *handler) thisServer() KnownServer {
	s := apiconv.Server(h.Server(), h.broker, h.stats)
	state, since := h.thisState(), s.Started
	if _, began := h.Cluster.Phase(); state != KnownServerStateUp {
		since = began.UTC().Truncate(time.Millisecond)
	}
	return KnownServer{
		Address: s.Address, State: state, This: true, Live: state == KnownServerStateUp, Since: since, Tls: s.Tls, Version: &s.Version, Topics: &s.Topics,
		PublicUrls: s.PublicUrls, Durability: &s.Durability, MaxBody: s.MaxBody, Started: &s.Started, Uptime: &s.Uptime,
		Groups: &s.Groups, Connections: &s.Connections, Messages: &s.Messages, Bytes: &s.Bytes,
		Database: &s.Database, DiskFree: s.DiskFree, Disk: s.Disk, Memory: &s.Memory, Rates: &s.Rates,
		Clock: &s.Clock, Conditions: &s.Conditions, Backup: s.Backup, Scrub: s.Scrub,
		Trackers: trackersOf(h.Cluster.Trackers()),
	}
}

// otherServer is another server.
func otherServer(s *cluster.Server) KnownServer {
	d := KnownServer{
		Address: s.Address.Address, State: KnownServerState(s.State), Live: s.State == cluster.Up, Tls: &s.Address.SSLEnabled,
		Since: s.Since.UTC().Truncate(time.Millisecond), Age: -1, Version: apiconv.Optional(s.Version),
		Trackers: trackersOf(s.Trackers),
	}
	if !s.Heard.IsZero() {
		d.Age = time.Since(s.Heard).Milliseconds()
	}
	if s.Topics >= 0 {
		d.Topics = &s.Topics
	}
	if s.Figures != nil {
		addFigures(&d, s.Figures)
	}
	return d
}

// addFigures adds what another server has told of itself.
func addFigures(d *KnownServer, f *cluster.Figures) {
	d.Uptime, d.Groups, d.Connections = &f.Uptime, &f.Groups, &f.Connections
	d.Messages, d.Bytes, d.Database, d.Memory = new(apiconv.Count(f.Messages)), new(apiconv.Count(f.Bytes)), new(apiconv.Count(f.Database)), new(apiconv.Count(f.Memory))
	d.Rates = &Rates{In: f.In, Out: f.Out}
	if f.DiskFree < 0 { // as of a server whose database is not on its disk
		return
	}
	d.DiskFree = new(apiconv.Count(f.DiskFree))
	d.Disk = &Disk{Room: apiconv.Count(f.Room), Unused: apiconv.Count(f.Unused), Floor: apiconv.Count(f.Floor), Reserve: apiconv.Count(f.Reserve), Stopped: f.Stopped}
}

// FiguresOf are what other servers are told of this one.
func FiguresOf(info apiconv.ServerInfo, b *broker.Broker, s *stats.Sampler) cluster.Figures {
	f := cluster.Figures{
		Uptime: time.Since(info.Started).Milliseconds(), Connections: int(info.Connections), Database: info.Database, Memory: info.Memory, DiskFree: info.DiskFree,
		Room: info.Space.Room, Unused: info.Space.Unused, Floor: info.Space.Floor, Reserve: info.Space.Reserve, Stopped: info.Space.Stopped,
	}
	f.Messages, f.Bytes, f.Groups = apiconv.Stored(b)
	total, _ := s.Total()
	f.In, f.Out = total.In, total.Out
	return f
}

// trackersOf are the addresses of trackers; nil without any.
func trackersOf(all []cluster.Address) *[]string {
	var addresses []string
	for _, a := range all {
		addresses = append(addresses, a.Address)
	}
	return apiconv.OptionalList(addresses)
}
