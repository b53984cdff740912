package server

import (
	"net/http"
	"strings"
)

// largeAnswer is the size from which what is written of an answer at once counts: an
// answer that was put together as a whole is in memory until its client has read it.
const largeAnswer = 64 << 10

// retryAfter is what a client is told that has to try again, in seconds.
const retryAfter = "1"

// holdAnswer accounts for answers. One is let through whatever its size, as long as it is
// the only one.
func (s *Server) holdAnswer(n int64) bool {
	if all := s.answers.Add(n); all > s.opts.AnswerBytes && all > n {
		s.answers.Add(-n)
		return false
	}
	return true
}

// heldAnswer is the answer of a handler. What it holds in memory is accounted for until
// the end of the request. Over the limit it becomes a 503, if nothing of it was sent and
// the request changed nothing: of one that did, a 503 would say that it is not done.
type heldAnswer struct {
	http.ResponseWriter
	srv    *Server
	safe   bool  // the request changes nothing
	held   int64 // by Hold
	status int   // to be sent with the first bytes; 0: none was set, or it is sent
	sent   bool
}

// Hold accounts for the parts of an answer before it is put together, and reports false
// when there is no room. A handler that has called it is not asked again.
func (a *heldAnswer) Hold(n int64) bool {
	if !a.srv.holdAnswer(n) {
		return false
	}
	a.held += n
	return true
}

// release is called when the request is over.
func (a *heldAnswer) release() {
	a.begin()
	a.srv.answers.Add(-a.held)
}

// Unwrap is for http.ResponseController.
func (a *heldAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader notes the status. It is sent when something follows, or at the end.
func (a *heldAnswer) WriteHeader(status int) {
	if status < http.StatusOK {
		a.ResponseWriter.WriteHeader(status)
	} else if !a.sent && a.status == 0 {
		a.status = status
	}
}

// begin sends the status.
func (a *heldAnswer) begin() {
	if a.status == 0 {
		return
	}
	if h := a.Header(); (a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", retryAfter)
	}
	a.ResponseWriter.WriteHeader(a.status)
	a.status, a.sent = 0, true
}

// Write sends a part of the answer.
func (a *heldAnswer) Write(p []byte) (int, error) {
	if n := int64(len(p)); n >= largeAnswer && a.held == 0 {
		switch {
		case a.srv.holdAnswer(n):
		case !a.sent && a.safe:
			a.refuse()
			return 0, errNoMemory
		default: // what has begun ends, and what is done is told
			a.srv.answers.Add(n)
		}
		defer a.srv.answers.Add(-n)
	}
	a.begin()
	a.sent = true
	return a.ResponseWriter.Write(p)
}

// refuse answers with 503 in place of the answer.
func (a *heldAnswer) refuse() {
	h := a.Header()
	for name := range h {
		if strings.HasPrefix(name, "Content-") || name == "Etag" || name == "Cache-Control" {
			h.Del(name)
		}
	}
	h.Set("Content-Type", "application/problem+json")
	a.status = http.StatusServiceUnavailable
	a.begin()
	_, _ = a.ResponseWriter.Write([]byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"answers that clients are slow to read fill the memory: try again later"}` + "\n"))
}

// FlushError is for http.ResponseController.
func (a *heldAnswer) FlushError() error {
	a.begin()
	a.sent = true
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Flush is part of http.Flusher.
func (a *heldAnswer) Flush() { _ = a.FlushError() }
