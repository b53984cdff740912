package api

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
)

// elsewhere passes on what is asked of a topic that another server has. To declare a topic is
// for this server.
func (h *handler) elsewhere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		need, _ := req.Context().Value(needKey{}).(access.Verb)
		topic, group := pathValue(req, "topic"), pathValue(req, "group")
		if topic == "" || !h.forward.Try(w, req, need, topic, group) {
			next.ServeHTTP(w, req)
		}
	})
}

// pathValue is a part of the path, as it was meant; "" when it is not there.
func pathValue(req *http.Request, name string) string {
	text := chi.URLParam(req, name)
	if req.URL.RawPath == "" {
		return text
	}
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return ""
}
