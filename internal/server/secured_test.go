package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/server"
)

// everyRoute asks the routers which routes there are: methods with paths, with values in them.
func everyRoute(t *testing.T) (all [][2]string) {
	t.Helper()
	seen := map[[2]string]bool{}
	add := func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		path := strings.NewReplacer("{topic}", "T", "{group}", "g", "{", "", "}", "", "*", "T").Replace(route)
		if one := [2]string{method, path}; method != http.MethodConnect && !seen[one] {
			seen[one] = true
			all = append(all, one)
		}
		return nil
	}
	inAPI, ok := api.New(api.Options{Live: http.NotFoundHandler()}).(chi.Routes)
	if !ok {
		t.Fatal("the API is no router")
	}
	for _, routes := range []chi.Routes{server.Routes(), inAPI} {
		if err := chi.Walk(routes, add); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/ui", "/ui/", "/ui/index.html", "/ui/none", "/metrics", "/api/none"} { // handlers, not routes
		all = append(all, [2]string{http.MethodGet, path}, [2]string{http.MethodPost, path})
	}
	return all
}

// Every answer, to any client and also of what is not there, tells browsers not to guess its type, not to show
// it within another page, to run nothing in it, and not to say where they come from.
func TestEveryRouteTellsBrowsersWhatTheyMayDo(t *testing.T) {
	t.Parallel()
	routes := everyRoute(t)
	t.Logf("%d routes", len(routes))
	for _, auth := range []config.Auth{config.AuthOff, config.AuthOn} {
		b := start(t, func(c *config.Config) { c.Auth = auth })
		if auth == config.AuthOff {
			c := b.dial(t)
			c.ok("declare topic=T")
			for range 50 { // which consuming takes
				c.ok("produce topic=T", "x")
			}
		}
		client := &http.Client{
			Timeout:       patience,
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		for _, route := range routes {
			req, err := http.NewRequestWithContext(t.Context(), route[0], "http://"+b.addr+route[1], http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", route, err)
			}
			_ = resp.Body.Close()
			policy := resp.Header.Get("Content-Security-Policy")
			closed := strings.HasPrefix(policy, "sandbox") || strings.HasPrefix(policy, "default-src 'none'") && strings.Contains(policy, "frame-ancestors 'none'")
			if !closed || strings.Contains(policy, "unsafe") {
				t.Errorf("%s %d: Content-Security-Policy %q", route, resp.StatusCode, policy)
			}
			for name, want := range map[string][]string{
				"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer", "same-origin"},
				"Cross-Origin-Resource-Policy": {"same-origin"}, "Cache-Control": {"no-store", "no-cache"},
			} {
				if got := resp.Header.Values(name); len(got) != 1 || !slices.Contains(want, got[0]) {
					t.Errorf("%s %d: %s %q", route, resp.StatusCode, name, got)
				}
			}
		}
	}
}
