package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/forward"
)

// kinds is the table from the broker's error codes to this transport's.
var kinds = map[broker.Code]struct {
	code   apimodel.ProblemCode
	status int
}{
	broker.Internal:     {"internal", http.StatusInternalServerError},
	broker.Invalid:      {"invalid", http.StatusBadRequest},
	broker.NotFound:     {"not_found", http.StatusNotFound},
	broker.Exists:       {"exists", http.StatusConflict},
	broker.Conflict:     {"conflict", http.StatusConflict},
	broker.Stale:        {"precondition_failed", http.StatusPreconditionFailed},
	broker.Unauthorized: {"unauthorized", http.StatusUnauthorized},
	broker.Forbidden:    {"forbidden", http.StatusForbidden},
	broker.TooLarge:     {"too_large", http.StatusRequestEntityTooLarge},
	broker.Quota:        {"quota", http.StatusTooManyRequests},
	broker.Unavailable:  {"unavailable", http.StatusServiceUnavailable},
	// Not 503, nor 502 or 504: what repeats requests on its own takes those for "not
	// done", and would store a message without an id twice.
	broker.Unknown:      {"unknown", http.StatusInternalServerError},
	broker.Timeout:      {"timeout", http.StatusGatewayTimeout},
	broker.ProviderGone: {"provider_gone", http.StatusBadGateway},
	broker.Full:         {"full", http.StatusInsufficientStorage},
}

// Invalid is an error of the request, with a text for the client.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func Invalid(format string, args ...any) error {
	return &broker.Error{Code: broker.Invalid, Text: fmt.Sprintf(format, args...)}
}

// Error is an error that has a status of its own: the broker has no code for it.
type Error struct {
	Code   apimodel.ProblemCode
	Status int
	Text   string           // for the client
	Allow  []string         // of 405: the methods that are possible
	Raw    *json.RawMessage // the error as a service has answered it
	Err    error            // the cause; may be nil
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Detailed is an error whose problem has more than a code and a text.
type Detailed struct {
	Err    error
	Stored *apimodel.Count          // messages that were stored before it happened
	Failed []apimodel.HandleFailure // deliveries that could not be settled
	Plan   *apimodel.Plan           // the one that would be applied now
}

func (d *Detailed) Error() string { return d.Err.Error() }

// Unwrap gives the error.
func (d *Detailed) Unwrap() error { return d.Err }

// Of is the problem document for an error. It says nothing of what is inside
// the broker.
func Of(err error) apimodel.Problem {
	kind := kinds[broker.CodeOf(err)]
	detail := broker.TextOf(err)
	var own *Error
	var elsewhere *forward.Misdirected
	switch {
	case errors.As(err, &own):
		kind.code, kind.status, detail = own.Code, own.Status, own.Text
	case errors.As(err, &elsewhere):
		kind.code, kind.status, detail = "forbidden", http.StatusMisdirectedRequest, elsewhere.Text
	}
	p := apimodel.Problem{Type: "about:blank", Title: http.StatusText(kind.status), Status: kind.status, Code: kind.code, Detail: &detail}
	if own != nil {
		p.Error = own.Raw
	}
	if moved := (*broker.Moved)(nil); errors.As(err, &moved) {
		p.Servers = &moved.Servers
	}
	if denied := (*access.Denied)(nil); errors.As(err, &denied) && denied.Missing != "" {
		p.Missing = &denied.Missing
	}
	var d *Detailed
	if errors.As(err, &d) {
		p.Stored, p.Plan = d.Stored, d.Plan
		if len(d.Failed) > 0 {
			p.Failed = &d.Failed
		}
	}
	return p
}

// Write answers a request with a problem.
func Write(w http.ResponseWriter, p apimodel.Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		http.Error(w, "Internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// ForeignOrigin is the error of a page of another site.
func ForeignOrigin() error {
	return &broker.Error{Code: broker.Forbidden, Text: "this page is of another origin: start the broker with --allow-origin to let it in"}
}
