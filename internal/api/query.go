package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/closest"
)

// queryNames are the query parameters of each operation, by its method and path as the
// router has them.
type queryNames map[string][]string

// queryNamesOf reads them from the contract.
func queryNamesOf(text string) (queryNames, error) {
	_, operations, err := parseContract(text)
	if err != nil {
		return nil, err
	}
	all := make(queryNames, len(operations))
	for _, op := range operations {
		names := []string{}
		for _, p := range op.Parameters {
			if p.In == "query" {
				names = append(names, p.Name)
			}
		}
		all[op.Method+" "+op.Path] = names
	}
	return all, nil
}

// queries refuses parameters that an operation does not have: what is misspelt would
// be left out, and a change made that was not asked for. known is called for requests
// that have parameters, by any number of goroutines.
func (h *handler) queries(known func() (queryNames, error)) MiddlewareFunc {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.RawQuery != "" {
				all, err := known()
				if err == nil {
					route := chi.RouteContext(req.Context())
					names, described := all[route.RouteMethod+" "+route.RoutePattern()]
					err = checkQuery(req.URL.RawQuery, names, described)
				}
				if err != nil {
					h.problem(w, req, err)
					return
				}
			}
			next.ServeHTTP(w, req)
		})
	}
}

// checkQuery refuses a query that says something else than its operation hears. names
// are those that the operation has, if it is described.
func checkQuery(raw string, names []string, described bool) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return invalid("the query can't be understood: %v", err)
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
	return invalid("the query parameter %q is not known here%s", broker.Excerpt(name), hint)
}
