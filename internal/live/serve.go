package live

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
)

type serveOp struct {
	head
	Topic  string  `json:"topic"`
	Group  *string `json:"group"`
	Window int64   `json:"window"`
}

// servingFrame answers it.
type servingFrame struct {
	Type  string `json:"type"`
	Ref   string `json:"ref,omitempty"`
	Sub   string `json:"sub"`
	Topic string `json:"topic"`
	Group string `json:"group"`
}

// serveCalls begins to take the calls of a service.
func (s *socket) serveCalls(c *call) error {
	var op serveOp
	if err := s.decodeBegin(c, &op, &op.Topic, &op.Window); err != nil {
		return err
	}
	g, err := s.serviceGroup(c.view, &op)
	if err != nil {
		return err
	}
	begun := func(name string) any {
		return servingFrame{Type: "serving", Ref: c.Ref, Sub: name, Topic: g.Topic().Name(), Group: g.Name()}
	}
	return s.consume(g, true, begun, op.Window)
}

// serviceGroup is the group whose calls are wanted. The default one comes into being with
// the first provider.
func (s *socket) serviceGroup(view broker.View, op *serveOp) (*broker.Group, error) {
	t, err := view.Topic(op.Topic)
	if err != nil {
		return nil, err
	}
	if !t.Calls() {
		return nil, fail(broker.Invalid, "Topic(%s) is not for calls: create one of the kind rpc", t.Name())
	}
	if op.Group != nil {
		return view.GroupOf(t, *op.Group)
	}
	g, err := view.GroupOf(t, "")
	if broker.CodeOf(err) == broker.NotFound {
		g, _, err = view.DeclareGroup(s.life, broker.GroupSpec{Topic: t.Name()})
	}
	return g, err
}

// provider is a subscription to a service. It is a broker.Provider.
type provider struct{ *subscription }

// Provides is part of broker.Provider.
func (provider) Provides() {}

// Deliver is part of broker.Sink. What was given is written even when the subscription is
// over by then: no other provider may answer it.
func (p provider) Deliver(b *broker.Batch) {
	calls := make([]*rpc.Call, 0, len(b.Items))
	for i := range b.Items {
		if call, ok := b.Items[i].Call.(*rpc.Call); ok {
			calls = append(calls, call)
		}
	}
	p.socket.peer.Take(b.Sub, calls...)
	if !p.socket.out.put(item{batch: b, sub: p.subscription}) {
		b.Done(0)
	}
}

// withdraw notes that the socket takes no more calls by a subscription that is over.
func (s *socket) withdraw(x *subscription) {
	if !x.serves {
		return
	}
	t := x.sub.Group().Topic()
	s.mu.Lock()
	for _, other := range s.subs {
		if other.serves && other.sub.Group().Topic() == t {
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	s.peer.Withdraw(s.hub.opts.Calls.Service(t.Name()))
}

// requestFrame is one call for a provider.
type requestFrame struct {
	Type   string          `json:"type"`
	Sub    string          `json:"sub"`
	Call   string          `json:"call,omitempty"`
	Method string          `json:"method"`
	Module string          `json:"module,omitempty"`
	Params json.RawMessage `json:"params"`
	Credit string          `json:"credit"`
}

// given is the frame of a call. One that can't be read is answered on the provider's
// behalf, since the words of this protocol have none for it; then there is no frame.
func (x *subscription) given(d *broker.Delivery) (f requestFrame, ok bool) {
	f = requestFrame{Type: "request", Sub: x.name, Credit: decimal(d.Credit), Params: json.RawMessage("[]")}
	call, _ := d.Call.(*rpc.Call)
	if call != nil {
		f.Call = call.Caller() + ":" + call.ID()
	}
	var said struct {
		Method string          `json:"method"`
		Module string          `json:"module"`
		Params json.RawMessage `json:"params"`
	}
	if !utf8.Valid(d.Record.Body) || json.Unmarshal(d.Record.Body, &said) != nil {
		if call != nil {
			_ = x.socket.reply(call.Caller(), call.ID(), answerBody{
				Error: json.RawMessage(`"the provider takes calls that are JSON objects with a method, and this is none"`), Status: http.StatusBadRequest,
			})
		}
		return f, false
	}
	f.Method, f.Module = said.Method, said.Module
	if p := bytes.TrimSpace(said.Params); len(p) > 0 && string(p) != "null" {
		f.Params = p
	}
	return f, true
}

type answerOp struct {
	head
	Sub    string          `json:"sub"`
	Call   string          `json:"call"`
	Result json.RawMessage `json:"result"`
	Error  *callError      `json:"error"`
}

// callError is an error of a service: see zbus.CallError.
type callError struct {
	Message string          `json:"message"`
	Status  *int            `json:"status"`
	Code    string          `json:"code"`
	Data    json.RawMessage `json:"data"`
}

// answerBody is the body of an answer, which clients of all protocols know.
type answerBody struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`
	Status int             `json:"status,omitempty"`
	Code   string          `json:"code,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// answer answers a call that the socket was given.
func (s *socket) answer(c *call) error {
	var op answerOp
	if err := c.decode(&op); err != nil {
		return err
	}
	if err := needed("call", op.Call); err != nil {
		return err
	}
	body, err := op.body()
	if err != nil {
		return err
	}
	from, id, ok := strings.Cut(op.Call, ":")
	if !ok {
		return fail(broker.NotFound, "there is no call %q", broker.Excerpt(op.Call))
	}
	if err := s.reply(from, id, body); err != nil {
		return err
	}
	if c.Ref != "" {
		s.ok(c.Ref)
	}
	return nil
}

func (op *answerOp) body() (body answerBody, err error) {
	if op.Error == nil {
		if body.Result = op.Result; body.Result == nil {
			body.Result = json.RawMessage("null")
		}
		return body, nil
	}
	if op.Result != nil {
		return body, fail(broker.Invalid, "result and error exclude each other: leave out one of them")
	}
	if err := needed("error.message", op.Error.Message); err != nil {
		return body, err
	}
	body = answerBody{Status: http.StatusInternalServerError, Code: op.Error.Code, Data: op.Error.Data}
	if given := op.Error.Status; given != nil {
		if body.Status = *given; body.Status < 400 || body.Status > 599 {
			return body, fail(broker.Invalid, "error.status %s: must be 400 to 599", strconv.Itoa(*given))
		}
	}
	body.Error, err = json.Marshal(op.Error.Message)
	return body, err
}

// reply brings an answer to who asked. It is taken for a call that this socket was given,
// and only while a caller waits for it.
func (s *socket) reply(from, id string, body answerBody) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	calls := s.hub.opts.Calls
	call, verdict := s.peer.Answer(calls.Now(), from, id, body.Status)
	if call == nil {
		calls.Drop(verdict)
		return fail(broker.NotFound, "no caller waits for the answer to that call, or not from this socket: it timed out, was answered, or its caller is gone")
	}
	if to, ok := call.Sink().(rpc.Receiver); ok {
		to.CallAnswered(call, rpc.Answer{Status: http.StatusOK, Failed: body.Status, ContentType: "application/json", Body: raw})
	}
	return nil
}
