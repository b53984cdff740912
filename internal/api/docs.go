package api

import (
	_ "embed" // for the documents
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/packed"
)

// The contracts, and the page that makes openapi.yaml readable, all compressed by tools/apidocs.
var (
	//go:embed openapi.gen.yaml.gz
	openAPI []byte
	//go:embed asyncapi.gen.yaml.gz
	asyncAPI []byte
	//go:embed docs.gen.html.gz
	docsPage []byte
	//go:embed docs.gen.css.gz
	docsStyle []byte
	//go:embed docs.gen.js.gz
	docsScript []byte
)

// docsPolicy lets the page load its style and its script from here, ask this broker, and nothing else.
const docsPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs adds the contracts, and the page with its style and script.
func docs(r chi.Router) {
	r.Method(http.MethodGet, apimodel.Base+"/openapi.yaml", packed.New("application/yaml", openAPI))
	r.Method(http.MethodGet, apimodel.Base+"/asyncapi.yaml", packed.New("application/yaml", asyncAPI))
	page := packed.New("text/html; charset=utf-8", docsPage)
	r.Get("/api/docs", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		page.ServeHTTP(w, req)
	})
	r.Method(http.MethodGet, "/api/docs.js", packed.New("text/javascript; charset=utf-8", docsScript))
	r.Method(http.MethodGet, "/api/docs.css", packed.New("text/css; charset=utf-8", docsStyle))
}
