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
	"strings"

	"github.com/rushmore/zbus-go/internal/apiclient"
	"github.com/rushmore/zbus-go/zbus"
)

// api asks the HTTP API. Its methods are those of the generated client; what they
// return goes through answer or read.
type api struct {
	*apiclient.Client
	server *Server
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
	authorize := func(_ context.Context, r *http.Request) error {
		if s.Token != "" {
			r.Header.Set("Authorization", "Bearer "+s.Token)
		}
		return nil
	}
	c, err := apiclient.NewClient(s.API, apiclient.WithHTTPClient(&http.Client{Transport: transport}), apiclient.WithRequestEditorFn(authorize))
	if err != nil {
		return nil, err
	}
	return &api{c, s}, nil
}

// answer returns the body of an answer, or why there is none: takes what a method of
// the generated client returns.
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

// noAnswer is why a request was not answered.
func (a *api) noAnswer(err error) error {
	var op *net.OpError
	if errors.Is(err, context.Canceled) {
		return err
	}
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if cut || errors.As(err, &op) && op.Op != "dial" {
		return &failure{"the connection to " + a.server.Host + " was lost: " + reason(err), join(err, zbus.ErrUnknownOutcome)}
	}
	return a.server.Unreachable(err)
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

// codes is what the API's codes are among the client's errors.
var codes = map[apiclient.ProblemCode]error{
	"invalid": zbus.ErrInvalid, "not_found": zbus.ErrNotFound, "exists": zbus.ErrExists, "conflict": zbus.ErrConflict,
	"precondition_failed": zbus.ErrConflict, "unauthorized": zbus.ErrUnauthorized, "forbidden": zbus.ErrForbidden,
	"too_large": zbus.ErrTooLarge, "quota": zbus.ErrQuota, "unavailable": zbus.ErrUnavailable, "timeout": zbus.ErrTimeout,
	"full": zbus.ErrFull, "internal": zbus.ErrInternal, "unknown": zbus.ErrUnknownOutcome, "provider_gone": zbus.ErrUnknownOutcome,
}

// refusal is a problem that the API answered.
type refusal struct {
	failure
	plan json.RawMessage // a fresh one, for a plan that does not hold any more
}

// problem makes an error of an answer that is one.
func problem(resp *http.Response, body []byte) error {
	var p struct {
		apiclient.Problem
		Plan json.RawMessage `json:"plan"`
	}
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return fail(zbus.ErrUnavailable, "%s answered %s and not as a broker does: it is another server, so look at --server", resp.Request.URL.Host, resp.Status)
	}
	r := &refusal{failure{p.Title, codes[p.Code]}, p.Plan}
	if p.Detail != nil && *p.Detail != "" {
		r.text = *p.Detail
	}
	if r.kind == nil {
		r.kind = zbus.ErrInternal
	}
	return r
}

// decoded is JSON along with what it says.
type decoded[T any] struct {
	raw   json.RawMessage
	value T
}

// decode reads the body of an answer.
func decode[T any](raw json.RawMessage, err error) (decoded[T], error) {
	d := decoded[T]{raw: raw}
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(raw, &d.value); err != nil {
		return d, fail(zbus.ErrInternal, "the broker's answer is not what it should be: %v", err)
	}
	return d, nil
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
