// Package apirequest makes requests of the HTTP API for package zbus/admin and the commands, and
// tells how a request that did not succeed ended.
package apirequest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// New creates the request of an operation of openapi.yaml, such as "GET /topics/{topic}", to the API at a
// URL, with names for what is in braces. in becomes the parameters of a query with GET and DELETE,
// and a body with other methods, as JSON unless it is that already; nil is none.
func New(ctx context.Context, base, operation string, in any, names ...string) (*http.Request, error) {
	method, path, ok := strings.Cut(operation, " ")
	if !ok || strings.Count(path, "{") != len(names) {
		return nil, fmt.Errorf("operation %q has other names than the %d given", operation, len(names))
	}
	for _, name := range names {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + url.PathEscape(name) + after
	}
	raw, whole := in.(json.RawMessage)
	if !whole && in != nil {
		var err error
		if raw, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	var body io.Reader
	switch {
	case in == nil:
	case method == http.MethodGet || method == http.MethodDelete:
		query, err := queryOf(raw)
		if err != nil {
			return nil, err
		}
		path += query
	default:
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// queryOf makes a query of the members of an object: what says nothing is left out.
func queryOf(object json.RawMessage) (string, error) {
	members := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&members); err != nil || len(members) == 0 {
		return "", err
	}
	query := url.Values{}
	for name, v := range members {
		query.Set(name, fmt.Sprint(v))
	}
	return "?" + query.Encode(), nil
}

// NotSentError says that a request was certainly not sent: there was no connection.
type NotSentError struct{ cause error }

// Error returns the cause.
func (e *NotSentError) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *NotSentError) Unwrap() error { return e.cause }

// Send sends a request. With an error other than NotSentError the outcome of the request is unknown.
func Send(web *http.Client, req *http.Request) (*http.Response, error) {
	var wanted, got atomic.Bool // a connection: clients that make none themselves do not say so
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	resp, err := web.Do(req.WithContext(ctx))
	var op *net.OpError
	if err != nil && (wanted.Load() && !got.Load() || errors.As(err, &op) && op.Op == "dial") {
		err = &NotSentError{err}
	}
	return resp, err
}

// Kind is the error of package zbus that a problem's code stands for.
func Kind(code apimodel.ProblemCode) error {
	switch code {
	case "invalid":
		return zbus.ErrInvalid
	case "not_found":
		return zbus.ErrNotFound
	case "exists":
		return zbus.ErrExists
	case "conflict", "precondition_failed":
		return zbus.ErrConflict
	case "unauthorized":
		return zbus.ErrUnauthorized
	case "forbidden":
		return zbus.ErrForbidden
	case "too_large":
		return zbus.ErrTooLarge
	case "quota":
		return zbus.ErrQuota
	case "unavailable":
		return zbus.ErrUnavailable
	case "timeout":
		return zbus.ErrTimeout
	case "full":
		return zbus.ErrFull
	case "unknown", "provider_gone":
		return zbus.ErrUnknownOutcome
	}
	return zbus.ErrInternal
}
