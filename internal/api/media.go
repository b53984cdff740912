package api

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// wrongMedia is the error of a body of a kind that is not read.
type wrongMedia struct{ text string }

func (e *wrongMedia) Error() string { return e.text }

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
		if err != nil {
			w.Header().Set("Accept", "application/json, application/x-ndjson")
			w.Header().Set("Accept-Encoding", "identity")
			h.problem(w, req, err)
			return
		}
		req.Header.Set("Content-Type", kind)
		next.ServeHTTP(w, req)
	})
}

// mediaType is the kind of a body: application/json or application/x-ndjson.
func mediaType(head http.Header) (string, error) {
	if coding := strings.Join(head.Values("Content-Encoding"), ", "); coding != "" && !strings.EqualFold(coding, "identity") {
		return "", &wrongMedia{fmt.Sprintf("the body is encoded as %.100q, which is not decoded here: send it as it is", coding)}
	}
	text := head.Get("Content-Type")
	if text == "" {
		return "application/json", nil
	}
	kind, params, err := mime.ParseMediaType(text)
	if charset := params["charset"]; err == nil && charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", &wrongMedia{fmt.Sprintf("the body is in the character set %.100q: it must be in UTF-8", charset)}
	}
	switch {
	case err == nil && (kind == "application/json" || kind == "application/x-www-form-urlencoded"):
		return "application/json", nil
	case err == nil && kind == "application/x-ndjson":
		return kind, nil
	}
	return "", &wrongMedia{fmt.Sprintf("the type of the body is %.100q: it must be application/json, or for several messages application/x-ndjson", text)}
}
