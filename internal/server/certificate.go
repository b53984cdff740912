package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/origin"
)

// tlsKey finds in the context of a request the TLS connection that it came by.
type tlsKey struct{}

// certifiedKey finds there who the certificate of that connection names.
type certifiedKey struct{}

// connected notes it: behind the bytes that were read before, net/http does not see it. It
// notes the account of the connection and who its certificate names, too.
func (s *Server) connected(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*followedConn); ok {
		ctx = context.WithValue(ctx, accountKey{}, c.account)
		if secure, ok := c.Conn.(*tls.Conn); ok {
			ctx = context.WithValue(ctx, certifiedKey{}, s.certified(secure))
			return context.WithValue(ctx, tlsKey{}, secure)
		}
	}
	return ctx
}

// encrypted says of requests that they came by TLS, which net/http does not see.
func encrypted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if conn, ok := req.Context().Value(tlsKey{}).(*tls.Conn); ok {
			state := conn.ConnectionState()
			req.TLS = &state
		}
		next.ServeHTTP(w, req)
	})
}

// certified is who the client certificate of a connection names; nil, if it has none, or one
// that names no account. That of a trusted proxy is not its clients': it names no account.
func (s *Server) certified(conn net.Conn) *access.Principal {
	secure, ok := conn.(*tls.Conn)
	if !ok || s.trusts(conn.RemoteAddr()) {
		return nil
	}
	// Only what was verified: without an authority certificates are not even asked for.
	chains := secure.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return nil
	}
	who := s.access.ByCertificate(chains[0][0])
	if who == nil {
		s.log.Info("client certificate names no account", "remote", conn.RemoteAddr(), "subject", chains[0][0].Subject)
	}
	return who
}

// certifiedHTTP is who the certificate names that counts for an HTTP request; nil: none does.
// A browser shows its certificate whatever page makes it send a request, and no cookie rule
// keeps it from that. So for browsers it counts where the cookie of a login does, and only
// if they say that it was a page of this server, or the user: --allow-origin does not extend it.
func (s *Server) certifiedHTTP(req *http.Request) *access.Principal {
	who, _ := req.Context().Value(certifiedKey{}).(*access.Principal)
	if who == nil || who.Ended() {
		return nil
	}
	header := headerOf(req)
	if origin.FromProgram(header) || strings.HasPrefix(req.URL.Path, "/api/") && s.opts.Site.FromOwnPage(header) {
		return who
	}
	return nil
}
