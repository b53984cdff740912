package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/forward"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Base is the path below which topics are.
const Base = "/proxy/"

// Options are what the gateway needs. All but Cluster are required.
type Options struct {
	Broker *broker.Broker
	Caller *caller.Caller
	// Cluster knows the other servers; nil: there are none.
	Cluster *cluster.Cluster
	Log     *slog.Logger
	// MaxBody is the limit for the body of a message, in bytes.
	MaxBody int64
	// Site says whose pages may change things.
	Site origin.Site
}

// New creates the handler for all below Base.
func New(opts Options) http.Handler {
	g := &gateway{opts: opts, pages: http.NewCrossOriginProtection()}
	g.forward = forward.New(opts.Broker, opts.Cluster, opts.Log, g.fail)
	g.forward.Through = true
	g.proxy = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: &carrier{opts.Caller, opts.MaxBody}, ModifyResponse: contain, ErrorHandler: g.fail,
		ErrorLog: slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
	return g
}

type gateway struct {
	opts    Options
	proxy   *httputil.ReverseProxy
	forward *forward.Forwarder
	pages   *http.CrossOriginProtection
}

// route is where a request goes: in its context.
type route struct {
	topic  *broker.Topic
	prefix string // of the path, as it was sent, without the slash behind it
	rest   string // the path behind that, escaped
}

type routeKey struct{}

func routeOf(ctx context.Context) *route {
	r, _ := ctx.Value(routeKey{}).(*route)
	return r
}

// ofOwnAnswers are headers that this server gives its own answers; contain says what holds for those of
// services.
var ofOwnAnswers = []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Cache-Control"}

// ServeHTTP finds the topic. The rest is that of a reverse proxy whose transport makes
// calls.
func (g *gateway) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	for _, name := range ofOwnAnswers {
		w.Header().Del(name)
	}
	r, err := g.find(req)
	if err == nil && g.foreign(req) {
		err = problem.ForeignOrigin()
	}
	if broker.CodeOf(err) == broker.NotFound && !g.foreign(req) {
		if topic, err := topicOf(req); err == nil && g.forward.Try(w, req, access.Call, topic, "") {
			return
		}
	}
	if err != nil {
		g.fail(w, req, err)
		return
	}
	if r.rest == "" { // relative links of the page would lead out of it
		w.Header().Set("Location", r.prefix[strings.LastIndexByte(r.prefix, '/')+1:]+"/"+query(req.URL))
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, g.opts.MaxBody)
	g.proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), routeKey{}, r)))
}

func query(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	return "?" + u.RawQuery
}

// find takes a request apart, and refuses those that a proxy can't do.
func (g *gateway) find(req *http.Request) (*route, error) {
	switch {
	case req.Header.Get("Upgrade") != "":
		return nil, refuse(http.StatusNotImplemented, "connections can't be switched to another protocol ("+broker.Excerpt(req.Header.Get("Upgrade"))+") by way of "+Base+": requests and answers alone go through")
	case req.Method == http.MethodConnect || req.Method == http.MethodTrace:
		return nil, refuse(http.StatusNotImplemented, req.Method+" does not go through "+Base)
	}
	topic, err := topicOf(req)
	if err != nil {
		return nil, err
	}
	name, rest, below := strings.Cut(strings.TrimPrefix(req.URL.EscapedPath(), Base), "/")
	t, err := g.opts.Broker.As(access.From(req.Context()), access.Call).Topic(topic)
	if err == nil && !t.Kind().Proxies() {
		err = &broker.Error{Code: broker.NotFound, Text: "Topic(" + t.Name() + ") does not lead to a server: that is what topics of the kind proxy are for, which zbus proxy makes"}
	}
	if err != nil {
		return nil, err
	}
	r := &route{topic: t, prefix: Base + name}
	if below {
		r.rest = "/" + rest
	}
	if below && !wire.StaysBelow(r.rest) {
		return nil, refuse(http.StatusBadRequest, "the path must not have . or .. in it, which may lead out of what is published")
	}
	return r, nil
}

// topicOf is the topic that a request names.
func topicOf(req *http.Request) (string, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.EscapedPath(), Base), "/")
	topic, err := url.PathUnescape(name)
	if err != nil || topic == "" {
		return "", refuse(http.StatusNotFound, "the path must be "+Base+"<topic>/…")
	}
	return topic, nil
}

// foreign reports whether a page of another site made a browser send a request that changes
// something, as the API judges it. Pages that come from here are in a sandbox and have no
// origin; their browser names this server in Referer, which no other page can have it do.
func (g *gateway) foreign(req *http.Request) bool {
	origin := req.Header.Get("Origin")
	if g.opts.Site.LetsIn(origin) || g.pages.Check(req) == nil {
		return false
	}
	from, err := url.Parse(req.Header.Get("Referer"))
	return origin != "null" || err != nil || from.Host == "" || !g.opts.Site.Own(from.String(), req.Host)
}

// rewrite makes the request that goes through. What its sender says about others on its
// way is not believed.
func rewrite(pr *httputil.ProxyRequest) {
	r := routeOf(pr.In.Context())
	u := &url.URL{Scheme: "http", Host: pr.In.Host, RawQuery: pr.In.URL.RawQuery, ForceQuery: pr.In.URL.ForceQuery}
	u.Path, _ = url.PathUnescape(r.rest) // the server has parsed it
	u.RawPath = r.rest
	pr.Out.URL, pr.Out.Host = u, pr.In.Host
	wire.StripForward(pr.Out.Header)
	if !access.From(pr.In.Context()).Anonymous() { // this credential was for the broker
		pr.Out.Header.Del("Authorization")
	}
	pr.SetXForwarded()
	pr.Out.Header.Set("X-Forwarded-Prefix", r.prefix)
	pr.Out.Header.Del("Expect") // the body is here
	pr.Out.Header.Add("Via", via(pr.In.ProtoMajor, pr.In.ProtoMinor))
}

// contain keeps what comes back to its topic, as far as browsers are concerned.
func contain(resp *http.Response) error {
	r := routeOf(resp.Request.Context())
	h := resp.Header
	for _, name := range []string{"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Service-Worker-Allowed"} {
		h.Del(name) // they are about all of this server
	}
	h.Add("Content-Security-Policy", "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts")
	h.Add("Via", via(resp.ProtoMajor, resp.ProtoMinor))
	for _, name := range []string{"Location", "Content-Location"} {
		if to := h.Get(name); strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
			h.Set(name, r.prefix+to)
		}
	}
	cookies := h.Values("Set-Cookie")
	h.Del("Set-Cookie")
	for _, line := range cookies {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			continue
		}
		c.Domain = "" // which would be of the server behind
		if c.Path == "" || c.Path[0] != '/' {
			c.Path = "/"
		}
		c.Path = r.prefix + c.Path
		h.Add("Set-Cookie", c.String())
	}
	return nil
}

// fail answers a request that did not get through.
func (g *gateway) fail(w http.ResponseWriter, req *http.Request, err error) {
	if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
		err = refuse(http.StatusRequestEntityTooLarge, bodyLimit(long.Limit))
	}
	p := problem.Of(err)
	if p.Code == "internal" && req.Context().Err() == nil {
		g.opts.Log.Error("request failed", "method", req.Method, "path", req.URL.Path, "remote", req.RemoteAddr, "err", err)
	}
	problem.Write(w, p)
}

// refuse is an error with an HTTP status, and a text for the client.
func refuse(status int, text string) error {
	code := map[int]apimodel.ProblemCode{
		http.StatusNotFound: "not_found", http.StatusRequestEntityTooLarge: "too_large", http.StatusBadGateway: "bad_answer",
	}[status]
	if code == "" {
		code = "invalid"
	}
	return &problem.Error{Code: code, Status: status, Text: text}
}
