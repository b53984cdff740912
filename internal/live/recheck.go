package live

import (
	"context"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/access"
)

// Changed says that what clients may do has changed. It does not block.
func (h *Hub) Changed() { signal(h.rights) }

// recheckIf has everything judged again when what was just added may no longer be: it was
// permitted before a change, and added after the others were judged for that.
func (h *Hub) recheckIf(lost bool) {
	if lost {
		h.Changed()
	}
}

// recheck ends what clients may no longer do, whenever that changes, until ctx ends.
func (h *Hub) recheck(ctx context.Context) {
	for {
		select {
		case <-h.rights:
		case <-ctx.Done():
			return
		}
		for _, s := range h.all() {
			s.recheck()
		}
	}
}

func (s *socket) recheck() {
	if err := s.who.Check(access.See, "", ""); err != nil {
		s.end(websocket.StatusPolicyViolation, "its credential is no longer good")
		return
	}
	var lost []*subscription
	var blind []*watch
	s.mu.Lock()
	for name, x := range s.subs {
		if s.hub.opts.Broker.As(s.who, access.Consume).MayConsume(x.sub.Group()) != nil {
			delete(s.subs, name)
			lost = append(lost, x)
		}
	}
	for _, w := range s.watches {
		if !s.mayWatch(w) {
			blind = append(blind, w)
		}
	}
	s.mu.Unlock()
	for _, x := range lost {
		x.close()
		s.say(endedFrame{Type: "ended", Sub: x.name, Code: "forbidden", Detail: "its account may not consume this, or no longer"})
	}
	for _, w := range blind {
		if s.dropWatch(w) {
			s.say(endedFrame{Type: "ended", Watch: w.name, Code: "forbidden", Detail: "its account may not see this, or no longer"})
		}
	}
}

// mayWatch reports whether the client may still see what it watches.
func (s *socket) mayWatch(w *watch) bool {
	need := channels[w.channel.name].need
	if w.channel.topic == nil {
		return s.who.Allows(need, "", "")
	}
	return s.hub.opts.Broker.As(s.who, need).Check(need, w.channel.topic, "") == nil
}

// subprotocol is what a page offers beside its token, so that this is not sent back.
const subprotocol = "zbus"

// offered are the subprotocols of a page that gives a token: a browser wants one of those
// that it offers back.
func offered(req *http.Request) []string {
	all := []string{subprotocol}
	for name := range strings.SplitSeq(req.Header.Get("Sec-WebSocket-Protocol"), ",") {
		if name = strings.TrimSpace(name); strings.HasPrefix(name, access.TokenProtocol) {
			all = append(all, name)
		}
	}
	return all
}
