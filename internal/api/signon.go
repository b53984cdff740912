package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// signOnPage is the page of the console that an issuer sends a browser back to, and consolePage that to which it does
// so after a logout.
const (
	signOnPage  = "/ui/sso"
	consolePage = "/ui/"
)

// BeginSignOn begins a sign-on, and sets the cookie by which this browser can finish it.
func (h *handler) BeginSignOn(ctx context.Context, r BeginSignOnRequestObject) (BeginSignOnResponseObject, error) {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok || len(h.signOnNames()) == 0 {
		return nil, &broker.Error{Code: broker.NotFound, Text: "there is no issuer that people could sign on with: start the broker with --sso-issuer and --sso-client-id"}
	}
	base, err := h.base(x.req)
	if err != nil {
		return nil, err
	}
	issuer := ""
	if r.Body != nil {
		issuer = apiconv.Or(r.Body.Issuer, "")
	}
	page, secret, err := h.SignOn.Begin(ctx, issuer, base+signOnPage, access.From(ctx).Host())
	if err != nil {
		return nil, err
	}
	http.SetCookie(x.w, access.SignOnCookie(x.req, secret))
	return BeginSignOn200JSONResponse{Url: page}, nil
}

// FinishSignOn finishes one, and sets the cookie of a login.
func (h *handler) FinishSignOn(ctx context.Context, r FinishSignOnRequestObject) (FinishSignOnResponseObject, error) {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok || len(h.signOnNames()) == 0 {
		return nil, &broker.Error{Code: broker.NotFound, Text: "there is no issuer that people could sign on with"}
	}
	http.SetCookie(x.w, access.SignOnCookie(x.req, ""))
	a, err := h.SignOn.Finish(ctx, access.SignOnOf(x.req), r.Body.State, r.Body.Code, apiconv.Or(r.Body.Iss, ""))
	if err != nil {
		return nil, err
	}
	secret, p, err := h.Access.SignOn(a)
	if err != nil {
		return nil, err
	}
	who := access.Caller{Principal: p, Address: access.From(ctx).Address}
	h.Log.Info("signed on", "account", p.Account(), "subject", a.Subject, "address", who.Address)
	setLogin(ctx, secret)
	return FinishSignOn200JSONResponse(h.whoami(who)), nil
}

// signOnNames are those of issuers that people can sign on with.
func (h *handler) signOnNames() []string {
	if h.SignOn == nil {
		return nil
	}
	return h.SignOn.Names()
}

// logoutPage is the page at which the issuer of a login ends its own; "": the caller had no such login, or the issuer
// has no such page. It sends the browser back here, if this is where it may be sent to.
func (h *handler) logoutPage(ctx context.Context, who access.Caller) string {
	a, signedOn := who.SignedOn()
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok || !signedOn || a.Expires != 0 || h.SignOn == nil { // a token of a program has nothing to log out of
		return ""
	}
	back, err := h.base(x.req)
	if err == nil {
		back += consolePage
	}
	return h.SignOn.Logout(a.Issuer, back)
}

// base is the URL below which the console is that a request came from: a public URL, or the address of
// this machine. A name that only the client says is no base: the issuer is told to send people there.
func (h *handler) base(req *http.Request) (string, error) {
	scheme := "http://"
	if req.TLS != nil {
		scheme = "https://"
	}
	from := scheme + req.Host
	if page := req.Header.Get("Origin"); page != "" {
		if from = page; !h.Site.Own(page, req.Host) {
			return "", problem.ForeignOrigin()
		}
	}
	if base, ok := h.Site.Base(from); ok {
		return base, nil
	}
	if len(h.Site.Pages) > 0 {
		return "", problem.Invalid("the issuer can't send a browser back here: open %s", strings.Join(h.Site.Pages, " or "))
	}
	return "", problem.Invalid("the issuer can't send a browser back to %s: start the broker with --public-url", broker.Excerpt(from))
}
