package server

import (
	"context"
	"time"
)

// quitInterval is how often is looked whether a session has settled what it has.
const quitInterval = 20 * time.Millisecond

// Retire ends a session whose client is to go to another server: it gets no more messages or
// calls, and when it has settled those that it has, and its own requests and calls are
// answered, or ctx ends, it is ended as by [Server.Disconnect]. It reports false when there is
// no such session. It does not wait for the end.
func (s *Server) Retire(ctx context.Context, id, reason string) bool {
	c := s.session(id)
	if c == nil {
		return false
	}
	c.quitting.Store(true)
	tick := time.NewTicker(quitInterval)
	defer tick.Stop()
	for !c.quit() {
		select {
		case <-tick.C:
			continue
		case <-c.life.Done():
		case <-ctx.Done():
		}
		break
	}
	s.Disconnect(id, reason)
	return true
}

// quit takes back what the session may still be given, and reports whether nothing of it is
// under way.
func (s *session) quit() (idle bool) {
	s.mu.Lock()
	subs := make([]*consumer, 0, len(s.subs))
	for _, c := range s.subs {
		subs = append(subs, c)
	}
	s.mu.Unlock()
	idle = !s.inflight.busy() && !s.peer.Waits()
	for _, c := range subs {
		idle = c.sub.Quit() && idle
	}
	return idle
}
