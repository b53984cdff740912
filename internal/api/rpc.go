package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/problem"
)

// answered is the answer to a call.
type answered struct{ *caller.Answer }

// timing says how long what took, as browsers show it.
func (a *answered) timing() string {
	return fmt.Sprintf("queue;dur=%.3f, provider;dur=%.3f", apiconv.Milliseconds(a.Queue), apiconv.Milliseconds(a.Provider))
}

// call makes a call with a body of JSON and waits for its answer. name is for the
// figures; the provider reads the body alone.
func (h *handler) call(ctx context.Context, topic, name string, body []byte, timeout *int64) (*answered, error) {
	t, err := h.view(ctx).Topic(topic)
	if err != nil {
		return nil, err
	}
	asked, err := apiconv.ParseTimeout(timeout)
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

// CallService calls with a body that is passed as it is, and so is the answer.
func (h *handler) CallService(ctx context.Context, r CallServiceRequestObject) (CallServiceResponseObject, error) {
	var said struct{ Method, Module string }
	if r.Body == nil || json.Unmarshal(*r.Body, &said) != nil {
		return nil, problem.Invalid("the body must be an object with a method, such as {\"method\":\"plus\",\"params\":[1,2]}")
	}
	a, err := h.call(ctx, r.Topic, apiconv.MethodName(said.Module, said.Method), *r.Body, r.Params.Timeout)
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
	module := apiconv.Or(r.Params.Module, "")
	var params json.RawMessage
	if r.Body != nil {
		params = json.RawMessage(*r.Body)
	}
	body, err := apiconv.CallBody(r.Method, module, params)
	if err != nil {
		return nil, err
	}
	a, err := h.call(ctx, r.Topic, apiconv.MethodName(module, r.Method), body, r.Params.Timeout)
	if err != nil {
		return nil, err
	}
	result, err := apiconv.CallResult(a.Answer.Answer)
	if err != nil {
		return nil, err
	}
	timing := a.timing()
	return CallMethod200JSONResponse{Body: result, Headers: CallMethod200ResponseHeaders{ServerTiming: &timing}}, nil
}
