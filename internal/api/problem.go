package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/problem"
	"github.com/rushmore/zbus-go/internal/strictjson"
)

// problem answers a request with a problem document.
func (h *handler) problem(w http.ResponseWriter, req *http.Request, err error) {
	err = h.misread(req, err)
	p := problem.Of(err)
	if p.Code == "internal" && req.Context().Err() == nil {
		h.Log.Error("request failed", "method", req.Method, "path", req.URL.Path, "remote", req.RemoteAddr, "err", err)
	}
	if own := (*problem.Error)(nil); errors.As(err, &own) && len(own.Allow) > 0 {
		w.Header().Set("Allow", strings.Join(withHead(own.Allow, req.URL.Path), ", "))
	}
	if wait := access.RetryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	} else if p.Servers != nil {
		w.Header().Set("Retry-After", "1")
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	problem.Write(w, p)
}

// badRequest answers what could not be decoded.
func (h *handler) badRequest(w http.ResponseWriter, req *http.Request, err error) {
	h.problem(w, req, explain(err))
}

// explain says what is wrong with a body or a parameter.
func explain(err error) error {
	if param := (*paramError)(nil); errors.As(err, &param) {
		return problem.Invalid("%v", param)
	}
	return strictjson.Explain("the body", err)
}

// decodeBody decodes a JSON body that must be one value with the members that the
// contract gives it. It returns io.EOF for an empty one.
func decodeBody(req *http.Request, v any) error {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return io.EOF
	}
	if err := holdValues(req.Body, raw); err != nil {
		return err
	}
	return strictjson.Unmarshal(raw, v)
}
