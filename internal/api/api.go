package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/caller"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/forward"
	"github.com/rushmore/zbus-go/internal/inspect"
	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/stats"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Options are what the API needs. All are required unless said otherwise.
type Options struct {
	Broker *broker.Broker
	Access *access.Registry
	Calls  *rpc.Table
	Caller *caller.Caller
	Stats  *stats.Sampler
	Log    *slog.Logger
	// SignOn has people sign on with issuers. Nil: there are none.
	SignOn SignOn
	// Live serves the WebSocket of the API.
	Live http.Handler

	// Server describes this server, apart from what the broker knows. It may read
	// files, and is called once a request.
	Server func() apiconv.ServerInfo
	// Cluster knows the other servers; nil: there are none.
	Cluster *cluster.Cluster
	// Durability is what is stored now survives, as the API has it. A topic in memory is another matter.
	Durability func() string
	// Database describes the brokers that share a database, and its servers. Nil: messages are in a file.
	Database func(context.Context) (ClusterStatus, error)
	// Drain drains this server, or ends that.
	Drain func(on bool)
	// Sessions lists the connections there are, and Disconnect ends one: it reports
	// false when there is none with that id.
	Sessions   func() []apiconv.SessionInfo
	Disconnect func(id, reason string) bool
	// Backup begins a copy of the database for a client. Nil: there are none.
	Backup func(actor storage.Actor) (Image, error)
	// Readers get to know the requests that consume. Nil: their own.
	Readers *Readers

	// Socket counts a stream of events for the address of a request, until release. Nil:
	// there is no limit.
	Socket func(ctx context.Context) (release func(), err error)

	// Stopping is closed when requests that wait for messages have to end.
	Stopping <-chan struct{}

	// MaxBody is the most bytes of a message's body; 16 MiB unless given. What reads a
	// request limits it as a whole.
	MaxBody int64

	// Plans are those of relocations. Their owner closes them.
	Plans *inspect.Plans

	// MaxTopics is how many topics the broker holds; 0: any number.
	MaxTopics int

	// Site says which names are this server's, and whose pages may change things.
	Site origin.Site
}

// SignOn has people sign on with issuers, in a browser.
type SignOn interface {
	Names() []string // of issuers that people can sign on with
	Begin(ctx context.Context, issuer, redirect, address string) (page, browser string, err error)
	Finish(ctx context.Context, browser, state, code, from string) (access.Assertion, error)
	Logout(issuer, back string) (page string) // "": there is none
}

// Image is a copy of the database that is being taken.
type Image interface {
	Size() int64
	Copy(ctx context.Context, w io.Writer) error
	Close() error
}

// handler implements the generated StrictServerInterface. Its methods may be called
// by any number of goroutines.
type handler struct {
	Options
	broker  *broker.Broker
	stats   *stats.Sampler
	plans   *inspect.Plans
	reading turns
	imports sync.Mutex // held by the one import that is under way
	routes  chi.Routes // to tell what there is from what was asked for
	forward *forward.Forwarder
}

// New creates the handler of everything below /api.
func New(opts Options) http.Handler {
	if opts.Readers == nil {
		opts.Readers = new(Readers)
	}
	h := &handler{Options: opts, reading: make(turns, 1), broker: opts.Broker, stats: opts.Stats, plans: opts.Plans}
	h.forward = forward.New(opts.Broker, opts.Cluster, opts.Log, h.problem)
	r := chi.NewRouter()
	r.Use(h.guard, heads, escapeColons, h.media)
	h.routes = r
	r.NotFound(h.noRoute)
	r.MethodNotAllowed(h.noRoute)
	docs(r)
	if opts.Live != nil {
		r.Method(http.MethodGet, apimodel.Base+"/ws", opts.Live)
	}
	all := &operations{handlers: h, around: []func(http.Handler) http.Handler{h.queries, h.elsewhere, h.permit}, refused: h.badRequest, failed: h.problem}
	all.routes(r, apimodel.Base)
	return r
}

// guard keeps pages of other sites out: those that talk to a name which they had
// pointed to this server, and those that change something without being asked in. A stream
// consumes, so it is not begun for a browser that does not say which page asks.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host != "" && !h.Site.KnownHost(req.Host) {
			w.Header().Set("Connection", "close")
			h.problem(w, req, &problem.Error{Code: "forbidden", Status: http.StatusMisdirectedRequest, Text: origin.Misdirected(req.Host)})
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		source := origin.Allowed
		if !safe(req.Method) || streams(req.URL.Path) {
			source = h.Site.Source(func(name string) (string, bool) {
				if name == "host" {
					return req.Host, true
				}
				values := req.Header.Values(name)
				return strings.Join(values, ", "), values != nil
			})
		}
		if source == origin.Foreign || source == origin.Unsaid && streams(req.URL.Path) {
			h.problem(w, req, problem.ForeignOrigin())
			return
		}
		next.ServeHTTP(w, req)
	})
}

// safe reports whether requests of a method change nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
