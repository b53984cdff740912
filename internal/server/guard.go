package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/cors"

	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/wire"
)

// OnlyHosts lets next serve requests whose Host names this server, as [origin.Site] judges it.
// The connection of any other ends with the refusal: what it asks for next is not looked at.
func OnlyHosts(site origin.Site, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host != "" && !site.KnownHost(req.Host) { // HTTP/1.0 has none
			w.Header().Set("Connection", "close")
			http.Error(w, origin.Misdirected(req.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// known refuses requests that are for another server.
func (s *Server) known(next http.Handler) http.Handler { return OnlyHosts(s.opts.Site, next) }

// shared tells browsers that pages of the allowed origins may read what is answered, and
// answers what they ask before (preflight requests). Without such origins it does nothing.
func (s *Server) shared(next http.Handler) http.Handler {
	if len(s.opts.Site.Origins) == 0 {
		return next
	}
	all := slices.Contains(s.opts.Site.Origins, "*")
	return cors.Handler(cors.Options{
		AllowOriginFunc: func(_ *http.Request, origin string) bool { return all || s.opts.Site.LetsIn(origin) },
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
	if url && hosts(m) > 1 { // which of them is meant, a proxy may see differently
		return http.StatusBadRequest, "host given twice; give it once"
	}
	if named && (url || byBrowser(m.Lookup)) && !s.opts.Site.KnownHost(host) {
		return http.StatusMisdirectedRequest, origin.Misdirected(host)
	}
	if url && s.opts.Site.Source(m.Lookup) == origin.Foreign {
		return http.StatusForbidden, otherOrigin
	}
	return 0, ""
}

// hosts is how many Host headers a request has.
func hosts(m *wire.Message) (n int) {
	for _, f := range m.Fields {
		if f.Name == wire.HeaderHost {
			n++
		}
	}
	return n
}

// plainAllowed reports whether a connection may go without TLS.
func (s *Server) plainAllowed(conn net.Conn) bool {
	if s.opts.TLS == nil || s.opts.AllowPlain {
		return true
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && (at.Addr().Unmap().IsLoopback() || s.trusted(at.Addr()))
}

// refusePlain answers, without reading the request, a connection that goes without TLS, in words that
// the native protocol and HTTP know. There is no redirect: what was sent was in the clear.
func refusePlain(conn net.Conn) {
	const text = "this server takes connections with TLS alone: use https, wss or TLS, or start it with --allow-plain"
	dst := append(wire.AppendStatus(nil, http.StatusForbidden), "connection: close\r\n"...)
	_ = conn.SetWriteDeadline(time.Now().Add(lastWordsTime))
	if _, err := conn.Write(wire.AppendBody(dst, []byte(text))); err == nil {
		lingerClose(conn)
	}
	_ = conn.Close()
}

// headerOf looks up headers of a request by names in lower case.
func headerOf(req *http.Request) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		if name == wire.HeaderHost {
			return req.Host, true
		}
		values := req.Header.Values(name)
		return strings.Join(values, ", "), values != nil
	}
}

// refuse answers a browser, and ends the connection: what it asks for next is not looked at.
func refuse(w http.ResponseWriter, text string) {
	w.Header().Set("Connection", "close")
	http.Error(w, text, http.StatusForbidden)
}

const otherOrigin = "This page is of another origin: start the broker with --allow-origin to let it in"

// byBrowser reports whether a browser sends a request, as far as its headers tell: no page
// can keep its browser from sending Accept-Encoding, and clients of the protocol never do;
// proxies may leave it out, but not all of them.
// Browsers are served by net/http, so that one guard stands before all that they ask for.
func byBrowser(lookup func(name string) (string, bool)) bool {
	for _, name := range []string{"accept-encoding", "origin", "sec-fetch-site", "referer", "accept-language"} {
		if _, ok := lookup(name); ok {
			return true
		}
	}
	return false
}
