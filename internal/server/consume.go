package server

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// maxWindow bounds the credit that one consume can give.
const maxWindow = 100_000

// consume asks for one message, or for up to window messages. A later consume
// for the same group replaces an earlier one that still waits.
func (s *session) consume(m *wire.Message) {
	g := s.groupOf(m)
	if g == nil {
		return
	}
	id := m.Get(wire.HeaderID)
	window, ok := s.window(m)
	if !ok {
		return
	}
	timeout, ok := s.param(m, wire.HeaderTimeout, 0, int64(24*time.Hour/time.Millisecond))
	if !ok {
		return
	}
	s.publishPending() // what this client published before is on its way
	c, err := s.subscribe(g)
	if err != nil {
		s.fail(id, err)
		return
	}
	s.mu.Lock()
	c.id = id
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	s.mu.Unlock()
	if !c.sub.SetCredit(id, window) {
		s.groupGone(id, g)
		return
	}
	if s.quitting.Load() { // it gets nothing more, and is closed soon
		c.sub.Quit()
	}
	if timeout != nil {
		s.limit(c, id, time.Duration(*timeout)*time.Millisecond)
	}
}

// limit ends a consume that still waits after some time. It must have its credit by
// then: what the group has not heard of can't be withdrawn, and would wait forever.
func (s *session) limit(c *consumer, id string, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.timer == timer && c.sub.Withdraw(id) { // not a later consume of the same id
			s.send(http.StatusNoContent, id, "")
		}
	})
	c.timer = timer
}

// window is the credit that a consume gives: 1, or what one of the two window
// headers says.
func (s *session) window(m *wire.Message) (int64, bool) {
	n := int64(1)
	for _, name := range []string{wire.HeaderConsumeWindow, wire.HeaderWindow} {
		v, ok := s.param(m, name, 0, maxWindow)
		if !ok {
			return 0, false
		}
		if v != nil {
			n = max(n, *v)
		}
	}
	return n, true
}

// subscribe finds or makes the session's subscription to a group.
func (s *session) subscribe(g *broker.Group) (*consumer, error) {
	s.mu.Lock()
	c := s.subs[g]
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	sub, err := g.Subscribe(s)
	if err != nil {
		return nil, err
	}
	if g.Topic().Calls() {
		s.peer.Provide(s.srv.calls.Service(g.Topic().Name()))
	}
	c = &consumer{sub: sub, by: s.who}
	s.mu.Lock()
	s.subs[g] = c
	s.mu.Unlock()
	// After a change of rights recheck may have looked before this was here.
	if err := s.srv.broker.As(s.who, access.Consume).MayConsume(g); err != nil {
		s.drop(g)
		return nil, err
	}
	return c, nil
}

// drop ends the session's subscription to a group, if it has one.
func (s *session) drop(g *broker.Group) {
	s.mu.Lock()
	c := s.subs[g]
	delete(s.subs, g)
	if c != nil && c.timer != nil {
		c.timer.Stop()
	}
	s.mu.Unlock()
	if c != nil {
		c.sub.Close()
		s.withdraw(g.Topic())
	}
}

// unconsume ends the session's subscription to a group.
func (s *session) unconsume(m *wire.Message) {
	g := s.groupOf(m)
	if g == nil {
		return
	}
	s.drop(g)
	s.send(http.StatusOK, m.Get(wire.HeaderID), now())
}

// ack settles a delivered message, or several. The answer comes when that is on disk.
func (s *session) ack(m *wire.Message) {
	if strings.IndexAny(m.Get(wire.HeaderOffset), ",-") > 0 {
		s.ackAll(m)
		return
	}
	s.settle(m, func(g *broker.Group, offset int64, handle string, done func(error)) {
		g.Ack(offset, handle, done)
	})
}

// nack gives a delivered message back, after an optional delay or for good.
func (s *session) nack(m *wire.Message) {
	delay, ok := s.param(m, wire.HeaderDelay, 0, int64(7*24*time.Hour/time.Millisecond))
	if !ok {
		return
	}
	r := broker.Return{Cause: strings.Clone(m.Get(wire.HeaderReason)), Dead: isTrue(m.Get(wire.HeaderDead))}
	if delay != nil {
		r.Delay = *delay
	}
	s.settle(m, func(g *broker.Group, offset int64, handle string, done func(error)) {
		g.Nack(offset, handle, r, done)
	})
}

// extend has the ack timeout of a delivered message begin anew. The answer is for how long
// that is, in milliseconds.
func (s *session) extend(m *wire.Message) {
	g, offset, handle, ok := s.delivered(m)
	if !ok {
		return
	}
	id := m.Get(wire.HeaderID)
	if err := g.Extend(offset, handle); err != nil {
		s.fail(id, err)
	} else if isAck(m) {
		s.send(http.StatusOK, id, strconv.FormatInt(g.AckTimeout(), 10))
	}
}

// settle reads which delivery is meant, runs f on it and answers when done.
func (s *session) settle(m *wire.Message, f func(*broker.Group, int64, string, func(error))) {
	g, offset, handle, ok := s.delivered(m)
	if !ok {
		return
	}
	id, ack := m.Get(wire.HeaderID), isAck(m)
	s.inflight.add(1)
	f(g, offset, handle, func(err error) {
		switch {
		case err != nil:
			s.fail(id, err)
		case ack:
			s.send(http.StatusOK, id, now())
		}
		s.inflight.add(-1)
	})
}

// delivered reads which delivery a request means, answering when it says nonsense. A
// client that names no handle can mean only what its own connection got.
func (s *session) delivered(m *wire.Message) (g *broker.Group, offset int64, handle string, ok bool) {
	if g = s.groupOf(m); g == nil {
		return nil, 0, "", false
	}
	at, ok := s.param(m, wire.HeaderOffset, 0, math.MaxInt64)
	if !ok {
		return nil, 0, "", false
	}
	id := m.Get(wire.HeaderID)
	if at == nil {
		s.send(http.StatusBadRequest, id, "Missing offset")
		return nil, 0, "", false
	}
	if handle = m.Get(wire.HeaderHandle); handle != "" {
		return g, *at, handle, true
	}
	s.mu.Lock()
	c := s.subs[g]
	s.mu.Unlock()
	err := error(&broker.Error{Code: broker.Invalid, Text: "Missing handle: only the connection that got a message can settle it without"})
	if c != nil {
		handle, err = c.sub.HandleOf(*at)
	}
	if err != nil {
		s.fail(id, err)
		return nil, 0, "", false
	}
	return g, *at, handle, true
}

func statusText(status int) string { return strconv.Itoa(status) }

// appendTime ends a message whose body is a time in milliseconds.
func appendTime(dst []byte, ms int64) []byte {
	var body [20]byte
	return wire.AppendBody(dst, strconv.AppendInt(body[:0], ms, 10))
}
