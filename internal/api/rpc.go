package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/rpc"
)

// answered is the answer to a call.
type answered struct{ *caller.Answer }

// timing says how long what took, as browsers show it.
func (a *answered) timing() string {
	return fmt.Sprintf("queue;dur=%.3f, provider;dur=%.3f", ms(a.Queue), ms(a.Provider))
}

// call makes a call with a body of JSON and waits for its answer. name is for the
// figures; the provider reads the body alone.
func (h *handler) call(ctx context.Context, topic, name string, body []byte, timeout *int64) (*answered, error) {
	t, err := h.view(ctx).Topic(topic)
	if err != nil {
		return nil, err
	}
	asked, err := CallTime(timeout)
	if err != nil {
		return nil, err
	}
	a, err := h.Caller.Call(ctx, caller.Request{
		Topic: t, Name: name, ContentType: "application/json", Body: body, Timeout: asked, Quota: access.From(ctx).Quota(),
	})
	if err != nil {
		return nil, err
	}
	return &answered{a}, nil
}

// CallTime reads how long a call may take; nil is the default.
func CallTime(ms *int64) (time.Duration, error) {
	if ms == nil {
		return 0, nil
	}
	if *ms < 1 || *ms > 24*3600*1000 {
		return 0, invalid("timeout %d: must be milliseconds from 1 to a day", *ms)
	}
	return time.Duration(*ms) * time.Millisecond, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// CallService calls with a body that is passed as it is, and so is the answer.
func (h *handler) CallService(ctx context.Context, r CallServiceRequestObject) (CallServiceResponseObject, error) {
	var said struct{ Method, Module string }
	if r.Body == nil || json.Unmarshal(*r.Body, &said) != nil {
		return nil, invalid("the body must be an object with a method, such as {\"method\":\"plus\",\"params\":[1,2]}")
	}
	a, err := h.call(ctx, r.Topic, NameOfMethod(said.Module, said.Method), *r.Body, r.Params.Timeout)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// VisitCallServiceResponse writes what the provider has answered. A browser must not
// take it for a page of this server.
func (a *answered) VisitCallServiceResponse(w http.ResponseWriter) error {
	kind := a.ContentType
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Security-Policy", "sandbox")
	w.Header().Set("Server-Timing", a.timing())
	w.WriteHeader(a.status())
	_, _ = w.Write(a.Body) // the status is sent: there is nothing more to say
	return nil
}

// status is that of the answer, or of the error in it, which clients of the native
// protocol look for in the body.
func (a *answered) status() int {
	if a.Failed != 0 {
		return a.Failed
	}
	return a.Status
}

// CallMethod calls a method with parameters, and answers with the bare result.
func (h *handler) CallMethod(ctx context.Context, r CallMethodRequestObject) (CallMethodResponseObject, error) {
	module := or(r.Params.Module, "")
	var params json.RawMessage
	if r.Body != nil {
		params = json.RawMessage(*r.Body)
	}
	body, err := CallBody(r.Method, module, params)
	if err != nil {
		return nil, err
	}
	a, err := h.call(ctx, r.Topic, NameOfMethod(module, r.Method), body, r.Params.Timeout)
	if err != nil {
		return nil, err
	}
	result, err := ResultOfCall(a.Answer.Answer)
	if err != nil {
		return nil, err
	}
	timing := a.timing()
	return CallMethod200JSONResponse{Body: result, Headers: CallMethod200ResponseHeaders{ServerTiming: &timing}}, nil
}

// CallBody is the body of a call of a method. The parameters are an array, or an object,
// which is then the only one; nothing is no parameters.
func CallBody(method, module string, params json.RawMessage) ([]byte, error) {
	request := struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
		Module string          `json:"module,omitempty"`
	}{method, json.RawMessage("[]"), module}
	if raw := bytes.TrimSpace(params); len(raw) > 0 {
		switch raw[0] {
		case '[':
			request.Params = raw
		case '{':
			request.Params = slicesConcat("[", raw, "]")
		default:
			return nil, invalid("a call takes an array of parameters, or an object that is the only one")
		}
	}
	return json.Marshal(request)
}

func slicesConcat(before string, raw []byte, after string) []byte {
	return append(append([]byte(before), raw...), after...)
}

// NameOfMethod is how a method is called in the figures.
func NameOfMethod(module, method string) string {
	if module == "" {
		return method
	}
	return module + "." + method
}

// failedCall is an answer that is no result.
type failedCall struct {
	code   ProblemCode
	status int
	text   string
	raw    *json.RawMessage // the error as it was answered
}

func (e *failedCall) Error() string { return e.text }

// ResultOfCall takes the result out of an answer: the member that clients of the
// native protocol put it into, or all of it.
func ResultOfCall(a rpc.Answer) (json.RawMessage, error) {
	body := bytes.TrimSpace(a.Body)
	valid := json.Valid(body) && utf8.Valid(body)
	members := map[string]json.RawMessage{}
	isObject := valid && json.Unmarshal(body, &members) == nil
	fault, hasError := members["error"]
	hasError = hasError && !falsy(fault)
	switch {
	case hasError:
		return nil, &failedCall{code: "call_failed", status: statusOfFault(a), text: faultText(fault), raw: faultJSON(fault, members)}
	case a.Failed != 0:
		e := &failedCall{code: "call_failed", status: a.Failed, text: fmt.Sprintf("the service answered with status %d: %s", a.Failed, broker.Excerpt(string(body)))}
		if valid {
			e.raw = (*json.RawMessage)(&body)
		}
		return nil, e
	case len(body) == 0:
		return json.RawMessage("null"), nil
	case !valid:
		return nil, &failedCall{code: "bad_answer", status: http.StatusBadGateway, text: "the service answered something that is not JSON: " + broker.Excerpt(string(body)) + "; a call without the method in its path brings it as it is"}
	}
	if result, ok := members["result"]; isObject && ok {
		return result, nil
	}
	if _, ok := members["error"]; isObject && ok {
		return json.RawMessage("null"), nil
	}
	return body, nil
}

// statusOfFault is the status of an error that a service has answered.
func statusOfFault(a rpc.Answer) int {
	if a.Failed != 0 {
		return a.Failed
	}
	return http.StatusInternalServerError
}

// faultJSON is an error as it was answered. Where it has a code or data, which stand beside
// it, it is an object with these.
func faultJSON(fault json.RawMessage, members map[string]json.RawMessage) *json.RawMessage {
	if members["code"] == nil && members["data"] == nil {
		return &fault
	}
	object, err := json.Marshal(struct {
		Message json.RawMessage `json:"message"`
		Code    json.RawMessage `json:"code,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{fault, members["code"], members["data"]})
	if err != nil { // all three were read before
		return &fault
	}
	return (*json.RawMessage)(&object)
}

// falsy reports whether a value means that there is no error, as clients see it.
func falsy(raw json.RawMessage) bool {
	switch string(raw) {
	case "null", "false", "0", `""`:
		return true
	}
	return false
}

// faultText is what an error says, for people.
func faultText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct{ Message string }
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return object.Message
	}
	return "the service answered with the error " + broker.Excerpt(string(raw))
}
