package zbus

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Response is the answer of a provider.
type Response struct {
	Body []byte // the response's own
	m    *wire.Message
}

// Header returns the value of a header of the answer, or "". The name is in lower
// case.
func (r *Response) Header(name string) string { return r.m.Get(name) }

// Request sends a message to a provider of a topic that carries calls and returns
// what that answers, whatever it is made of: a server does not look into it.
//
// A request is never sent twice. ErrUnavailable says that no provider is there and
// nothing was run, ErrNotFound that there is no such topic, ErrTimeout that there was
// no answer in time, ErrUnknownOutcome that the provider or the connection was lost.
// The provider may have run it in the last two cases. An error that the provider
// answers is a [*CallError]. The deadline of ctx is told to the server; without one the
// server has its own limit. A topic that stores messages refuses calls with ErrInvalid. Of several
// servers another one is asked where it is certain that nothing was run.
func (c *Client) Request(ctx context.Context, topic string, m Message) (*Response, error) {
	return c.request(ctx, "request", topic, "", m)
}

// request is Request; method may be empty.
func (c *Client) request(ctx context.Context, op, topic, method string, m Message) (*Response, error) {
	if c.set != nil {
		return c.set.request(ctx, op, topic, method, m)
	}
	call := around(c.opts.Middleware).call(func(ctx context.Context, topic, method string, m *Message) (*Response, error) {
		return c.exchange(ctx, op, topic, method, m)
	})
	return call(ctx, topic, method, &m)
}

// exchange sends a request and waits for its answer. An error in the answer that the provider says
// is one is an error here.
func (c *Client) exchange(ctx context.Context, op, topic, method string, m *Message) (*Response, error) {
	if err := m.check(op, topic); err != nil {
		return nil, err
	}
	r := c.newRequest(classRequest, lossUnknown)
	c.do(ctx, r, wire.CmdProduce, func(w *frameWriter) {
		w.dst = append(w.dst, "ack: false\r\n"...)
		if deadline, ok := ctx.Deadline(); ok {
			w.int(wire.HeaderTimeout, max(1, time.Until(deadline).Milliseconds()))
		}
		w.field(wire.HeaderRPCMethod, method) // also "": a topic that stores messages refuses calls
		w.message(topic, m)
		w.body(m.Body)
	})
	reply, status, err := r.reply, r.status, r.err(op, topic)
	c.recycle(r)
	provided := reply != nil && reply.Get(wire.HeaderSender) != ""
	if err != nil && !provided {
		return nil, err
	}
	target := topic
	if method != "" {
		target += "/" + method
	}
	if status >= 400 {
		return nil, failedAnswer(target, status, reply.Body)
	}
	if failed := number(reply.Get(wire.HeaderErrorStatus), 0); failed >= 400 && op == "call" {
		return nil, failedAnswer(target, int(failed), reply.Body)
	}
	return &Response{Body: reply.Body, m: reply}, nil
}

// Call calls a method of a service with parameters that become JSON, and decodes its
// result into result, a pointer, unless that is nil. An error that the
// provider answers is a [*CallError]; for the rest see [Client.Request].
func (c *Client) Call(ctx context.Context, topic, method string, result any, params ...any) error {
	return call(ctx, c, topic, method, result, params)
}

func call(ctx context.Context, c *Client, topic, method string, result any, params []any) error {
	op, target := "call", topic+"/"+method
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(callJSON{Method: method, Params: params})
	if err != nil {
		return invalid(op, target, "parameters: %v", err)
	}
	resp, err := c.request(ctx, op, topic, method, Message{Headers: jsonHeaders, Body: body})
	if err != nil {
		return err
	}
	var answer answerJSON
	if err := unmarshal(resp.Body, &answer); err != nil {
		f := failure{text: "the answer is not JSON with a result or an error", kinds: []error{ErrInternal}, cause: err}
		return f.error(op, target)
	}
	if !isFalsy(answer.Error) {
		return decodeCallError(target, 0, &answer)
	}
	if result == nil || len(answer.Result) == 0 {
		return nil
	}
	if err := unmarshal(answer.Result, result); err != nil {
		f := failure{text: "the result is not what was expected", kinds: []error{ErrInvalid}, cause: err}
		return f.error(op, target)
	}
	return nil
}

// callJSON is the body of a call, which clients in all languages use.
type callJSON struct {
	Method string `json:"method"`
	Params []any  `json:"params"`
}

// isFalsy reports whether a member means that there is no error: clients in several
// languages send it always.
func isFalsy(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", "false", `""`, "0":
		return true
	}
	return false
}

// unmarshal is json.Unmarshal that also takes what Java clients write: numbers with
// the suffix of their type, such as 2L.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	if plain := withoutSuffixes(data); plain != nil && json.Unmarshal(plain, v) == nil {
		return nil
	}
	return err
}

// withoutSuffixes takes the letters behind numbers away, and returns nil if there are
// none.
func withoutSuffixes(data []byte) []byte {
	if json.Valid(data) {
		return nil
	}
	var out []byte
	inString, last := false, 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case c == '\\' && inString:
			i++
		case !inString && bytes.IndexByte([]byte("LDFSB"), c) >= 0 && i > 0 && (isDigit(data[i-1]) || data[i-1] == '.'):
			out = append(out, data[last:i]...)
			last = i + 1
		}
	}
	if last == 0 {
		return nil
	}
	return append(out, data[last:]...)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
