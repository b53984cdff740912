package access

import (
	"context"
	"net/http"
)

// TokenProtocol begins the subprotocol of a WebSocket by which a page gives a token, since it
// can't set headers; the token follows.
const TokenProtocol = "zbus.token."

// The cookies of a login. The first is a browser's only over HTTPS, and then nobody's but this
// host's.
const (
	secureCookie = "__Host-zbus-login"
	plainCookie  = "zbus-login"
)

// LoginOf is the secret of the login that a request comes with, or "".
func LoginOf(req *http.Request) string {
	names := []string{plainCookie}
	if req.TLS != nil {
		names = []string{secureCookie}
	}
	for _, name := range names {
		if c, err := req.Cookie(name); err == nil {
			return c.Value
		}
	}
	return ""
}

// LoginCookie is the cookie that keeps a login; an empty secret removes it.
func LoginCookie(req *http.Request, secret string) *http.Cookie {
	c := &http.Cookie{
		Name: plainCookie, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(LoginTime.Seconds()),
	}
	if req.TLS != nil {
		c.Name, c.Secure = secureCookie, true
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
