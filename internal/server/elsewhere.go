package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/forward"
	"github.com/rushmore/zbus-go/internal/wire"
)

// homes is which servers a session was passed on to, by topic: the same ones as long as they
// have it, since acks are for those that have delivered.
type homes map[string]cluster.Address

// mostHomes is how many topics a session remembers that of.
const mostHomes = 1000

func (h *homes) put(topic string, a cluster.Address) {
	if *h == nil || len(*h) >= mostHomes {
		*h = make(homes)
	}
	(*h)[strings.Clone(topic)] = a
}

// elsewhere passes a request on to a server that has the topic, and reports whether it did,
// or answered why it can't. One that was passed on by another server is not passed on again.
func (s *session) elsewhere(m *wire.Message, topic string) bool {
	if _, hopped := m.Lookup(wire.HeaderHop); hopped {
		return false
	}
	id, group, need := m.Get(wire.HeaderID), m.Get(wire.HeaderConsumeGroup), s.srv.verbs[s.command].need
	if group == "" && need == access.Consume {
		group = topic // the default group
	}
	owners, err := forward.Owners(s.srv.broker, s.srv.tracker.cluster, s.who, need, topic, group)
	if err != nil {
		s.fail(id, err)
		return true
	}
	for _, owner := range s.homeFirst(topic, owners) {
		var r *relay
		if r, err = s.relayTo(owner.Address); err == nil {
			err = r.pass(m, s.command, s.credentialToPass(m), s.expects(m, owner.Calls()))
		}
		if err == nil {
			s.homes.put(topic, owner.Address)
			return true
		}
	}
	if len(owners) == 0 {
		return false
	}
	s.fail(id, &broker.Error{Code: broker.Unavailable, Text: fmt.Sprintf("Topic(%s) is on the server %s, which can't be reached: %v", topic, owners[0].Address.Address, err), Err: err})
	return true
}

// groupElsewhere passes the declaration of a group on where another server has its topic. A
// declaration of the topic is for this server: it is how a topic gets to several ones.
func (s *session) groupElsewhere(m *wire.Message, mask *int64) bool {
	topic := m.Get(wire.HeaderTopic)
	return mask == nil && m.Get(wire.HeaderConsumeGroup) != "" && s.elsewhere(m, topic)
}

// homeFirst puts the server first that was chosen before, if it still has the topic. No messages
// go to one that is being drained, if another one takes them.
func (s *session) homeFirst(topic string, owners []cluster.Owner) []cluster.Owner {
	home, known := s.homes[topic]
	if !known {
		return owners
	}
	publishes := s.command == wire.CmdProduce || s.command == wire.CmdRPC
	at := slices.IndexFunc(owners, func(o cluster.Owner) bool {
		return o.Address == home && (!publishes || o.Phase == cluster.Serving)
	})
	if at > 0 {
		owner := owners[at]
		owners = slices.Insert(slices.Delete(owners, at, at+1), 0, owner)
	}
	return owners
}

// credentialToPass is what goes with a request that has no credential of its own, and is made
// by whom the connection belongs to. Where access is off, any server may join, and is given none.
func (s *session) credentialToPass(m *wire.Message) wire.Field {
	if _, value := credentialOf(m); value != "" || !s.srv.access.On() {
		return wire.Field{}
	}
	return s.firstGiven
}

// relayTo is the session's connection to a server.
func (s *session) relayTo(a cluster.Address) (*relay, error) {
	if r := s.relays[a]; r != nil && r.usable() {
		return r, nil
	}
	s.flush() // connecting takes a while
	r, err := s.dialRelay(a)
	if err != nil {
		return nil, err
	}
	if s.relays == nil {
		s.relays = make(map[cluster.Address]*relay)
	}
	if old := s.relays[a]; old != nil {
		<-old.done
	}
	s.relays[a] = r
	return r, nil
}

// expects is what comes back for a request.
func (s *session) expects(m *wire.Message, calls bool) awaited {
	switch s.command {
	case wire.CmdConsume:
		return deliveries
	case wire.CmdRPC:
		return answer
	case wire.CmdProduce:
		if calls {
			return answer
		}
	}
	if s.command != wire.CmdDescribe && !isAck(m) {
		return nothing
	}
	return outcome
}

// routeElsewhere passes an answer to a call on to the servers that this session serves at.
// All but the one that has given it the call drop it.
func (s *session) routeElsewhere(m *wire.Message) (passed bool) {
	for _, r := range s.relays {
		if r.pass(m, wire.CmdRoute, wire.Field{}, nothing) == nil {
			passed = true
		}
	}
	return passed
}
