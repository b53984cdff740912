package server

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
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
	c := s.srv.tracker.cluster
	if _, hopped := m.Lookup(wire.HeaderHop); hopped || c.Alone() || s.here(topic) {
		return false // a topic that is here and that the client may not see is not elsewhere
	}
	owners := c.Owners(topic)
	if len(owners) == 0 {
		return false
	}
	id := m.Get(wire.HeaderID)
	calls := owners[0].Calls()
	if err := s.mayPassOn(topic, m.Get(wire.HeaderConsumeGroup), calls); err != nil {
		s.fail(id, err)
		return true
	}
	var last error
	for _, owner := range s.choose(topic, owners) {
		r, err := s.relayTo(owner.Address)
		if err == nil {
			err = r.pass(m, s.command, s.credentialToPass(m), s.expects(m, calls))
		}
		if err == nil {
			s.homes.put(topic, owner.Address)
			return true
		}
		last = err
	}
	s.fail(id, &broker.Error{Code: broker.Unavailable, Text: fmt.Sprintf("Topic(%s) is on the server %s, which can't be reached: %v", topic, owners[0].Address.Address, last), Err: last})
	return true
}

// here reports whether this server has a topic, seen by the client or not.
func (s *session) here(topic string) bool {
	_, err := s.srv.broker.System().Topic(topic)
	return err == nil
}

// groupElsewhere passes the declaration of a group on where another server has its topic. A
// declaration of the topic is for this server: it is how a topic gets to several ones.
func (s *session) groupElsewhere(m *wire.Message, mask *int64) bool {
	topic := m.Get(wire.HeaderTopic)
	return mask == nil && m.Get(wire.HeaderConsumeGroup) != "" && s.elsewhere(m, topic)
}

// mayPassOn is why the client may not do with a topic of another server what it asks for. That
// server asks the same, of its own accounts.
func (s *session) mayPassOn(topic, group string, calls bool) error {
	need := s.srv.verbs[s.command].need
	if need == access.Nothing {
		need = access.See // an answer from there would say that there is such a topic
	}
	if group == "" && need == access.Consume {
		group = topic // the default group
	}
	return s.srv.broker.As(s.who, need).CheckElsewhere(topic, group, calls)
}

// choose sorts the servers that have a topic: the one that was chosen before, if it still has
// it; then, for publishers, as [cluster.Cluster.Choose] does. No messages go to one that is
// being drained, if another one takes them.
func (s *session) choose(topic string, owners []cluster.Owner) []cluster.Owner {
	publishes := s.command == wire.CmdProduce || s.command == wire.CmdRPC
	if !publishes { // to consume, too, one goes where it lasts
		owners = slices.Clone(owners)
		sort.SliceStable(owners, func(i, j int) bool { return owners[i].Phase == cluster.Serving && owners[j].Phase != cluster.Serving })
	}
	if publishes {
		owners = s.srv.tracker.cluster.Choose(owners)
	}
	home, known := s.homes[topic]
	again := func(o cluster.Owner) bool {
		return known && o.Address == home && (!publishes || o.Phase == cluster.Serving)
	}
	if at := slices.IndexFunc(owners, again); at > 0 {
		owners = append([]cluster.Owner{owners[at]}, slices.Delete(slices.Clone(owners), at, at+1)...)
	}
	return owners
}

// credentialToPass is what goes with a request that has no credential of its own, and is made
// by whom the connection belongs to.
func (s *session) credentialToPass(m *wire.Message) wire.Field {
	if _, value := credentialOf(m); value != "" {
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
