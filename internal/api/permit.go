package api

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
)

// needKey finds in a request's context what its operation takes.
type needKey struct{}

// permit lets an operation be done by who may do it, as the contract says. What has a topic
// is judged when the topic is found: see view.
func (h *handler) permit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		route := chi.RouteContext(req.Context())
		need := permissions[route.RouteMethod+" "+route.RoutePattern()] // an operation without one is nobody's
		first := need
		if need.OfTopics() {
			first = access.See // who has said who it is
		}
		if err := access.From(req.Context()).Check(first, "", ""); err != nil {
			h.problem(w, req, err)
			return
		}
		ctx := context.WithValue(req.Context(), needKey{}, need)
		if need == access.Nothing || need == access.Admin {
			ctx = context.WithValue(ctx, exchangeKey{}, exchange{w, req})
		}
		next.ServeHTTP(w, req.WithContext(ctx))
	})
}

// view is the broker as the caller sees it who does the operation of the request.
func (h *handler) view(ctx context.Context) broker.View {
	need, _ := ctx.Value(needKey{}).(access.Verb)
	return h.broker.As(access.From(ctx), need)
}

// actor is who asks, for people: the account, or the address where nobody says who it is.
func actor(ctx context.Context) string { return access.From(ctx).Actor().Name }
