package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/wire"
)

// verb is one command of the protocol.
type verb struct {
	// need is what it takes to run it: of the topic that it names, if it has one. Publishing
	// to a service is calling it, and consuming is serving it.
	need access.Verb
	run  func(*session, *wire.Message)
	// path says that a URL names topic and group behind the command.
	path bool
	// quick commands do not wait for anything. The others run when everything
	// that the connection asked for before is done, so a client that pipelines
	// sees its own writes.
	quick bool
	// reads says that nothing changes.
	reads bool
	// silent commands have no reply.
	silent bool
}

// commands is the table of all commands.
func (s *Server) commands() map[string]verb {
	return map[string]verb{
		wire.CmdProduce:    {need: access.Publish, run: (*session).produce, path: true, quick: true},
		wire.CmdRPC:        {need: access.Publish, run: (*session).rpc, quick: true},
		wire.CmdConsume:    {need: access.Consume, run: (*session).consume, path: true, quick: true},
		wire.CmdUnconsume:  {need: access.Nothing, run: (*session).unconsume, path: true},
		wire.CmdRoute:      {need: access.Nothing, run: (*session).route, quick: true, silent: true},
		wire.CmdDescribe:   {need: access.Serve, run: (*session).describe, path: true, quick: true},
		wire.CmdAck:        {need: access.Consume, run: (*session).ack, path: true, quick: true},
		wire.CmdNack:       {need: access.Consume, run: (*session).nack, path: true, quick: true},
		wire.CmdExtend:     {need: access.Consume, run: (*session).extend, path: true, quick: true},
		wire.CmdDeclare:    {need: access.Manage, run: (*session).declare, path: true},
		wire.CmdQuery:      {need: access.See, run: (*session).query, path: true, reads: true},
		wire.CmdRemove:     {need: access.Move, run: (*session).remove, path: true},
		wire.CmdEmpty:      {need: access.Move, run: (*session).empty, path: true},
		wire.CmdRelocate:   {need: access.Move, run: (*session).relocate, path: true},
		wire.CmdTracker:    {need: access.See, run: (*session).trackerInfo, reads: true},
		wire.CmdServer:     {need: access.See, run: (*session).serverInfo, reads: true},
		wire.CmdTrackSub:   {need: access.See, run: (*session).trackSub},
		wire.CmdTrackPub:   {need: access.Join, run: (*session).trackPub},
		wire.CmdTrackProbe: {need: access.Nothing, run: (*session).trackProbe, reads: true},
		wire.CmdSSL:        {need: access.Nothing, run: (*session).certificate, reads: true},
		wire.CmdPing:       {need: access.Nothing, run: func(c *session, m *wire.Message) { c.send(http.StatusOK, m.Get(wire.HeaderID), "OK") }, quick: true, reads: true},
		wire.CmdHeartbeat:  {need: access.Nothing, run: func(*session, *wire.Message) {}, quick: true, silent: true, reads: true},
	}
}

// handle runs one request.
func (s *session) handle(m *wire.Message) {
	s.activity.in.Add(1)
	if m.Minor == 0 != s.http10.Load() {
		s.http10.Store(m.Minor == 0)
	}
	last := closes(m) // a URL has no say in it
	cmd := strings.ToLower(m.Get(wire.HeaderCmd))
	status, refusal := 0, ""
	if cmd == "" || !s.vetted {
		status, refusal = s.srv.outsider(m, cmd == "")
		last = last || status != 0 // what it asks for next is not looked at
		s.vetted = true
	}
	web := false
	if cmd == "" {
		_, web = m.Lookup(wire.HeaderHost)
	}
	if s.web.Load() != web {
		s.web.Store(web)
	}
	var refused error
	if status == 0 {
		refused = s.identify(m)
		last = last || refused != nil // nor when it is not who it says
	}
	if cmd == "" && !m.Malformed {
		cmd = s.fromURL(m)
	}
	id := m.Get(wire.HeaderID)
	if s.named = id != ""; !s.named {
		id = s.srv.ids.next()
		m.Set(wire.HeaderID, id)
	}
	if last { // those before it have to be answered before it closes
		s.flush()
		s.inflight.wait(0)
		after := strings.Clone(id) // it outlives the message
		s.stopAt.Store(&after)
	}
	if status != 0 {
		s.send(status, id, refusal)
		return
	}
	if refused != nil {
		s.fail(id, refused)
		return
	}
	if cmd == "" && m.Malformed {
		s.send(http.StatusBadRequest, id, "Bad request line: must be METHOD URL HTTP/1.1, or there must be a cmd header")
		return
	}
	v, ok := s.srv.verbs[cmd]
	if !ok {
		s.unknown(id, cmd, m)
		return
	}
	if s.command, s.need = cmd, v.need; !s.need.OfTopics() {
		if err := s.who.Check(s.need, "", ""); err != nil {
			s.fail(id, err)
			return
		}
	}
	if !v.quick {
		s.flush()
		s.inflight.wait(0)
	}
	v.run(s, m)
	if v.silent && s.stopAt.Load() != nil {
		s.out.close()
	}
}

// unknown answers what is no command.
func (s *session) unknown(id, cmd string, m *wire.Message) {
	switch {
	case cmd != "":
		s.send(http.StatusBadRequest, id, "Bad format: command("+cmd+") not support")
	case strings.Trim(m.URL, "/") == "" || strings.HasPrefix(m.URL, "/?"):
		s.sendTyped(http.StatusOK, id, "text/html; charset=utf-8", []byte(homePage))
	default:
		s.send(http.StatusNotFound, id, "Not found: "+m.URL)
	}
}

// param reads a decimal number from a header. It reports false, after answering,
// when the header is there and is not a number from low to high.
func (s *session) param(m *wire.Message, name string, low, high int64) (value *int64, ok bool) {
	text := m.Get(name)
	if text == "" || absent(text) {
		return nil, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		s.send(http.StatusBadRequest, m.Get(wire.HeaderID),
			"Bad "+name+": "+strconv.Quote(broker.Excerpt(text))+" must be a number from "+
				strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
		return nil, false
	}
	return &n, true
}

// absent recognises what some clients send for a value that they don't have.
func absent(v string) bool { return v == "null" || v == "undefined" || v == "None" }

// topicOf finds the topic that a request names, answering when there is none. A request for
// one that another server has is passed on.
func (s *session) topicOf(m *wire.Message) *broker.Topic {
	name := m.Get(wire.HeaderTopic)
	if t := s.topics.get(name, s.need, s.who.Epoch()); t != nil {
		return t
	}
	if name == "" {
		s.send(http.StatusBadRequest, m.Get(wire.HeaderID), "Missing topic")
		return nil
	}
	t, err := s.view().Topic(name)
	if broker.CodeOf(err) == broker.NotFound && s.elsewhere(m, name) {
		return nil
	}
	if err != nil {
		s.fail(m.Get(wire.HeaderID), err)
		return nil
	}
	s.topics.put(name, t, s.need, s.who.Epoch())
	return t
}

// groupOf finds the topic and group that a request names, answering when there
// is none. A request for a topic that another server has is passed on.
func (s *session) groupOf(m *wire.Message) *broker.Group {
	need := s.need
	s.need = access.See // what it takes is asked of the group
	t := s.topicOf(m)
	if s.need = need; t == nil {
		return nil
	}
	g, err := s.view().GroupOf(t, m.Get(wire.HeaderConsumeGroup))
	if err != nil {
		s.fail(m.Get(wire.HeaderID), err)
		return nil
	}
	return g
}

// topicCache remembers the last topic a session named. Owned by the reader.
type topicCache struct {
	name    string
	topic   *broker.Topic
	needs   access.Verb  // what the caller may do with it
	epoch   uint64       // of access, when that was asked
	service *rpc.Service // nil until it is asked for
}

func (c *topicCache) get(name string, need access.Verb, epoch uint64) *broker.Topic {
	if c.topic != nil && c.name == name && c.needs&need != 0 && c.epoch == epoch && !c.topic.Removed() {
		return c.topic
	}
	return nil
}

func (c *topicCache) put(name string, t *broker.Topic, need access.Verb, epoch uint64) {
	if c.topic == t && c.name == name && c.epoch == epoch {
		c.needs |= need
		return
	}
	*c = topicCache{name: strings.Clone(name), topic: t, needs: need, epoch: epoch}
}

// now is the body of many replies: the server's time in milliseconds.
func now() string { return strconv.FormatInt(time.Now().UnixMilli(), 10) }
