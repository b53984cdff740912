package server

import (
	"net/http"
	"slices"

	"github.com/go-chi/cors"

	"github.com/rushmore/zbus-go/internal/auth"
	"github.com/rushmore/zbus-go/internal/wire"
)

// OnlyHosts lets next serve requests whose Host names this server, as [auth.KnownHost] judges it.
// The connection of any other ends with the refusal: what it asks for next is not looked at.
func OnlyHosts(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host != "" && !auth.KnownHost(req.Host, hosts) { // HTTP/1.0 has none
			w.Header().Set("Connection", "close")
			http.Error(w, auth.Misdirected(req.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// known refuses requests that are for another server.
func (s *Server) known(next http.Handler) http.Handler { return OnlyHosts(s.opts.Hosts, next) }

// shared tells browsers that pages of the allowed origins may read what is answered, and
// answers what they ask before (preflight requests). Without such origins it does nothing.
func (s *Server) shared(next http.Handler) http.Handler {
	if len(s.opts.Origins) == 0 {
		return next
	}
	all := slices.Contains(s.opts.Origins, "*")
	return cors.Handler(cors.Options{
		AllowOriginFunc: func(_ *http.Request, origin string) bool { return all || auth.AllowedOrigin(origin, s.opts.Origins) },
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders:  []string{"*"},
		ExposedHeaders:  []string{"*"}, // without credentials it means all
		MaxAge:          600,
	})(next)
}

// outsider says why a request is refused that a page of another site made a browser
// send; status is 0 for all others. A page can ask for any URL, but it can set the header
// of a command only under a name that it had pointed to this server.
func (s *Server) outsider(m *wire.Message, url bool) (status int, text string) {
	host, named := m.Lookup(wire.HeaderHost)
	if named && (url || byBrowser(m.Lookup)) && !auth.KnownHost(host, s.opts.Hosts) {
		return http.StatusMisdirectedRequest, auth.Misdirected(host)
	}
	if url && auth.CrossSite(host, m.Get("origin"), m.Get("sec-fetch-site"), s.opts.Origins) {
		return http.StatusForbidden, otherOrigin
	}
	return 0, ""
}

const otherOrigin = "This page is of another origin: start the broker with --allow-origin to let it in"

// byBrowser reports whether a browser sends a request, as far as its headers tell: no page
// can keep its browser from sending Accept-Encoding, and clients of the protocol never do.
// Browsers are served by net/http, so that one guard stands before all that they ask for.
func byBrowser(lookup func(name string) (string, bool)) bool {
	for _, name := range []string{"accept-encoding", "origin", "sec-fetch-site"} {
		if _, ok := lookup(name); ok {
			return true
		}
	}
	return false
}
