package server

import (
	"net"
	"sync/atomic"
	"time"
)

// SessionInfo describes a connection that speaks the protocol.
type SessionInfo struct {
	ID, Remote    string
	Protocol      string // "tcp", "http" (one request) or "websocket"
	Since, Active time.Time
	In, Out       int64 // messages received and sent
	Subscriptions []SubscriptionInfo
}

// SubscriptionInfo describes one subscription of a session.
type SubscriptionInfo struct {
	Topic, Group     string
	Credit, InFlight int64
}

// activity is what people want to know of a session. It is written by its reader
// and the goroutine that sends; any goroutine may read it.
type activity struct {
	since  time.Time
	active atomic.Int64 // when it was heard of last, in nanoseconds after since
	in     atomic.Int64
	out    atomic.Int64
}

// heard notes that the client has sent something.
func (s *session) heard() {
	now := time.Now()
	s.activity.active.Store(int64(now.Sub(s.activity.since)))
	s.now = s.srv.calls.At(now)
}

// Sessions lists the connections that speak the protocol, in no order.
func (s *Server) Sessions() []SessionInfo {
	live := s.live()
	all := make([]SessionInfo, 0, len(live))
	for _, c := range live {
		all = append(all, c.info())
	}
	return all
}

func (s *session) info() SessionInfo {
	info := SessionInfo{
		ID: s.id, Remote: s.remote, Protocol: "http",
		Since: s.activity.since, Active: s.activity.since.Add(time.Duration(s.activity.active.Load())),
		In: s.activity.in.Load(), Out: s.activity.out.Load(),
	}
	switch s.conn.(type) {
	case net.Conn:
		info.Protocol = "tcp"
	case *webSocket:
		info.Protocol = "websocket"
	}
	s.mu.Lock()
	subs := make([]*consumer, 0, len(s.subs))
	for _, c := range s.subs {
		subs = append(subs, c)
	}
	s.mu.Unlock()
	for _, c := range subs {
		g := c.sub.Group()
		sub := SubscriptionInfo{Topic: g.Topic().Name(), Group: g.Name()}
		sub.Credit, sub.InFlight = c.sub.Load()
		info.Subscriptions = append(info.Subscriptions, sub)
	}
	return info
}

// disconnectTime is how long a session that is disconnected may take for its last
// answers.
const disconnectTime = 5 * time.Second

// Disconnect ends a session as at a shutdown: what it has taken on is answered, and
// what it holds goes to others. A client that does not take its last answers is cut
// after disconnectTime. It reports false when there is no such session, and does not
// wait for the end.
func (s *Server) Disconnect(id, reason string) bool {
	s.mu.Lock()
	c := s.sessions[id]
	if c != nil && !s.draining.Load() { // draining ends it anyhow; see addSession
		s.serving.Go(func() {
			late := time.AfterFunc(disconnectTime, c.abort)
			defer late.Stop()
			c.finish()
			<-c.written
		})
	}
	s.mu.Unlock()
	if c == nil {
		return false
	}
	s.log.Info("session disconnected", "session", id, "remote", c.remote, "reason", reason)
	return true
}

// Connections is how many connections there are.
func (s *Server) Connections() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(len(s.conns))
}
