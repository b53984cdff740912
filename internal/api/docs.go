package api

import (
	_ "embed" // for the page
	"net/http"

	"github.com/go-chi/chi/v5"
)

// docsPage makes the contract readable. It is made of openapi.yaml by tools/apidocs.
//
//go:embed docs.gen.html
var docsPage string

//go:embed docs.css
var docsStyle string

// docsPolicy lets the page load its style from here and nothing else from anywhere.
const docsPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs adds the page and its style.
func docs(r chi.Router) {
	page := text("text/html; charset=utf-8", docsPage)
	r.Get("/api/docs", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		page(w, req)
	})
	r.Get("/api/docs.css", text("text/css; charset=utf-8", docsStyle))
}
