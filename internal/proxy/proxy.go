// Package proxy is the private end of a proxy: it runs where the server is that is to
// be published, connects out to a broker, and forwards the HTTP requests that come as
// calls to a topic (package gateway). No connection has to reach where it runs.
package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/zbus"
)

// Options say what is published, and how. Topic and Target are required.
type Options struct {
	// Topic is created with the kind proxy when it does not exist.
	Topic string
	// Target is the http or https address of the server; a path is put in front of that
	// of each request.
	Target *url.URL
	// PreserveHost passes on the name that the client asked for. Otherwise the target
	// is asked for by its own.
	PreserveHost bool
	// Concurrency is how many requests are under way at a time; 64 unless set.
	Concurrency int
	// Timeout is how long the target may take for a request; 30 s unless set.
	Timeout time.Duration
	// Transport reaches the target; with defaults unless set. It must not follow
	// proxies of the environment's choice nor decompress.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// messageType is the content type of requests and answers.
const messageType = "message/http"

// defaultLimit is for brokers that do not say how large an answer may be.
const defaultLimit = 16 << 20

// Proxy forwards requests. It is for one Run.
type Proxy struct {
	opts    Options
	client  *zbus.Client
	forward *httputil.ReverseProxy
}

// New creates a proxy, and says what is wrong with the options.
func New(client *zbus.Client, opts Options) (*Proxy, error) {
	t := opts.Target
	switch {
	case opts.Topic == "":
		return nil, errors.New("a topic is needed")
	case t == nil || t.Scheme != "http" && t.Scheme != "https" || t.Host == "":
		return nil, errors.New("the target must be an address such as http://127.0.0.1:8080")
	case t.RawQuery != "" || t.Fragment != "":
		return nil, errors.New("the target must not have a query or fragment: those are of the requests")
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Concurrency <= 0 {
		opts.Concurrency = 64
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Transport == nil {
		opts.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: opts.Concurrency, IdleConnTimeout: 90 * time.Second}
	}
	p := &Proxy{opts: opts, client: client}
	p.forward = &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: opts.Transport, ModifyResponse: p.relocate, ErrorHandler: p.fail,
		ErrorLog: slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// ErrOtherKind is a topic that can't carry requests.
var ErrOtherKind = errors.New("it is there and of another kind than proxy")

// Run forwards until ctx ends, and then finishes what is under way. It returns
// ErrOtherKind when the topic is there for something else, or what the broker refuses.
func (p *Proxy) Run(ctx context.Context) error {
	info, err := p.client.QueryTopic(ctx, p.opts.Topic)
	switch {
	case err == nil && !info.Proxy:
		return fmt.Errorf("topic %s: %w: choose another name, or delete it first", p.opts.Topic, ErrOtherKind)
	case err != nil && !errors.Is(err, zbus.ErrNotFound):
		return err
	}
	s := zbus.NewService(p.client, p.opts.Topic, zbus.ServiceOptions{
		Concurrency: p.opts.Concurrency, Topic: zbus.TopicSpec{Proxy: true},
		Name: "zbus proxy", Description: "forwards to " + p.opts.Target.Redacted(),
	})
	s.HandleRequests(p.serve)
	return s.Run(ctx)
}

// serve forwards one request.
func (p *Proxy) serve(ctx context.Context, d *zbus.Delivery) (*zbus.Message, error) {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(d.Body)))
	if err != nil {
		return nil, &zbus.CallError{Status: http.StatusBadRequest, Code: "bad_call", Message: "not an HTTP request: " + err.Error()}
	}
	limit, err := strconv.ParseInt(d.Header("max_answer"), 10, 64)
	if err != nil || limit <= 0 {
		limit = defaultLimit
	}
	began := time.Now()
	body, status := p.exchange(ctx, req, limit)
	p.opts.Log.Info("request", "method", req.Method, "path", req.URL.Path, "status", status,
		"duration", time.Since(began).Round(time.Microsecond), "bytes", len(body))
	return &zbus.Message{Headers: map[string]string{"content-type": messageType + "; msgtype=response"}, Body: body}, nil
}

// exchange has a request answered, by the target or by what went wrong.
func (p *Proxy) exchange(ctx context.Context, req *http.Request, limit int64) (message []byte, status int) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	answer := newRecorder(req.Method, limit)
	defer func() {
		e := recover()
		if err, ok := e.(error); ok && errors.Is(err, http.ErrAbortHandler) { // half of an answer must not pass for one
			if !answer.over {
				answer = newRecorder(req.Method, limit)
				p.fail(answer, req, cmp.Or(ctx.Err(), errBrokenOff))
			}
			message, status = answer.message()
		} else if e != nil {
			panic(e)
		}
	}()
	// The reverse proxy tells of an answer that breaks off only who runs in a server.
	ctx = context.WithValue(ctx, http.ServerContextKey, p)
	if status, text := refusal(req); status != 0 {
		writeProblem(answer, status, "invalid", text)
		return answer.message()
	}
	p.forward.ServeHTTP(answer, req.WithContext(ctx))
	return answer.message()
}

// refusal is why a request does not go to the target, or 0. The gateway refuses such ones,
// too, but a client that may publish to the topic can ask without it.
func refusal(req *http.Request) (status int, text string) {
	switch {
	case req.Method == http.MethodConnect || req.Method == http.MethodTrace:
		return http.StatusNotImplemented, req.Method + " does not go through a proxy"
	case req.Header.Get("Upgrade") != "":
		return http.StatusNotImplemented, "connections can't be switched to another protocol through a proxy"
	case !wire.StaysBelow(req.URL.EscapedPath()):
		return http.StatusBadRequest, "the path must begin with / and not have . or .. in it, which may lead out of what is published"
	}
	return 0, ""
}

// errBrokenOff is a target that goes away in the middle of its answer.
var errBrokenOff = errors.New("the answer broke off")

// rewrite makes the request to the target. The gateway has said who asks, in these headers
// and no others.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	pr.SetURL(p.opts.Target)
	if p.opts.PreserveHost {
		pr.Out.Host = pr.In.Host
	}
	wire.StripForward(pr.Out.Header)
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix"} {
		if v := pr.In.Header[name]; v != nil {
			pr.Out.Header[name] = v
		}
	}
}

// relocate makes a redirection to the target one that leads there from outside.
func (p *Proxy) relocate(resp *http.Response) error {
	for _, name := range []string{"Location", "Content-Location"} {
		to, err := url.Parse(resp.Header.Get(name))
		if err != nil || resp.Header.Get(name) == "" {
			continue
		}
		if to.Host != "" && (to.Scheme != p.opts.Target.Scheme || to.Host != p.opts.Target.Host) {
			continue // elsewhere
		}
		to.Scheme, to.Host, to.User = "", "", nil
		if inner, ok := p.inside(to.EscapedPath()); ok {
			to.Path, _ = url.PathUnescape(inner)
			to.RawPath = inner
		}
		resp.Header.Set(name, to.String())
	}
	return nil
}

// inside is a path of the target's as it is outside.
func (p *Proxy) inside(path string) (string, bool) {
	base := p.opts.Target.EscapedPath()
	if base == "" || base == "/" {
		return path, true
	}
	if base[len(base)-1] == '/' {
		base = base[:len(base)-1]
	}
	if len(path) >= len(base) && path[:len(base)] == base && (len(path) == len(base) || path[len(base)] == '/') {
		return "/" + path[min(len(base)+1, len(path)):], true
	}
	return path, false
}

// fail answers for a target that does not.
func (p *Proxy) fail(w http.ResponseWriter, req *http.Request, err error) {
	status, code, text := http.StatusBadGateway, "unavailable", "the server behind this proxy can't be reached"
	switch {
	case errors.Is(err, errBrokenOff):
		code, text = "bad_answer", "the server behind this proxy broke off its answer"
	case errors.Is(err, context.DeadlineExceeded):
		status, code, text = http.StatusGatewayTimeout, "timeout", "the server behind this proxy did not answer in time"
	}
	p.opts.Log.Warn("target failed", "method", req.Method, "path", req.URL.Path, "err", err)
	writeProblem(w, status, code, text)
}

// writeProblem answers with a problem document (RFC 9457).
func writeProblem(w http.ResponseWriter, status int, code, text string) {
	body, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": text,
	})
	if err != nil {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
