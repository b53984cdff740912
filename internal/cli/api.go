package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/apirequest"
	"github.com/rushmore/zbus-go/zbus"
)

// api asks the HTTP API. Any number of goroutines may use it.
type api struct {
	web    *http.Client
	server *Server

	account, password string // instead of the server's token, until there is one
}

// api makes ready to ask the API. Nothing is sent yet.
func (i *invocation) api() (*api, error) {
	s, err := i.servers.Find()
	if err != nil {
		return nil, err
	}
	return s.api()
}

func (s *Server) api() (*api, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.TLS, TLSHandshakeTimeout: dialTime,
		DialContext: (&net.Dialer{Timeout: dialTime}).DialContext,
	}
	if _, err := url.Parse(s.API); err != nil {
		return nil, err
	}
	return &api{web: &http.Client{Transport: transport}, server: s}, nil
}

// do asks for what the contract has at an operation, such as "GET /topics/{topic}", with names
// for what is in braces. For send what in is.
func do[T any](ctx context.Context, a *api, operation string, in any, names ...string) (decoded[T], error) {
	return decode[T](a.ask(ctx, operation, in, names))
}

// ask is do for an answer that is not decoded.
func (a *api) ask(ctx context.Context, operation string, in any, names []string) (json.RawMessage, error) {
	return a.answer(a.send(ctx, operation, in, names...))
}

// send is do for an answer that is read otherwise. in is the parameters of a query with GET and
// DELETE, and a body with other methods, as JSON unless it is that already; nil is none.
func (a *api) send(ctx context.Context, operation string, in any, names ...string) (*http.Response, error) {
	req, err := a.request(ctx, operation, in, names...)
	if err != nil {
		return nil, err
	}
	return apirequest.Send(a.web, req)
}

func (a *api) request(ctx context.Context, operation string, in any, names ...string) (*http.Request, error) {
	req, err := apirequest.New(ctx, a.server.API, operation, in, names...)
	if err != nil {
		return nil, err
	}
	if a.account != "" {
		req.SetBasicAuth(a.account, a.password)
	} else if a.server.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.server.Token)
	}
	return req, nil
}

// answer returns the body of an answer, or why there is none: takes what send returns.
func (a *api) answer(resp *http.Response, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, a.noAnswer(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, a.noAnswer(err)
	}
	if resp.StatusCode >= 400 {
		return nil, problem(resp, body)
	}
	if len(body) > 0 && !json.Valid(body) {
		return nil, fail(zbus.ErrInternal, "what answers at %s is not a broker: no JSON", a.server.Host)
	}
	return body, nil
}

// noAnswer is why a request was not answered: only one for which there was no connection has
// certainly done nothing.
func (a *api) noAnswer(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, new(*apirequest.NotSentError)):
		return a.server.Unreachable(err)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return &failure{"no answer from " + a.server.Host + " in time", join(err, zbus.ErrUnknownOutcome)}
	}
	return &failure{"the connection to " + a.server.Host + " was lost: " + reason(err), join(err, zbus.ErrUnknownOutcome)}
}

// reason is the innermost text of an error of the network.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	text := err.Error()
	text = strings.TrimPrefix(text, "connect: ")
	return strings.TrimPrefix(text, "zbus: ")
}

func join(err, kind error) error { return errors.Join(kind, err) }

// refusal is a problem that the API answered.
type refusal struct {
	failure
	plan json.RawMessage // a fresh one, for a plan that no longer holds
}

// problem makes an error of an answer that is one.
func problem(resp *http.Response, body []byte) error {
	var p struct {
		apimodel.Problem
		Plan json.RawMessage `json:"plan"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return fail(zbus.ErrUnavailable, "%s answered %s and not as a broker does: it is another server, so look at --server", resp.Request.URL.Host, resp.Status)
	}
	r := &refusal{failure{p.Title, apirequest.Kind(p.Code)}, p.Plan}
	if p.Detail != nil && *p.Detail != "" {
		r.text = *p.Detail
	}
	return r
}

// decoded is JSON along with what it says.
type decoded[T any] struct {
	raw   json.RawMessage
	value T
}

// decode reads the body of an answer. There is one for each type, so what is the same for all is apart.
func decode[T any](raw json.RawMessage, err error) (decoded[T], error) {
	d := &decoded[T]{raw: raw}
	err = read(raw, err, &d.value)
	return *d, err
}

// read reads the body of an answer into a value, unless there was none.
func read(raw json.RawMessage, err error, value any) error {
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return fail(zbus.ErrInternal, "the broker's answer is not what it should be: %v", err)
	}
	return nil
}

// pageSize is how many members of a list are asked for at a time.
const pageSize = 500

// list ranges over all pages of a list, whose member of the answer is named. fetch
// asks for the page that begins after something, the first time after nothing.
func list[T any](a *api, member string, fetch func(after *string) (*http.Response, error)) iter.Seq2[decoded[T], error] {
	return func(yield func(decoded[T], error) bool) {
		for after := (*string)(nil); ; {
			page, err := decode[map[string]json.RawMessage](a.answer(fetch(after)))
			var all []json.RawMessage
			if err == nil {
				err = json.Unmarshal(page.value[member], &all)
			}
			if err != nil {
				yield(decoded[T]{}, err)
				return
			}
			for _, raw := range all {
				if !yield(decode[T](raw, nil)) {
					return
				}
			}
			after = nil
			if json.Unmarshal(page.value["next"], &after) != nil || after == nil {
				return
			}
		}
	}
}

// collect takes at most so many of a list; 0 is all.
func collect[T any](all iter.Seq2[decoded[T], error], most int) (taken []decoded[T], err error) {
	for d, err := range all {
		if err != nil {
			return nil, err
		}
		if taken = append(taken, d); len(taken) == most {
			break
		}
	}
	return taken, nil
}
