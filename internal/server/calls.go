package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/wire"
)

// longestCall bounds what a call may name as its timeout: what is more than the
// server allows is cut to that, what is more than this is a mistake.
const longestCall = int64(24 * time.Hour / time.Millisecond)

// callTime is how long a call may take. It reports false, after answering, when the
// request says nonsense.
func (s *session) callTime(m *wire.Message) (time.Duration, bool) {
	ms, ok := s.param(m, wire.HeaderTimeout, 1, longestCall)
	if !ok {
		return 0, false
	}
	asked := time.Duration(0)
	if ms != nil {
		asked = time.Duration(*ms) * time.Millisecond
	}
	return s.srv.calls.Timeout(asked), true
}

// serviceOf is the service behind the topic that the session named last.
func (s *session) serviceOf(t *broker.Topic) *rpc.Service {
	if s.topics.topic != t {
		return s.srv.calls.Service(t.Name())
	}
	if s.topics.service == nil {
		s.topics.service = s.srv.calls.Service(t.Name())
	}
	return s.topics.service
}

// Provides is part of broker.Provider.
func (s *session) Provides() {}

// take notes that the session gets the calls of a batch.
func (s *session) take(b *broker.Batch) {
	var few [32]*rpc.Call // on the stack
	calls := few[:0]
	for i := range b.Items {
		if call, ok := b.Items[i].Call.(*rpc.Call); ok {
			calls = append(calls, call)
		}
	}
	s.peer.Take(b.Sub, calls...)
}

// withdraw notes that the session takes no more calls to a topic, if it does so in no
// other group of it.
func (s *session) withdraw(t *broker.Topic) {
	s.mu.Lock()
	for g := range s.subs {
		if g.Topic() == t {
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	if t.Calls() {
		s.peer.Withdraw(s.srv.calls.Service(t.Name()))
	}
}

// CallFailed is part of rpc.Sink.
func (s *session) CallFailed(c *rpc.Call, o rpc.Outcome) {
	s.fail(c.ID(), caller.Failure(c, o))
}

// CallAnswered is part of rpc.Receiver: a provider that is no session has answered.
func (s *session) CallAnswered(c *rpc.Call, a rpc.Answer) {
	dst := wire.AppendStatus(make([]byte, 0, 256+len(a.Body)), a.Status)
	dst = wire.AppendField(dst, wire.HeaderID, c.ID())
	dst = wire.AppendField(dst, wire.HeaderSender, c.Provider())
	if s.http10.Load() && s.stopAt.Load() == nil {
		dst = append(dst, "connection: keep-alive\r\n"...)
	}
	dst = wire.AppendField(dst, wire.HeaderContentType, a.ContentType)
	if a.Failed != 0 {
		dst = wire.AppendField(dst, wire.HeaderErrorStatus, statusText(a.Failed))
	}
	s.out.push(item{raw: wire.AppendBody(dst, a.Body), id: c.ID()})
}

// route brings an answer to who asked. The answer to a call is only taken from
// the provider that got the call, and only while the caller waits for it.
func (s *session) route(m *wire.Message) {
	status := http.StatusOK
	if n := toldStatus(m.Get(wire.HeaderOriginStatus)); n >= 200 {
		status = n
	} else if m.Status >= 200 && m.Status <= 599 {
		status = m.Status
	}
	failed := 0
	if n := toldStatus(m.Get(wire.HeaderErrorStatus)); n >= 400 {
		failed = n
	} else if status >= 400 {
		failed = status
	}
	id := m.Get(wire.HeaderID)
	call, verdict := s.peer.Answer(s.now, m.Get(wire.HeaderRecver), id, failed)
	if call == nil {
		if target := s.correspondent(m, verdict); target != nil {
			s.bring(target, m, strings.Clone(id), status) // m is borrowed
			return
		}
		if !s.routeElsewhere(m) {
			s.srv.calls.Drop(verdict)
		}
		return
	}
	switch to := call.Sink().(type) {
	case *session:
		s.bring(to, m, call.ID(), status)
	case rpc.Receiver:
		to.CallAnswered(call, rpc.Answer{
			Status: status, Failed: failed, ContentType: strings.Clone(m.Get(wire.HeaderContentType)), Body: slices.Clone(m.Body),
		})
	}
}

// toldStatus is the status that a header has; 0 for none. Most answers have no such header, and
// an error of each would cost allocations.
func toldStatus(text string) int {
	if text == "" {
		return 0
	}
	if n, err := strconv.Atoi(text); err == nil && n <= 599 {
		return n
	}
	return 0
}

// correspondent is who an answer goes to that answers no call but a stored one, which
// this session was given.
func (s *session) correspondent(m *wire.Message, verdict rpc.Verdict) *session {
	if verdict == rpc.Foreign || !s.replies.take(m.Get(wire.HeaderRecver), m.Get(wire.HeaderID)) {
		return nil
	}
	return s.srv.session(m.Get(wire.HeaderRecver))
}

// bring queues an answer for a session. The next flush sends it.
func (s *session) bring(target *session, m *wire.Message, id string, status int) {
	dst := wire.AppendStatus(make([]byte, 0, 256+len(m.Body)), status)
	dst = wire.AppendField(dst, wire.HeaderID, id)
	dst = wire.AppendField(dst, wire.HeaderSender, s.id)
	if target.http10.Load() && target.stopAt.Load() == nil {
		dst = append(dst, "connection: keep-alive\r\n"...)
	}
	for _, f := range m.Fields {
		if f.Name == wire.HeaderTopic || f.Name == wire.HeaderTag || !wire.Private(f.Name) {
			dst = wire.AppendField(dst, f.Name, f.Value)
		}
	}
	if target.out.put(item{raw: wire.AppendBody(dst, m.Body), id: id}) && !slices.Contains(s.touched, target) {
		s.touched = append(s.touched, target)
	}
}
