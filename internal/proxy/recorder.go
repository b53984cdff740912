package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

var errTooLarge = errors.New("the answer is too large")

// recorder is a response writer that keeps the answer, up to a limit.
type recorder struct {
	method string
	limit  int64
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
	over   bool // more came than may be kept
}

func newRecorder(method string, limit int64) *recorder {
	return &recorder{method: method, limit: limit, header: make(http.Header)}
}

// Header is part of http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader is part of http.ResponseWriter. Informational answers are not passed on:
// an answer is one message.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status, r.sent = status, r.header.Clone()
	}
}

// Write is part of http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if int64(r.body.Len()+len(p)) > r.limit {
		r.over = true
		return 0, errTooLarge
	}
	return r.body.Write(p)
}

// message is the answer as an HTTP message whose length is known, and its status. It
// has no trailers, which intermediaries may leave out.
func (r *recorder) message() (message []byte, status int) {
	r.WriteHeader(http.StatusOK)
	head := r.head()
	if r.over || int64(len(head)+r.body.Len()) > r.limit {
		limit := r.limit
		*r = *newRecorder(r.method, r.limit)
		writeProblem(r, http.StatusBadGateway, "bad_answer",
			fmt.Sprintf("the server behind this proxy answered more than the %d bytes that can go through", limit))
		head = r.head()
	}
	if r.method == http.MethodHead {
		return head, r.status
	}
	return append(head, r.body.Bytes()...), r.status
}

func (r *recorder) head() []byte {
	h := r.sent
	for _, name := range []string{"Transfer-Encoding", "Trailer"} {
		h.Del(name)
	}
	switch {
	case r.method == http.MethodHead: // the length is that of the answer to a GET, if it is known
	case r.status == http.StatusNoContent:
		h.Del("Content-Length")
	case r.status == http.StatusNotModified:
	default:
		h.Set("Content-Length", strconv.Itoa(r.body.Len()))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	_ = h.Write(&b) // a buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}
