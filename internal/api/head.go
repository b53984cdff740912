package api

import (
	"net/http"
	"path"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// heads lets HEAD be answered as GET; net/http leaves out the body.
func heads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodHead && !streams(req.URL.Path) {
			chi.RouteContext(req.Context()).RouteMethod = http.MethodGet
		}
		next.ServeHTTP(w, req)
	})
}

// streams reports whether the answer at a path has no end of its own, or costs as much as
// a whole backup. A stream of events consumes messages, which nobody would see.
func streams(at string) bool {
	events, _ := path.Match(apimodel.Base+"/topics/*/events", at) // the pattern is right
	return at == apimodel.Base+"/ws" || at == apimodel.Base+"/backup" || events
}

// withHead adds HEAD to the methods that a path has.
func withHead(methods []string, at string) []string {
	if i := slices.Index(methods, http.MethodGet); i >= 0 && !streams(at) {
		return slices.Insert(slices.Clone(methods), i+1, http.MethodHead)
	}
	return methods
}
