package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// admin is the context of commands that change the registry: they are finished
// even when the client goes away.
func (s *session) admin() context.Context { return context.WithoutCancel(s.life) }

// sendJSON answers with a JSON body. The content type carries no charset: some
// clients compare it as a whole.
func (s *session) sendJSON(id string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.fail(id, err)
		return
	}
	s.sendTyped(http.StatusOK, id, "application/json", body)
}

// declare makes sure that a topic, and the group if one is named, exist. Without
// a group the default group, named like the topic, is made sure of.
func (s *session) declare(m *wire.Message) {
	id, name := m.Get(wire.HeaderID), m.Get(wire.HeaderTopic)
	if name == "" {
		s.send(http.StatusBadRequest, id, "Missing topic")
		return
	}
	mask, ok := s.param(m, wire.HeaderTopicMask, 0, math.MaxInt64)
	if !ok {
		return
	}
	retention, ok := s.retention(m)
	if !ok {
		return
	}
	spec, ok := s.groupSpec(m)
	if !ok {
		return
	}
	b := s.view()
	if s.groupElsewhere(m, mask) {
		return
	}
	topic := topicSpec(mask)
	topic.Name, topic.Retention = name, retention
	t, created, err := b.DeclareTopic(s.admin(), topic)
	if err != nil {
		s.fail(id, err)
		return
	}
	group := m.Get(wire.HeaderConsumeGroup)
	if group == "" {
		// The group headers of a request that names no group are not meant for the
		// default group, unless it comes into being by this.
		_, err := b.For(access.See).GroupOf(t, "")
		if err == nil || !b.MayDeclare(t, "") { // who only publishes needs none
			s.sendJSON(id, s.srv.topicInfo(t, s.lag))
			return
		}
	}
	g, grouped, err := b.DeclareGroup(s.admin(), spec)
	if err != nil {
		if created {
			err = halfDeclared(t, err)
		}
		s.fail(id, err)
		return
	}
	if created || grouped {
		s.srv.tracker.announce(s)
	}
	if grouped && strings.HasPrefix(g.Name(), broker.Ephemeral) {
		s.own = append(s.own, g)
	}
	if group == "" {
		s.sendJSON(id, s.srv.topicInfo(t, s.lag))
		return
	}
	s.sendJSON(id, groupInfo(g, s.lag))
}

// halfDeclared is why the group was not declared of a topic that was created for it. To
// call that not done would not be true.
func halfDeclared(t *broker.Topic, err error) error {
	code := broker.CodeOf(err)
	if code == broker.Unavailable {
		code = broker.Unknown
	}
	return &broker.Error{Code: code, Text: "Topic(" + t.Name() + ") was created, its group was not: " + broker.TextOf(err), Err: err}
}

// retention reads the limits of a topic from a declare: age in milliseconds,
// count in messages, bytes. One that is left out stays as it is.
func (s *session) retention(m *wire.Message) (limits broker.Limits, ok bool) {
	for _, l := range []struct {
		header string
		limit  **int64
	}{
		{wire.HeaderTopicMaxAge, &limits.MaxAge},
		{wire.HeaderTopicMaxCount, &limits.MaxCount},
		{wire.HeaderTopicMaxBytes, &limits.MaxBytes},
	} {
		if *l.limit, ok = s.param(m, l.header, 0, math.MaxInt64); !ok {
			return limits, false
		}
	}
	return limits, true
}

// groupSpec reads the group headers of a declare.
func (s *session) groupSpec(m *wire.Message) (broker.GroupSpec, bool) {
	spec := broker.GroupSpec{
		Topic: m.Get(wire.HeaderTopic), Name: m.Get(wire.HeaderConsumeGroup), Reason: "declare",
	}
	if filter, ok := m.Lookup(wire.HeaderGroupFilter); ok && !absent(filter) {
		spec.Filter = &filter // present and empty: no filter
	}
	mask, good := s.param(m, wire.HeaderGroupMask, 0, math.MaxInt32)
	if !good {
		return spec, false
	}
	setGroupMask(&spec, mask)
	for _, f := range []struct {
		to     **int64
		header string
		most   int64
	}{
		{&spec.AckTimeout, wire.HeaderGroupAckTimeout, 24 * 3600 * 1000},
		{&spec.AckWindow, wire.HeaderGroupAckWindow, 10_000},
		{&spec.MaxDeliver, wire.HeaderMaxDeliver, 1 << 20},
	} {
		if *f.to, good = s.param(m, f.header, 0, f.most); !good {
			return spec, false
		}
	}
	position, ok := s.positionOf(m, wire.HeaderGroupStartOffset, wire.HeaderGroupStartTime,
		wire.HeaderGroupStartMsgID, wire.HeaderGroupStartCopy)
	spec.Start = position
	return spec, ok
}

// positionOf reads a position in the log from the headers of the given names.
func (s *session) positionOf(m *wire.Message, offset, time, msgID, group string) (broker.Position, bool) {
	at, ok := s.param(m, offset, 0, math.MaxInt64)
	if !ok {
		return broker.Position{}, false
	}
	when, ok := s.param(m, time, 0, math.MaxInt64)
	if !ok {
		return broker.Position{}, false
	}
	if when != nil && *when >= 1e9 && *when < 1e10 {
		// A time of 2001 or later in seconds; in milliseconds it is in the first months of 1970.
		s.send(http.StatusBadRequest, m.Get(wire.HeaderID), fmt.Sprintf("Bad %s: %d looks like seconds, and must be in milliseconds: %d", time, *when, *when*1000))
		return broker.Position{}, false
	}
	id := m.Get(msgID)
	switch {
	case m.Get(group) != "":
		return broker.Position{At: broker.AtGroup, Group: m.Get(group)}, true
	case at != nil:
		return broker.Position{At: broker.AtOffset, Offset: *at, ID: id}, true
	case when != nil:
		return broker.Position{At: broker.AtTime, Time: *when}, true
	case id != "":
		return broker.Position{At: broker.AtMessage, ID: id}, true
	}
	return broker.Position{}, true
}

// query tells about the server, a topic or a group.
func (s *session) query(m *wire.Message) {
	id := m.Get(wire.HeaderID)
	if m.Get(wire.HeaderTopic) == "" {
		s.sendTable(id, serverTable)
		return
	}
	if m.Get(wire.HeaderConsumeGroup) == "" {
		if t := s.topicOf(m); t != nil {
			s.sendJSON(id, s.srv.topicInfo(t, s.lag))
		}
		return
	}
	if g := s.groupOf(m); g != nil {
		s.sendJSON(id, groupInfo(g, s.lag))
	}
}

// remove removes a topic, or one group of it.
func (s *session) remove(m *wire.Message) {
	id, topic, group := m.Get(wire.HeaderID), m.Get(wire.HeaderTopic), m.Get(wire.HeaderConsumeGroup)
	var err error
	switch {
	case topic == "":
		s.send(http.StatusBadRequest, id, "Missing topic")
		return
	case group == "":
		err = s.view().RemoveTopic(s.admin(), topic, "")
	default:
		err = s.view().RemoveGroup(s.admin(), topic, group, "")
	}
	if broker.CodeOf(err) == broker.NotFound && s.elsewhere(m, topic) {
		return
	}
	s.finished(id, err)
}

// empty drops all messages of a topic, or skips all that a group has not had.
func (s *session) empty(m *wire.Message) {
	id := m.Get(wire.HeaderID)
	if m.Get(wire.HeaderConsumeGroup) == "" {
		if t := s.topicOf(m); t != nil {
			s.finished(id, s.view().EmptyTopic(s.admin(), t.Name(), ""))
		}
		return
	}
	if g := s.groupOf(m); g != nil {
		_, err := s.view().Relocate(s.admin(), g, broker.Position{At: broker.AtLatest}, "empty", "")
		s.finished(id, err)
	}
}

// relocate moves a group: to an offset, a time, a message, another group's
// position, or (to: earliest, to: latest) one of the ends.
func (s *session) relocate(m *wire.Message) {
	g := s.groupOf(m)
	if g == nil {
		return
	}
	id := m.Get(wire.HeaderID)
	position, ok := s.positionOf(m, wire.HeaderOffset, wire.HeaderTimestamp, "msgid", "from_group")
	if !ok {
		return
	}
	switch to := m.Get("to"); to {
	case "":
	case "earliest":
		position.At = broker.AtEarliest
	case "latest":
		position.At = broker.AtLatest
	default:
		s.send(http.StatusBadRequest, id, "Bad to: must be earliest or latest; for another position give offset=, timestamp=, msgid= or from_group= instead")
		return
	}
	if _, err := s.view().Relocate(s.admin(), g, position, "relocate", m.Get("reason")); err != nil {
		s.fail(id, err)
		return
	}
	s.sendJSON(id, groupInfo(g, s.lag))
}

func (s *session) finished(id string, err error) {
	if err != nil {
		s.fail(id, err)
		return
	}
	s.send(http.StatusOK, id, now())
}

// certificate hands out the PEM text that clients pin, of this server or of one that has
// joined it.
func (s *session) certificate(m *wire.Message) {
	id, address := m.Get(wire.HeaderID), m.Get(wire.HeaderServer)
	text := ""
	if s.srv.opts.CertPEM != nil {
		text = s.srv.opts.CertPEM()
	}
	if address != "" && address != s.srv.opts.Address {
		text = s.srv.tracker.cluster.CertificateOf(address)
	}
	if text == "" {
		s.send(http.StatusNotFound, id, "Certificate not found")
		return
	}
	s.send(http.StatusOK, id, text)
}
