package live

import (
	"encoding/json"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// maxCalls is how many calls of one socket may be under way.
const maxCalls = 1000

type callOp struct {
	head
	Topic   string          `json:"topic"`
	Method  string          `json:"method"`
	Module  string          `json:"module"`
	Params  json.RawMessage `json:"params"`
	Timeout *int64          `json:"timeout"`
}

// call calls a method of a service. Its one outcome is the answer to the frame.
func (s *socket) call(c *call) error {
	var op callOp
	if err := c.decode(&op); err != nil {
		return err
	}
	for name, value := range map[string]string{"ref": op.Ref, "topic": op.Topic, "method": op.Method} {
		if err := needed(name, value); err != nil {
			return err
		}
	}
	timeout, err := apiconv.ParseTimeout(op.Timeout)
	if err != nil {
		return err
	}
	t, err := c.view.Topic(op.Topic)
	if err != nil {
		return err
	}
	body, err := apiconv.CallBody(op.Method, op.Module, op.Params)
	if err != nil {
		return err
	}
	id, err := s.begin(op.Ref)
	if err != nil {
		return err
	}
	err = s.hub.calls().Ask(&s.peer, id, caller.Request{
		Topic: t, Name: apiconv.MethodName(op.Module, op.Method), ContentType: "application/json", Body: body,
		Timeout: timeout, Actor: s.remote, Quota: s.who.Quota(),
	})
	if err != nil {
		s.endCall(id)
	}
	return err
}

// begin notes a call that is about to be made.
func (s *socket) begin(ref string) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) >= maxCalls {
		return "", fail(broker.Quota, "%d calls of this socket are under way, which is the most: wait for answers", maxCalls)
	}
	id = caller.NewID()
	s.calls[id] = ref
	return id, nil
}

// endCall forgets a call that is over, and says by which name the client knows it.
func (s *socket) endCall(id string) (ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref = s.calls[id]
	delete(s.calls, id)
	return ref
}

// CallFailed is part of rpc.Sink.
func (s *socket) CallFailed(c *rpc.Call, o rpc.Outcome) {
	s.outcome(&outcome{socket: s, ref: s.endCall(c.ID()), err: caller.Failure(c, o)})
}

// CallAnswered is part of rpc.Receiver.
func (s *socket) CallAnswered(c *rpc.Call, a rpc.Answer) {
	s.outcome(&outcome{socket: s, ref: s.endCall(c.ID()), answer: a})
}

func (s *socket) outcome(o *outcome) { s.out.put(item{answer: o, cost: o.cost()}) }

// outcome is what became of a call. It is an answer.
type outcome struct {
	socket *socket
	ref    string
	answer rpc.Answer
	err    error
}

// resultFrame is its frame.
type resultFrame struct {
	Type   string          `json:"type"`
	Ref    string          `json:"ref"`
	Result json.RawMessage `json:"result"`
}

func (o *outcome) cost() int64 { return int64(len(o.answer.Body)) + 128 }

func (o *outcome) frame() any {
	err := o.err
	if err == nil {
		var result json.RawMessage
		if result, err = apiconv.CallResult(o.answer); err == nil {
			return resultFrame{"result", o.ref, result}
		}
	}
	return o.socket.problemOf(o.ref, err)
}

// calls makes calls.
func (h *Hub) calls() *caller.Caller {
	return &caller.Caller{Broker: h.opts.Broker, Calls: h.opts.Calls}
}

var _ rpc.Receiver = (*socket)(nil)
