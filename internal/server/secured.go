package server

import "net/http"

// secured has every answer tell browsers what they may do with it: nothing that a page can do. It is around
// all routes, so that none can be without; handlers with a page of their own allow more, and the proxy, whose
// answers come from services, takes all of it back.
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
