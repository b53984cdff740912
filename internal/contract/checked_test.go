package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// checked is a transport that lets nothing pass that the contract does not allow,
// in either direction: it returns an error then.
type checked struct{ next http.RoundTripper }

// standing is what the contract has to say of a request.
type standing int

const (
	allowed   standing = iota // the default
	forbidden                 // it breaks the contract on purpose, and has to be refused
	anyway                    // it may or may not; only the response counts
)

type standingKey struct{}

// sentAs is the context of a request whose standing is not the default.
func sentAs(ctx context.Context, s standing) context.Context {
	return context.WithValue(ctx, standingKey{}, s)
}

func standingOf(req *http.Request) standing {
	s, _ := req.Context().Value(standingKey{}).(standing)
	return s
}

func (c checked) RoundTrip(req *http.Request) (*http.Response, error) {
	d := theContract()
	o, standing := d.find(req), standingOf(req)
	if o == nil && standing == anyway {
		return c.next.RoundTrip(req)
	}
	if o == nil {
		return nil, fmt.Errorf("%s %s: not in the contract", req.Method, req.URL.Path)
	}
	sent, err := buffer(&req.Body)
	if err != nil {
		return nil, err
	}
	if err := d.request(o, req); standing != anyway && (err != nil) != (standing == forbidden) {
		return nil, errors.Join(err, fmt.Errorf("%s %s: want it to break the contract: %t", req.Method, req.URL, standing == forbidden))
	}
	req.Body = sent()
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := c.judge(o, req, resp, standing); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// judge checks a response. What the document says in words is checked here, too.
func (c checked) judge(o *operation, req *http.Request, resp *http.Response, standing standing) error {
	kind := resp.Header.Get("Content-Type")
	var received func() io.ReadCloser
	if kind == "text/event-stream" {
		stream := resp.Body
		resp.Body, received = http.NoBody, func() io.ReadCloser { return stream }
	} else {
		var err error
		if received, err = buffer(&resp.Body); err != nil {
			return err
		}
	}
	err := theContract().response(o, req, resp)
	resp.Body = received()
	switch failed := resp.StatusCode >= 400; {
	case err != nil:
		return err
	case slices.Contains(before, resp.StatusCode) && !o.lists(resp.StatusCode):
		return fmt.Errorf("%s: the contract does not name %d", o.id, resp.StatusCode)
	case failed != (kind == "application/problem+json"):
		return fmt.Errorf("%s: %d with a body of type %q", o.id, resp.StatusCode, kind)
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable:
		return fmt.Errorf("%s: %d", o.id, resp.StatusCode)
	case standing == forbidden && !failed:
		return fmt.Errorf("%s: %d for a request that the contract forbids", o.id, resp.StatusCode)
	}
	return nil
}

// buffer reads a body, puts what it read in its place, and returns a func that
// makes one more.
func buffer(body *io.ReadCloser) (again func() io.ReadCloser, err error) {
	if *body == nil || *body == http.NoBody {
		none := *body
		return func() io.ReadCloser { return none }, nil
	}
	all, err := io.ReadAll(*body)
	err = errors.Join(err, (*body).Close())
	again = func() io.ReadCloser { return io.NopCloser(bytes.NewReader(all)) }
	*body = again()
	return again, err
}
