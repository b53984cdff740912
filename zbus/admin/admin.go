// Package admin manages a zbus server from a program, over its HTTP API: topics and groups, where
// groups are and what moving them would do, messages without consuming them, transactions, and
// accounts. Its values are those of openapi.yaml, whose numbers beyond 2^53, such as offsets, are texts.
//
//	a, err := admin.New("http://127.0.0.1:15555", admin.Options{Token: token})
//	if err != nil {
//		return err
//	}
//	plan, err := a.Plan(ctx, "orders", "billing", admin.Earliest())
//	moved, err := a.Apply(ctx, plan.Id, "the invoices were lost")
//	_, err = a.Revert(ctx, moved.Entry.Id, "they were found")
//
// What has no method here is asked for with [Do] and [List]. Errors are those of package zbus, for
// errors.Is, inside an [*Error].
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/apirequest"
)

// Options say how a server is asked. The zero value is ready to use.
type Options struct {
	// Token proves who asks: one of the server's.
	Token string
	// HTTP makes the requests. Default: http.DefaultClient. For a broker inside of the program it
	// is that of embed.Broker.HTTP.
	HTTP *http.Client
	// MaxAnswer is the largest answer that is read, in bytes. Default: 64 MiB.
	MaxAnswer int64
}

// Client asks one server. Any number of goroutines may use it.
type Client struct {
	base string
	opts Options
}

// New creates a client for the server at a URL, such as https://mq.example.com:15555. Nothing is sent
// yet. The error is that the URL is none.
func New(server string, opts Options) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &Error{Code: "invalid", Text: fmt.Sprintf("%q is no URL of a server: write http://host:port", server)}
	}
	if opts.HTTP == nil {
		opts.HTTP = http.DefaultClient
	}
	if opts.MaxAnswer <= 0 {
		opts.MaxAnswer = 64 << 20
	}
	return &Client{base: strings.TrimSuffix(server, "/") + "/api/v1", opts: opts}, nil
}

// None is the answer of operations that answer with nothing.
type None = struct{}

// Do asks for what openapi.yaml has at an operation, such as "GET /topics/{topic}", with names for
// what is in braces, and decodes the answer. in becomes the parameters of a query with GET and
// DELETE, and a body with other methods; nil is none.
//
//	server, err := admin.Do[struct{ Version string }](ctx, a, "GET /server", nil)
//
// An error that is zbus.ErrUnknownOutcome says that the connection was lost, or ctx ended, before
// the answer: a change may have been made.
func Do[T any](ctx context.Context, c *Client, operation string, in any, names ...string) (T, error) {
	var out T
	body, err := c.ask(ctx, operation, in, names)
	if err != nil {
		return out, err
	}
	if _, nothing := any(out).(None); nothing && len(body) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, &Error{Operation: operation, Code: "internal", Text: "the answer is not what was expected", cause: err}
	}
	return out, nil
}

// List ranges over all pages of a list, whose member of the answer is named, such as "topics" of
// "GET /topics". It ends with the first error.
func List[T any](ctx context.Context, c *Client, operation, member string, query map[string]any, names ...string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		in := map[string]any{"limit": 500}
		for name, v := range query {
			in[name] = v
		}
		for {
			page, err := Do[map[string]json.RawMessage](ctx, c, operation, in, names...)
			var all []T
			if err == nil {
				err = json.Unmarshal(page[member], &all)
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, v := range all {
				if !yield(v, nil) {
					return
				}
			}
			var next string
			if json.Unmarshal(page["next"], &next) != nil || next == "" {
				return
			}
			in["after"] = next
		}
	}
}

// ask sends a request and returns the body of its answer.
func (c *Client) ask(ctx context.Context, operation string, in any, names []string) ([]byte, error) {
	req, err := c.request(ctx, operation, in, names)
	if err != nil {
		return nil, &Error{Operation: operation, Code: "invalid", Text: "the request can't be made", cause: err}
	}
	resp, err := apirequest.Send(c.opts.HTTP, req)
	if err != nil {
		return nil, noAnswer(ctx, operation, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxAnswer+1))
	switch {
	case err != nil:
		return nil, noAnswer(ctx, operation, err)
	case int64(len(body)) > c.opts.MaxAnswer:
		return nil, &Error{Operation: operation, Status: resp.StatusCode, Code: "too_large", Text: fmt.Sprintf("the answer has more than %d bytes", c.opts.MaxAnswer)}
	case resp.StatusCode >= 400:
		return nil, refusal(operation, resp, body)
	}
	return body, nil
}

func (c *Client) request(ctx context.Context, operation string, in any, names []string) (*http.Request, error) {
	req, err := apirequest.New(ctx, c.base, operation, in, names...)
	if err == nil && c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	return req, err
}

// Error is why an operation failed.
type Error struct {
	Operation string
	Status    int    // of the answer; 0 if there was none
	Code      string // that of openapi.yaml's problems, such as not_found
	Text      string // for people
	// Problem is all that the server has said, in JSON: a plan that no longer holds has a fresh one
	// in it. It may be nil.
	Problem json.RawMessage

	cause error
}

// Error returns what was asked for and what came of it.
func (e *Error) Error() string {
	text := "zbus: "
	if e.Operation != "" {
		text += e.Operation + ": "
	}
	if e.Status != 0 {
		text += fmt.Sprint(e.Status, " ")
	}
	text += e.Text
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the errors of package zbus that this one is, and its cause.
func (e *Error) Unwrap() (all []error) {
	all = append(all, apirequest.Kind(apimodel.ProblemCode(e.Code)))
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

// noAnswer is the error of a request that was not answered: only one for which there was no
// connection has certainly done nothing.
func noAnswer(ctx context.Context, operation string, err error) error {
	e := &Error{Operation: operation, Code: "unknown", Text: "no answer", cause: err}
	var late interface{ Timeout() bool }
	switch {
	case errors.As(err, new(*apirequest.NotSentError)):
		e.Code, e.Text = "unavailable", "no connection"
	case ctx.Err() != nil:
		e.cause = context.Cause(ctx)
	case errors.As(err, &late) && late.Timeout():
		e.Text = "no answer in time"
	}
	return e
}

// refusal is the error of an answer that is one.
func refusal(operation string, resp *http.Response, body []byte) error {
	var p struct{ Code, Title, Detail string }
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return &Error{Operation: operation, Status: resp.StatusCode, Code: "unavailable", Text: "this is not the answer of a zbus server"}
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return &Error{Operation: operation, Status: resp.StatusCode, Code: p.Code, Text: p.Detail, Problem: body}
}
