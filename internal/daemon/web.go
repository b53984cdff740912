package daemon

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/gateway"
	"github.com/rushmore/zbus-go/internal/live"
	"github.com/rushmore/zbus-go/internal/metrics"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/server"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/webui"
)

// handlers makes what is served besides the protocol. It is called before the
// server is made, and asks for it only when a request comes.
func (p *parts) handlers(cfg config.Config, version Version, memory budget) (map[string]http.Handler, error) {
	info := p.info(cfg, version)
	connections := func() int64 { return p.server.Connections() }
	p.stats = stats.New(p.broker, stats.Options{Connections: connections, Services: p.endedCalls, Log: p.log})
	numbers := metrics.New(metrics.Options{
		Broker: p.broker, Calls: p.calls, Stats: p.stats, Version: string(version), Durability: p.store.durability, Connections: connections,
		Conditions: p.board, Refused: func() map[string]int64 { return p.server.Refused() }, Backups: p.backupFigures,
		Database: p.store.size, Space: p.store.space, Scrub: p.store.scrubbed, Accounts: p.access.Usage,
	})
	console, err := webui.Handler()
	if err != nil {
		return nil, err
	}
	p.live = live.New(live.Options{
		Broker: p.broker, Calls: p.calls, Stats: p.stats, Log: p.log, Server: info, Sessions: p.sessions, Cluster: p.cluster,
		ReadLimit: min(2*cfg.MaxBody+1<<20, memory.requests/2), Accounts: server.Accounts{},
	})
	p.access.Watch(p.live.Changed)
	p.access.Watch(func() { p.readers.Recheck(p.broker) })
	calls := &caller.Caller{Broker: p.broker, Calls: p.calls, Stopping: p.stopping.Done()}
	var signOn api.SignOn
	if len(p.issuers) > 0 {
		signOn = p.issuers
	}
	known := func(h http.Handler) http.Handler { return server.OnlyHosts(site(cfg), h) }
	return map[string]http.Handler{
		gateway.Base: known(gateway.New(gateway.Options{Broker: p.broker, Caller: calls, Cluster: p.cluster, Log: p.log, MaxBody: cfg.MaxBody, Site: site(cfg)})),
		"/ui":        known(console), "/ui/": known(console),
		"/metrics": known(server.Require(access.Observe, numbers)),
		"/api/": api.New(api.Options{
			Broker: p.broker, Access: p.access, Calls: p.calls, Caller: calls, Stats: p.stats, Log: p.log, Live: p.live, SignOn: signOn,
			Server: info, Durability: p.store.durability, Database: p.store.database(), Cluster: p.cluster, Drain: func(on bool) { p.drained(cfg, on) }, Sessions: p.sessions, Disconnect: p.disconnect, Readers: &p.readers, Socket: server.Accounts{}.Socket, Backup: p.takeBackup, Stopping: p.stopping.Done(),
			MaxBody: cfg.MaxBody, Plans: p.plans, MaxTopics: maxTopics(&cfg), Site: site(cfg),
		}),
	}, nil
}

// info describes this server. The number of files it looks at is small.
func (p *parts) info(cfg config.Config, version Version) func() apiconv.ServerInfo {
	started := time.Now()
	address := cfg.Advertised(p.listeners[0].Addr())
	return func() apiconv.ServerInfo {
		return apiconv.ServerInfo{
			Address: address, TLS: cfg.TLS(), PublicURLs: site(cfg).Public, MaxBody: cfg.MaxBody, Version: string(version), Durability: p.store.durability(),
			Started: started, Connections: p.server.Connections(),
			Conditions: p.board.List(), Backup: p.backupState(), Scrub: p.store.scrubbed(),
			Database: p.store.size(), DiskFree: p.store.free(), Space: p.store.space(), Memory: residentMemory(),
		}
	}
}

// databaseSize is what the database and its log take on the disk. What removed messages
// have left may be holes, which take nothing.
func databaseSize(dir string) (total int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(dir, databaseFile+suffix)); err == nil {
			total += onDisk(info)
		}
	}
	return total
}

// sessions lists all connections.
func (p *parts) sessions() []apiconv.SessionInfo {
	native := p.server.Sessions()
	all := make([]apiconv.SessionInfo, 0, len(native))
	for _, s := range native {
		info := apiconv.SessionInfo{
			ID: s.ID, Remote: s.Remote, Protocol: s.Protocol, Since: s.Since, Active: s.Active, In: s.In, Out: s.Out,
		}
		for _, sub := range s.Subscriptions {
			info.Subscriptions = append(info.Subscriptions, apiconv.SubscriptionInfo(sub))
		}
		all = append(all, info)
	}
	return append(append(all, p.live.Sessions()...), p.readers.Sessions()...)
}

// disconnect ends one of them.
func (p *parts) disconnect(id, reason string) bool {
	return p.server.Disconnect(id, reason) || p.live.Disconnect(id, reason) || p.readers.Disconnect(id, reason)
}

// site is what the server goes by for browsers.
func site(cfg config.Config) origin.Site {
	s := origin.Site{Hosts: hosts(cfg), Origins: cfg.AllowOrigin, Names: names(cfg)}
	for _, u := range cfg.PublicURL {
		s.Pages = append(s.Pages, strings.TrimRight(u, "/"))
		s.Public = append(s.Public, origin.OriginOf(u))
	}
	return s
}

// hosts are the names under which the API may be asked for when only this machine
// can reach it; nil, for any, when others can, under names that are not known here.
func hosts(cfg config.Config) []string {
	if !cfg.Local() {
		return nil
	}
	return names(cfg)
}

// names are those that the operator has given this server.
func names(cfg config.Config) []string {
	names := []string{}
	if host, _, err := net.SplitHostPort(cfg.Advertise); err == nil {
		names = append(names, strings.ToLower(host))
	}
	return names
}

// endedCalls is what became of the calls of a service, for the history of its figures.
func (p *parts) endedCalls(topic string) stats.Calls {
	s := p.calls.Find(topic)
	if s == nil {
		return stats.Calls{}
	}
	t, waiting := s.TakeEnded()
	return stats.Calls{Answered: t.Answered, Failed: t.Failed, Waiting: int64(waiting), Took: t.Took, Longest: t.Longest}
}
