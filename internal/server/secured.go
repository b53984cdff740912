package server

import "net/http"

// secured has every answer say what browsers may do with it: nothing, as far as a page is concerned. It is around
// all that is served, so that no route can be without; what has a page of its own says there what that
// may, and a proxy, whose answers are others', takes it all back.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, req)
	})
}
