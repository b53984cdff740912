package api

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/closest"
	"github.com/rushmore/zbus-go/internal/forward"
	"github.com/rushmore/zbus-go/internal/wire"
)

// kinds is the table from the broker's error codes to this transport's.
var kinds = map[broker.Code]struct {
	code   ProblemCode
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

// invalid is an error of the request, with a text for the client.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func invalid(format string, args ...any) error {
	return &broker.Error{Code: broker.Invalid, Text: fmt.Sprintf(format, args...)}
}

// wrongMethod and misdirected have statuses of their own.
type (
	wrongMethod struct {
		text    string
		allowed []string // methods
		err     error    // what it is besides; nil: an invalid request
	}
	misdirected struct{ text string }
)

func (e *wrongMethod) Error() string { return e.text }
func (e *misdirected) Error() string { return e.text }

func (e *wrongMethod) Unwrap() error { return e.err }

// detailed is an error whose problem has more than a code and a text.
type detailed struct {
	error
	stored *Count
	failed []HandleFailure
	plan   *Plan
}

func (d *detailed) Unwrap() error { return d.error }

// ProblemOf is the problem document for an error. It says nothing of what is inside
// the broker.
func ProblemOf(err error) Problem {
	kind := kinds[broker.CodeOf(err)]
	var method *wrongMethod
	var host *misdirected
	var elsewhere *forward.Misdirected
	var media *wrongMedia
	var call *failedCall
	detail := broker.TextOf(err)
	switch {
	case errors.As(err, &method):
		if kind.status, detail = http.StatusMethodNotAllowed, method.text; method.err == nil {
			kind.code = "invalid"
		}
	case errors.As(err, &elsewhere):
		kind.code, kind.status, detail = "forbidden", http.StatusMisdirectedRequest, elsewhere.Text
	case errors.As(err, &host):
		kind.code, kind.status, detail = "forbidden", http.StatusMisdirectedRequest, host.text
	case errors.As(err, &media):
		kind.code, kind.status, detail = "invalid", http.StatusUnsupportedMediaType, media.text
	case errors.As(err, &call):
		kind.code, kind.status, detail = call.code, call.status, call.text
	}
	p := Problem{Type: "about:blank", Title: http.StatusText(kind.status), Status: kind.status, Code: kind.code, Detail: &detail}
	if call != nil {
		p.Error = call.raw
	}
	if moved := (*broker.Moved)(nil); errors.As(err, &moved) {
		p.Servers = &moved.Servers
	}
	if denied := (*access.Denied)(nil); errors.As(err, &denied) {
		p.Missing = optional(denied.Missing)
	}
	var d *detailed
	if errors.As(err, &d) {
		p.Stored, p.Plan = d.stored, d.plan
		if len(d.failed) > 0 {
			p.Failed = &d.failed
		}
	}
	return p
}

// problem answers a request with a problem document.
func (h *handler) problem(w http.ResponseWriter, req *http.Request, err error) {
	err = h.misread(req, err)
	p := ProblemOf(err)
	if p.Code == "internal" && req.Context().Err() == nil {
		h.Log.Error("request failed", "method", req.Method, "path", req.URL.Path, "remote", req.RemoteAddr, "err", err)
	}
	var method *wrongMethod
	if errors.As(err, &method) {
		w.Header().Set("Allow", strings.Join(withHead(method.allowed, req.URL.Path), ", "))
	}
	if wait := access.RetryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	} else if p.Servers != nil {
		w.Header().Set("Retry-After", "1")
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	WriteProblem(w, p)
}

// WriteProblem answers a request with a problem.
func WriteProblem(w http.ResponseWriter, p Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		http.Error(w, "Internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// badRequest answers what could not be decoded.
func (h *handler) badRequest(w http.ResponseWriter, req *http.Request, err error) {
	h.problem(w, req, explain(err))
}

// Decode reads a JSON document that must hold one value, with no members that the
// contract does not have. An error says what is wrong and is for the client; what is
// the document's name in it, such as "the body".
func Decode(what string, raw []byte, v any) error {
	if err := exact(what, raw); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = invalid("%s has data after its JSON document", what)
	}
	if err == nil {
		return nil
	}
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name, _ := strconv.Unquote(quoted)
		return unknownMember("", name, membersOf(reflect.TypeOf(v), nil))
	}
	return Explain(what, located(raw, v, err))
}

// located puts the place into an error about bytes that are not base64, which
// encoding/json leaves out.
func located(raw []byte, v any, err error) error {
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) {
		return cmp.Or(badBytes(raw, reflect.TypeOf(v).Elem()), err)
	}
	return err
}

// unknownMember refuses a member of an object, with the one of its known members that
// was probably meant. where begins the text.
func unknownMember(where, name string, known []string) error {
	return invalid("%sunknown member %q%s", where, broker.Excerpt(name), closest.Hint(name, "%q", known))
}

// membersOf adds to all the names of the members of a document of type t, those of
// objects within it as well: encoding/json does not say which one it is in.
func membersOf(t reflect.Type, all []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshaler) {
		return all
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			all = append(all, name)
		}
		all = membersOf(f.Type, all)
	}
	return all
}

// explain says what is wrong with a body or a parameter.
func explain(err error) error { return Explain("the body", err) }

// Explain says, in the words of a client, what is wrong with a JSON document that
// could not be decoded. what is the document's name.
func Explain(what string, err error) error {
	var e *broker.Error
	tooLong := (*http.MaxBytesError)(nil)
	wrong := (*json.UnmarshalTypeError)(nil)
	syntax := (*json.SyntaxError)(nil)
	param := (*InvalidParamFormatError)(nil)
	missing := (*RequiredParamError)(nil)
	switch {
	case errors.As(err, &e):
		return err
	case errors.As(err, &tooLong):
		return &broker.Error{Code: broker.TooLarge, Text: fmt.Sprintf("%s is larger than %d bytes", what, tooLong.Limit)}
	case errors.As(err, &wrong):
		where := what
		if wrong.Field != "" {
			where = "the member " + wrong.Field
		}
		return invalid("%s can't be a JSON %s%s", where, wrong.Value, wanted(wrong.Type))
	case errors.As(err, &syntax):
		return invalid("%s is not JSON: %s at byte %d", what, syntax.Error(), syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("%s is not JSON: it ends in the middle", what)
	case errors.Is(err, io.EOF):
		return invalid("%s is empty: it must be a JSON document", what)
	case errors.As(err, &param):
		return invalid("invalid parameter %s: %v", param.ParamName, param.Err)
	case errors.As(err, &missing):
		return invalid("the parameter %s is missing", missing.ParamName)
	}
	return invalid("%v", err)
}

// wanted is what a value of a type is in JSON, for the end of a complaint.
func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	switch t.Kind() {
	case reflect.Bool:
		return ": it must be true or false"
	case reflect.String:
		return ": it must be a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ": it must be a whole number"
	case reflect.Slice:
		return ": it must be an array"
	case reflect.Map, reflect.Struct:
		return ": it must be an object"
	}
	return ""
}

// decodeBody decodes a JSON body that must be one value with the members that the
// contract gives it. It returns io.EOF for an empty one.
func decodeBody(req *http.Request, v any) error {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return io.EOF
	}
	if err := holdValues(req.Body, raw); err != nil {
		return err
	}
	return decode(raw, v)
}

// decode is what all JSON of the HTTP API goes through. What is passed on as it is need
// not be text.
func decode(raw []byte, v any) error {
	if _, passed := v.(*json.RawMessage); !passed {
		if err := exact("the body", raw); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return located(raw, v, err)
	}
	return conforms(raw, reflect.TypeOf(v).Elem())
}

// exact refuses JSON that would be altered when it is decoded.
func exact(what string, raw []byte) error {
	if err := wire.CheckJSON(raw); err != nil {
		return invalid("%s %v; use bodyBase64 for a message that is not text", what, err)
	}
	return nil
}
