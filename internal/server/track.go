package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/wire"
)

// trackerInfo answers the tracker command. A tracker that was just started waits for its
// members first.
func (s *session) trackerInfo(m *wire.Message) {
	select {
	case <-s.srv.tracker.cluster.Settled():
	case <-s.life.Done():
	}
	s.sendTable(m.Get(wire.HeaderID), trackerTable)
}

// serverInfo answers the server command.
func (s *session) serverInfo(m *wire.Message) {
	s.sendTable(m.Get(wire.HeaderID), serverTable)
}

// trackSub sends the table now and after every change. The reply goes before the
// first push, so a change between the two is looked for.
func (s *session) trackSub(m *wire.Message) {
	id, t := m.Get(wire.HeaderID), s.srv.tracker
	sub := subscriber{Caller: s.who, kind: trackerTable}
	if m.Get(wire.HeaderScope) == "all" {
		sub.kind = membersTable
	}
	if !t.settled() {
		sub.id = strings.Clone(id)
		t.subscribe(s, sub)
		t.again() // it may have settled in between
		return
	}
	tab, err := t.tables.get(sub.kind, s.who)
	if err != nil {
		s.fail(id, err)
		return
	}
	seen := tab.seen
	sub.told = tab.told
	s.pushTable(item{raw: pushed(id), id: id, table: tab})
	t.subscribe(s, sub)
	if t.state(trackerTable) != seen {
		t.changed() // others may have been shown the change already
	}
}

// trackPub is how another server tells of itself, when it joins, when something changes there
// and when it leaves.
func (s *session) trackPub(m *wire.Message) {
	proof := m.Get(wire.HeaderProof)
	err := s.srv.tracker.cluster.Accept(s.life, s.remote, proof, m.Body)
	if err == nil {
		proof = strings.Clone(proof)
		s.joined.Store(&proof)
	}
	if !isAck(m) {
		return
	}
	id := m.Get(wire.HeaderID)
	var no *cluster.Refusal
	switch {
	case err == nil:
		s.send(http.StatusOK, id, now())
	case errors.As(err, &no) && !no.Busy:
		s.send(http.StatusBadRequest, id, "Bad track_pub: "+no.Text)
	default:
		s.send(http.StatusServiceUnavailable, id, err.Error())
	}
}

// trackProbe is how another server finds out who this one is, and then now and then what it does.
func (s *session) trackProbe(m *wire.Message) {
	c := s.srv.tracker.cluster
	if c == nil {
		s.send(http.StatusNotFound, m.Get(wire.HeaderID), "This server works by itself")
		return
	}
	if tracker := m.Get(wire.HeaderTracker); tracker != "" {
		c.Knocked(tracker)
	}
	join := s.who.Allows(access.Join, "", "")
	s.sendJSON(m.Get(wire.HeaderID), c.Identity(m.Get(wire.HeaderProof), join, m.Get(wire.HeaderScope) == "all"))
}
