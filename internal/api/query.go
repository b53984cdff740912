package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/closest"
	"github.com/rushmore/zbus-go/internal/problem"
)

// queries refuses parameters that an operation does not have: what is misspelt would
// be left out, and a change made that was not asked for.
func (h *handler) queries(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "" {
			route := chi.RouteContext(req.Context())
			names, described := queryNames[route.RouteMethod+" "+route.RoutePattern()]
			if err := checkQuery(req.URL.RawQuery, names, described); err != nil {
				h.problem(w, req, err)
				return
			}
		}
		next.ServeHTTP(w, req)
	})
}

// checkQuery refuses a query that says something else than its operation hears. names
// are those that the operation has, if it is described.
func checkQuery(raw string, names []string, described bool) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return problem.Invalid("malformed query: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if described && !slices.Contains(names, name) {
			return unknownParameter(name, names)
		}
	}
	return nil
}

func unknownParameter(name string, names []string) error {
	hint := closest.Hint(name, "%q", names)
	switch {
	case hint == "" && len(names) == 0:
		hint = ": there are none"
	case hint == "":
		hint = ": use " + anyOf(names, "")
	}
	return problem.Invalid("unknown query parameter %q%s", broker.Excerpt(name), hint)
}
