package live

import (
	"strconv"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
)

// The most messages a second that a tail shows.
const (
	tailLimit   = 200 // unless asked for
	maxTailRate = 1000
)

// channels are what can be watched: by whom, by which members of the frame, and with which
// figures. A tail has none. Figures are the same for all viewers, so who sees only some
// topics gets none of all of them.
var channels = map[string]struct {
	need                  access.Verb // of the topic, if there is one
	topic, calls, matcher bool        // calls: the topic has to be for calls
	make                  maker
}{
	"server":    {need: access.See, make: (*figures).server},
	"attention": {need: access.Observe, make: (*figures).attention},
	"topics":    {need: access.Observe, make: (*figures).topics},
	"topic":     {need: access.See, topic: true, make: (*figures).topic},
	"groups":    {need: access.Observe, make: (*figures).groups},
	"rpc":       {need: access.Observe, make: (*figures).services},
	"service":   {need: access.See, topic: true, calls: true, make: (*figures).service},
	"sessions":  {need: access.Sessions, make: (*figures).sessions},
	"audit":     {need: access.Sessions, make: (*figures).audit},
	"tail":      {need: access.Browse, topic: true, matcher: true},
}

// channelNames are their names, for people.
const channelNames = "server, attention, topics, topic, groups, rpc, service, sessions, audit or tail"

// watch is one viewer of a channel or a tail.
type watch struct {
	socket *socket
	name   string
	head   []byte // how its frames begin

	channel channelKey // of figures

	topic   *broker.Topic    // of a tail; nil for figures
	from    int64            // the first offset to show
	matcher *apiconv.Matcher // nil: all
	limit   int              // messages a second
	tokens  float64          // owned by the tails' goroutine: so many may be shown
	tick    int64            // owned by the tails' goroutine: when tokens were given

	// Guarded by the socket's queue.mu.
	dirty  bool // is in queue.dirty
	over   bool
	figure *figure // to be sent
	seq    int64   // of the figures sent last
	ring   [][]byte
	bytes  int // of ring
	missed int64
}

type watchOp struct {
	head
	Channel string  `json:"channel"`
	Topic   *string `json:"topic"`
	Filter  *string `json:"filter"`
	Text    *string `json:"text"`
	Header  *string `json:"header"`
	Limit   *int    `json:"limit"`
}

// watchingFrame answers it.
type watchingFrame struct {
	Type    string `json:"type"`
	Ref     string `json:"ref,omitempty"`
	Watch   string `json:"watch"`
	Channel string `json:"channel"`
}

func (s *socket) watch(c *call) error {
	var op watchOp
	if err := c.decode(&op); err != nil {
		return err
	}
	w, err := s.newWatch(c.view, &op)
	if err != nil {
		return err
	}
	s.mu.Lock()
	n, ended := len(s.watches), s.ended
	if !ended && n < maxWatches {
		s.watchNames++
		w.name = "w" + strconv.Itoa(s.watchNames)
		s.watches[w.name] = w
	}
	s.mu.Unlock()
	switch {
	case ended:
		return nil
	case n >= maxWatches:
		return fail(broker.Quota, "this socket has %d watches, which is the most: end one, or use another socket", n)
	}
	kind := "figures"
	if w.topic != nil {
		kind = "tail"
	}
	w.head = []byte(`{"type":"` + kind + `","watch":"` + w.name + `",`)
	s.out.watching(1)
	s.say(watchingFrame{"watching", c.Ref, w.name, op.Channel})
	s.hub.watch(w)
	s.hub.recheckIf(!s.mayWatch(w))
	if s.over() { // end did not see it among the hub's
		s.hub.unwatch(w)
	}
	return nil
}

// newWatch checks what is asked for.
func (s *socket) newWatch(view broker.View, op *watchOp) (*watch, error) {
	def, ok := channels[op.Channel]
	if !ok {
		return nil, fail(broker.Invalid, "unknown channel %q: use %s", broker.Excerpt(op.Channel), channelNames)
	}
	for _, m := range []struct {
		name      string
		given, ok bool
	}{
		{"topic", op.Topic != nil, def.topic},
		{"filter", op.Filter != nil, def.matcher},
		{"text", op.Text != nil, def.matcher},
		{"header", op.Header != nil, def.matcher},
		{"limit", op.Limit != nil, def.matcher},
	} {
		if m.given && !m.ok {
			return nil, fail(broker.Invalid, "the channel %s has no member %q", op.Channel, m.name)
		}
	}
	w := &watch{socket: s, channel: channelKey{name: op.Channel}, limit: tailLimit}
	if def.topic {
		if err := needed("topic", value(op.Topic)); err != nil {
			return nil, err
		}
		t, err := view.For(def.need).Topic(*op.Topic)
		if err != nil {
			return nil, err
		}
		if def.calls && !t.Calls() {
			return nil, fail(broker.NotFound, "Topic(%s) is not for calls: there is no service", t.Name())
		}
		w.channel.topic = t
	} else if err := s.who.Check(def.need, "", ""); err != nil {
		return nil, err
	}
	if !def.matcher {
		return w, nil
	}
	if op.Limit != nil {
		w.limit = *op.Limit
	}
	if w.limit < 1 || w.limit > maxTailRate {
		return nil, fail(broker.Invalid, "limit %d: must be 1 to %d messages a second", w.limit, maxTailRate)
	}
	w.topic = w.channel.topic
	w.from = w.topic.Next() // before the client knows that it watches
	return w, w.match(op)
}

// match says which messages of a tail are shown.
func (w *watch) match(op *watchOp) error {
	if value(op.Filter) == "" && value(op.Text) == "" && value(op.Header) == "" {
		return nil
	}
	m, err := apiconv.NewMatcher(value(op.Filter), value(op.Text), value(op.Header))
	w.matcher = m
	return err
}

func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

type unwatchOp struct {
	head
	Watch string `json:"watch"`
}

func (s *socket) unwatch(c *call) error {
	var op unwatchOp
	if err := c.decode(&op); err != nil {
		return err
	}
	if err := needed("watch", op.Watch); err != nil {
		return err
	}
	s.mu.Lock()
	w := s.watches[op.Watch]
	s.mu.Unlock()
	if w == nil || !s.dropWatch(w) {
		return fail(broker.NotFound, "this socket has no watch %q, or it has ended", broker.Excerpt(op.Watch))
	}
	if c.Ref != "" {
		s.ok(c.Ref)
	}
	return nil
}

// dropWatch ends a watch, and reports false when it has ended already.
func (s *socket) dropWatch(w *watch) bool {
	s.mu.Lock()
	_, ok := s.watches[w.name]
	delete(s.watches, w.name)
	s.mu.Unlock()
	if ok {
		s.hub.unwatch(w)
		s.out.watching(-1)
	}
	return ok
}

// topicGone ends a watch of a topic that was removed.
func (w *watch) topicGone(t *broker.Topic) {
	if w.socket.dropWatch(w) {
		w.socket.say(endedFrame{
			Type: "ended", Watch: w.name, Code: "not_found", Detail: "Topic(" + t.Name() + ") was removed",
		})
	}
}

// channelKey names figures that are the same for all viewers.
type channelKey struct {
	name  string
	topic *broker.Topic
}

// channel is figures that a client watches.
type channel struct {
	key     channelKey
	viewers map[*watch]struct{} // guarded by Hub.mu
	figure  *figure             // guarded by Hub.mu: the last ones; nil before the first

	same []byte // owned by Run: what the last figures said, to compare
}

// figure is figures as they are sent. It does not change.
type figure struct {
	seq  int64
	rest []byte // what follows a watch's head
}

// watch adds a viewer, who gets the figures that there are.
func (h *Hub) watch(w *watch) {
	if w.topic != nil {
		h.watchTail(w)
		return
	}
	h.mu.Lock()
	c := h.channels[w.channel]
	if c == nil {
		c = &channel{key: w.channel, viewers: map[*watch]struct{}{}}
		h.channels[w.channel] = c
	}
	c.viewers[w] = struct{}{}
	f := c.figure
	h.mu.Unlock()
	if f == nil {
		signal(h.fresh)
		return
	}
	w.socket.out.offer(w, f)
}

// unwatch takes a viewer away. It may be called again.
func (h *Hub) unwatch(w *watch) {
	h.mu.Lock()
	if c := h.channels[w.channel]; c != nil {
		if delete(c.viewers, w); len(c.viewers) == 0 {
			delete(h.channels, w.channel)
		}
	}
	if t := h.tails[w.topic]; t != nil {
		if delete(t.viewers, w); len(t.viewers) == 0 {
			delete(h.tails, w.topic)
		}
	}
	h.mu.Unlock()
	w.socket.out.forget(w)
}
