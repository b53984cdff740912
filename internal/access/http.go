package access

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// TokenProtocol begins the subprotocol of a WebSocket by which a page gives a token, since it
// can't set headers; the token follows.
const TokenProtocol = "zbus.token."

// TicketProtocol begins the subprotocol by which it gives a ticket.
const TicketProtocol = "zbus.ticket."

// cookieName is the name of a cookie here. Over TLS it has a prefix with which browsers
// take it from this host alone. It has the port, since browsers give cookies to all ports of a
// host: two brokers on one machine would log each other's people out.
func cookieName(req *http.Request, name string) string {
	if req.TLS != nil {
		name = "__Host-" + name
	}
	if _, port, err := net.SplitHostPort(req.Host); err == nil {
		name += "-" + port
	}
	return name
}

// LoginOf is the secret of the login that a request comes with, or "".
func LoginOf(req *http.Request) string {
	return cookieOf(req, loginCookie)
}

// SignOnOf is the secret of the sign-on that the browser has begun, or "".
func SignOnOf(req *http.Request) string { return cookieOf(req, signOnCookie) }

const (
	loginCookie  = "zbus-login"
	signOnCookie = "zbus-sign-on"
)

func cookieOf(req *http.Request, name string) string {
	c, err := req.Cookie(cookieName(req, name))
	if err != nil {
		return ""
	}
	return c.Value
}

// LoginCookie is the cookie that keeps a login; an empty secret removes it.
func LoginCookie(req *http.Request, secret string) *http.Cookie {
	return cookie(req, loginCookie, secret, LoginTime)
}

// SignOnCookie is the cookie by which the browser can finish a sign-on; an empty secret removes it.
func SignOnCookie(req *http.Request, secret string) *http.Cookie {
	return cookie(req, signOnCookie, secret, signOnTime)
}

// signOnTime is how long a browser keeps that.
const signOnTime = 10 * time.Minute

func cookie(req *http.Request, name, secret string, keep time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(req, name), Value: secret, Path: "/", Secure: req.TLS != nil, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, MaxAge: int(keep.Seconds()),
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

// Portable is the header by which a request says who its client is to this server and to others
// that know the same; "" for a login, a ticket or a certificate, which are good here alone.
func Portable(req *http.Request) (name, value string) {
	for _, name := range []string{"Token", "Authorization"} {
		if value := req.Header.Get(name); value != "" {
			return name, value
		}
	}
	for name := range strings.SplitSeq(req.Header.Get("Sec-Websocket-Protocol"), ",") {
		if token, ok := strings.CutPrefix(strings.TrimSpace(name), TokenProtocol); ok {
			return "Token", token
		}
	}
	return "", ""
}
