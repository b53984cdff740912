package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/oapi-codegen/runtime"
)

// operations has what a request of the contract says decoded for its handler. The method of each operation
// is in api.gen.go, made by the templates in tools/templates; what they call for each parameter, body and
// answer is here, once.
type operations struct {
	handlers StrictServerInterface
	around   []func(http.Handler) http.Handler // of all operations; the last is the outermost

	refused func(w http.ResponseWriter, r *http.Request, err error) // answers what can't be decoded
	failed  func(w http.ResponseWriter, r *http.Request, err error) // answers what a handler returns
}

// serve runs a handler behind what is around all of them.
func (o *operations) serve(w http.ResponseWriter, r *http.Request, run http.HandlerFunc) {
	handler := http.Handler(run)
	for _, next := range o.around {
		handler = next(handler)
	}
	handler.ServeHTTP(w, r)
}

// paramError is a parameter that is missing or can't be read.
type paramError struct {
	name string
	err  error // nil: it is missing
}

func (e *paramError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the parameter %s is missing", e.name)
	}
	return fmt.Sprintf("invalid parameter %s: %v", e.name, e.err)
}

// path reads a parameter of the path into dest, and answers with a problem where it can't. Like query, header
// and body it reports whether the request is handled further.
func (o *operations) path(w http.ResponseWriter, r *http.Request, name string, dest any, how runtime.BindStyledParameterOptions) bool {
	how.ParamLocation, how.ValueIsUnescaped = runtime.ParamLocationPath, r.URL.RawPath == ""
	return o.read(w, r, name, runtime.BindStyledParameterWithOptions("simple", name, chi.URLParam(r, name), dest, how))
}

// query reads a parameter of the query.
func (o *operations) query(
	w http.ResponseWriter, r *http.Request, explode, required bool, name string, dest any, how runtime.BindQueryParameterOptions,
) bool {
	err := runtime.BindQueryParameterWithOptions("form", explode, required, name, r.URL.Query(), dest, how)
	if missing := (*runtime.RequiredParameterError)(nil); errors.As(err, &missing) {
		o.refused(w, r, &paramError{name: name})
		return false
	}
	return o.read(w, r, name, err)
}

// header reads a header that need not be there.
func header[T any](o *operations, w http.ResponseWriter, r *http.Request, name string, dest **T, how runtime.BindStyledParameterOptions) bool {
	values := r.Header.Values(name)
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return o.read(w, r, name, fmt.Errorf("the header is there %d times", len(values)))
	}
	how.ParamLocation = runtime.ParamLocationHeader
	*dest = new(T)
	return o.read(w, r, name, runtime.BindStyledParameterWithOptions("simple", name, values[0], *dest, how))
}

// read answers with a problem when a parameter could not be read.
func (o *operations) read(w http.ResponseWriter, r *http.Request, name string, err error) bool {
	if err != nil {
		o.refused(w, r, &paramError{name, err})
	}
	return err == nil
}

// body decodes the body of a request, which may be empty where it is not required: then dest stays nil.
func body[T any](o *operations, w http.ResponseWriter, r *http.Request, dest **T, required bool) bool {
	v := new(T)
	err := decodeBody(r, v)
	switch {
	case errors.Is(err, io.EOF) && !required:
	case err != nil:
		o.refused(w, r, fmt.Errorf("can't decode JSON body: %w", err))
		return false
	default:
		*dest = v
	}
	return true
}

// writeJSON writes an answer. Nothing is written when it can't be encoded.
func writeJSON(w http.ResponseWriter, status int, media string, body any) error {
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(body); err != nil {
		return err
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, err := buf.WriteTo(w)
	return err
}
