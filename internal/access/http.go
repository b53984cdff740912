package access

import (
	"context"
	"net"
	"net/http"
)

// TokenProtocol begins the subprotocol of a WebSocket by which a page gives a token, since it
// can't set headers; the token follows.
const TokenProtocol = "zbus.token."

// cookieName is the name of the cookie of a login. Over TLS it has a prefix with which browsers
// take it from this host alone. It has the port, since browsers give cookies to all ports of a
// host: two brokers on one machine would log each other's people out.
func cookieName(req *http.Request) string {
	name := "zbus-login"
	if req.TLS != nil {
		name = "__Host-zbus-login"
	}
	if _, port, err := net.SplitHostPort(req.Host); err == nil {
		name += "-" + port
	}
	return name
}

// LoginOf is the secret of the login that a request comes with, or "".
func LoginOf(req *http.Request) string {
	c, err := req.Cookie(cookieName(req))
	if err != nil {
		return ""
	}
	return c.Value
}

// LoginCookie is the cookie that keeps a login; an empty secret removes it.
func LoginCookie(req *http.Request, secret string) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(req), Value: secret, Path: "/", Secure: req.TLS != nil, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(LoginTime.Seconds()),
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

type callerKey struct{}

// With puts the caller into the context of a request.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From is the caller of a request. A context without one is of nobody, who
// may do nothing.
func From(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{}
}
