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

// What api.gen.go calls for each operation, parameter, body and answer. The templates in
// tools/templates leave it out there: written once, it takes a tenth of the room in the binary.

// serve runs a handler behind the middleware of all operations.
func (siw *ServerInterfaceWrapper) serve(w http.ResponseWriter, r *http.Request, run http.HandlerFunc) {
	handler := http.Handler(run)
	for _, middleware := range siw.HandlerMiddlewares {
		handler = middleware(handler)
	}
	handler.ServeHTTP(w, r)
}

// bindPath reads a path parameter into dest, and answers with a problem where it can't.
func (siw *ServerInterfaceWrapper) bindPath(w http.ResponseWriter, r *http.Request, name string, dest any, o runtime.BindStyledParameterOptions) bool {
	o.ParamLocation, o.ValueIsUnescaped = runtime.ParamLocationPath, r.URL.RawPath == ""
	if err := runtime.BindStyledParameterWithOptions("simple", name, chi.URLParam(r, name), dest, o); err != nil {
		siw.ErrorHandlerFunc(w, r, &InvalidParamFormatError{ParamName: name, Err: err})
		return false
	}
	return true
}

// bindQuery does so with a parameter of the query.
func (siw *ServerInterfaceWrapper) bindQuery(
	w http.ResponseWriter, r *http.Request, explode, required bool, name string, dest any, o runtime.BindQueryParameterOptions,
) bool {
	err := runtime.BindQueryParameterWithOptions("form", explode, required, name, r.URL.Query(), dest, o)
	var missing *runtime.RequiredParameterError
	switch {
	case errors.As(err, &missing):
		siw.ErrorHandlerFunc(w, r, &RequiredParamError{ParamName: name})
	case err != nil:
		siw.ErrorHandlerFunc(w, r, &InvalidParamFormatError{ParamName: name, Err: err})
	}
	return err == nil
}

// bindHeader does so with an optional header, and says whether there is one.
func (siw *ServerInterfaceWrapper) bindHeader(
	w http.ResponseWriter, r *http.Request, name string, dest any, o runtime.BindStyledParameterOptions,
) (found, ok bool) {
	values, found := r.Header[http.CanonicalHeaderKey(name)]
	if !found {
		return false, true
	}
	if len(values) != 1 {
		siw.ErrorHandlerFunc(w, r, &TooManyValuesForParamError{ParamName: name, Count: len(values)})
		return true, false
	}
	o.ParamLocation = runtime.ParamLocationHeader
	if err := runtime.BindStyledParameterWithOptions("simple", name, values[0], dest, o); err != nil {
		siw.ErrorHandlerFunc(w, r, &InvalidParamFormatError{ParamName: name, Err: err})
		return true, false
	}
	return true, true
}

// decode reads the body of a request into dest, and says whether there is one, which there
// has to be where it is required. It answers with a problem where it can't.
func (sh *strictHandler) decode(w http.ResponseWriter, r *http.Request, dest any, required bool) (given, ok bool) {
	err := decodeBody(r, dest)
	if errors.Is(err, io.EOF) && !required {
		return false, true
	}
	if err != nil {
		sh.options.RequestErrorHandlerFunc(w, r, fmt.Errorf("can't decode JSON body: %w", err))
		return false, false
	}
	return true, true
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
