package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// signOnPage is the page of the console that the issuer sends a browser back to.
const signOnPage = "/ui/sso"

// BeginSignOn begins a sign-on, and sets the cookie by which this browser can finish it.
func (h *handler) BeginSignOn(ctx context.Context, _ BeginSignOnRequestObject) (BeginSignOnResponseObject, error) {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok || h.SignOn == nil || !h.SignOn.Browsers() {
		return nil, &broker.Error{Code: broker.NotFound, Text: "there is no issuer that people could sign on with: start the broker with --sso-issuer and --sso-client-id"}
	}
	base, err := h.base(x.req)
	if err != nil {
		return nil, err
	}
	page, secret, err := h.SignOn.Begin(ctx, base+signOnPage, access.From(ctx).Host())
	if err != nil {
		return nil, err
	}
	http.SetCookie(x.w, access.SignOnCookie(x.req, secret))
	return BeginSignOn200JSONResponse{Url: page}, nil
}

// FinishSignOn finishes one, and sets the cookie of a login.
func (h *handler) FinishSignOn(ctx context.Context, r FinishSignOnRequestObject) (FinishSignOnResponseObject, error) {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok || h.SignOn == nil || !h.SignOn.Browsers() {
		return nil, &broker.Error{Code: broker.NotFound, Text: "there is no issuer that people could sign on with"}
	}
	http.SetCookie(x.w, access.SignOnCookie(x.req, ""))
	a, err := h.SignOn.Finish(ctx, access.SignOnOf(x.req), r.Body.State, r.Body.Code)
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
