package api

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/rushmore/zbus-go/internal/problem"
)

// wrongMedia is the error of a body of a kind that is not read.
func wrongMedia(format, said string) error {
	return &problem.Error{Code: "invalid", Status: http.StatusUnsupportedMediaType, Text: fmt.Sprintf(format, said)}
}

// media refuses bodies of a kind that the API does not read, and brings the name of what
// it does read into the form that the rest goes by. A body that says nothing of itself,
// or that curl -d calls a form, is taken for JSON.
func (h *handler) media(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Body == nil || req.Body == http.NoBody {
			next.ServeHTTP(w, req)
			return
		}
		kind, err := mediaType(req.Header)
		var zipped bool
		if err == nil {
			zipped, err = gzipped(req.Header)
		}
		if err != nil {
			w.Header().Set("Accept", "application/json, application/x-ndjson")
			w.Header().Set("Accept-Encoding", "gzip, identity")
			h.problem(w, req, err)
			return
		}
		if zipped {
			limit := lineFactor * h.maxBody()
			if kind == "application/x-ndjson" {
				limit *= LinesFactor
			}
			req.Body, req.ContentLength = newUnzipper(req.Body, limit), -1
		}
		req.Header.Set("Content-Type", kind)
		next.ServeHTTP(w, req)
	})
}

// mediaType is the kind of a body: application/json or application/x-ndjson.
func mediaType(head http.Header) (string, error) {
	text := strings.Join(head.Values("Content-Type"), ", ")
	if text == "" {
		return "application/json", nil
	}
	kind, params, err := mime.ParseMediaType(text)
	if charset := params["charset"]; err == nil && charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", wrongMedia("the body is in the character set %.100q: it must be in UTF-8", charset)
	}
	switch {
	case err == nil && (kind == "application/json" || kind == "application/x-www-form-urlencoded"):
		return "application/json", nil
	case err == nil && kind == "application/x-ndjson":
		return kind, nil
	}
	return "", wrongMedia("the type of the body is %.100q: it must be application/json, or for several messages application/x-ndjson", text)
}

// gzipped reports whether a body has to be unzipped. Other codings are refused.
func gzipped(head http.Header) (bool, error) {
	switch coding := strings.ToLower(strings.Join(head.Values("Content-Encoding"), ", ")); coding {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	default:
		return false, wrongMedia("the body is encoded as %.100q, which is not decoded here: send it as it is, or as gzip", coding)
	}
}

// accountant accounts for the memory that a body takes; see package server.
type accountant interface {
	Account(n int) error
	Handled()
}

// unzipper is a body that is unzipped while it is read. What comes out is limited and
// accounted for like a body that came as it is: a small one can hold a thousand times as much.
type unzipper struct {
	src   io.ReadCloser
	zip   *gzip.Reader // nil before the first read
	limit int64
	left  int64
}

func newUnzipper(src io.ReadCloser, limit int64) *unzipper {
	return &unzipper{src: src, limit: limit, left: limit}
}

// Read reads what was zipped.
func (u *unzipper) Read(p []byte) (n int, err error) {
	if u.zip == nil {
		if u.zip, err = gzip.NewReader(u.src); err != nil {
			return 0, badZip(err)
		}
	}
	n, err = u.zip.Read(p)
	if u.left -= int64(n); u.left < 0 {
		return 0, &http.MaxBytesError{Limit: u.limit}
	}
	if a, ok := u.src.(accountant); ok && n > 0 {
		if err := a.Account(n); err != nil {
			return 0, err
		}
	}
	return n, badZip(err)
}

// badZip explains the errors of gzip; those of the body itself stay.
func badZip(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return problem.Invalid("the body is not what gzip makes: %v", err)
	}
	return err
}

// Most is that of the body that is unzipped.
func (u *unzipper) Most() int64 { return mostOf(u.src) }

// Handled says that what was read so far is kept no longer.
func (u *unzipper) Handled() {
	if a, ok := u.src.(accountant); ok {
		a.Handled()
	}
}

// Close closes the body that is unzipped.
func (u *unzipper) Close() error { return u.src.Close() }
