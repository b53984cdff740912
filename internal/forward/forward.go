// Package forward finds the servers that have the topics of requests, and passes HTTP requests on
// to them, so that one address serves the topics of all servers. Packages server and live pass on
// what comes by their connections.
package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Forwarder passes requests on. Its methods may be called by any number of goroutines.
type Forwarder struct {
	broker  *broker.Broker
	cluster *cluster.Cluster
	passer  *cluster.Passer
	fail    func(http.ResponseWriter, *http.Request, error)

	// Through says that an Authorization that is none of the broker's is meant for what the topic
	// leads to, and goes there. Elsewhere credentials are forwarded only where this server has looked at
	// them: where access is off, any server may join.
	Through bool
}

// New creates a Forwarder. fail answers a request that another server has not answered, or that
// its client may not make.
func New(b *broker.Broker, c *cluster.Cluster, log *slog.Logger, fail func(http.ResponseWriter, *http.Request, error)) *Forwarder {
	f := &Forwarder{broker: b, cluster: c, fail: fail}
	f.passer = c.NewPasser(log, f.lost)
	return f
}

// Try passes a request on that wants to do something with a topic, or a group of it ("" for
// none), when another server has the topic and this one has not. It reports whether it has
// answered. A request is passed on once, with the credential that it came with: both servers
// ask whether its client may do that.
func (f *Forwarder) Try(w http.ResponseWriter, req *http.Request, need access.Verb, topic, group string) bool {
	if req.Header.Get(wire.HeaderHop) != "" {
		return false
	}
	who := access.From(req.Context())
	owners, err := Owners(f.broker, f.cluster, who, need, topic, group)
	if err != nil {
		f.fail(w, req, err)
		return true
	}
	if len(owners) == 0 {
		return false
	}
	to := owners[0].Address
	if _, portable := access.Portable(req); portable == "" && !who.Anonymous() {
		f.fail(w, req, &Misdirected{"Topic(" + topic + ") is on the server " + to.Address + ", where this login or certificate counts for nothing: ask there, or send a token or a password that both servers know"})
		return true
	}
	if who.Anonymous() {
		req = req.Clone(req.Context())
		if req.Header.Del("Token"); !f.Through {
			req.Header.Del("Authorization")
		}
	}
	f.passer.Pass(w, req, to)
	return true
}

// Misdirected is a request that has to be made to another server.
type Misdirected struct{ Text string }

func (e *Misdirected) Error() string { return e.Text }

// lost answers a request to which no answer came.
func (f *Forwarder) lost(w http.ResponseWriter, req *http.Request, err error) {
	if errors.Is(err, cluster.ErrNotReached) || req.Method == http.MethodGet || req.Method == http.MethodHead {
		err = &broker.Error{Code: broker.Unavailable, Text: fmt.Sprintf("the server with this topic can't be reached: %v", err), Err: err}
	} else if long := (*http.MaxBytesError)(nil); !errors.As(err, &long) {
		err = &broker.Error{Code: broker.Unknown, Text: "the server with this topic gave no answer: what was asked for may be done", Err: err}
	}
	f.fail(w, req, err)
}
