package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/closest"
	"github.com/rushmore/zbus-go/internal/problem"
)

// actions are the words behind a colon at the end of a path.
var actions = map[string]bool{
	"empty": true, "pause": true, "resume": true, "pull": true, "ack": true, "nack": true, "extend": true,
	"accept": true, "apply": true, "revert": true, "test": true, "transaction": true,
	"confirm-clock": true, "drain": true, "undrain": true, "check": true, "rotate": true, "redrive": true,
}

// escapeColons tells the colons in names from the one before an action, which is the last
// one of a POST: the router must not see the others.
func escapeColons(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := req.URL.EscapedPath()
		end := len(path)
		if i := strings.LastIndexByte(path, ':'); req.Method == http.MethodPost && i >= 0 && actions[path[i+1:]] {
			end = i
		}
		if strings.IndexByte(path[:end], ':') >= 0 {
			// The router goes by the raw path if there is one, and what it finds there
			// is unescaped.
			u := *req.URL
			u.RawPath = strings.ReplaceAll(path[:end], ":", "%3A") + path[end:]
			req = req.Clone(req.Context())
			req.URL = &u
		}
		next.ServeHTTP(w, req)
	})
}

// methods are those of the API, in the order in which they are listed.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// noRoute answers a request whose path or method the contract does not have, and says
// what it has.
func (h *handler) noRoute(w http.ResponseWriter, req *http.Request) {
	path := req.URL.EscapedPath() // as escapeColons left it
	on, action := cutAction(path)
	allowed := h.methodsOf(path)
	text := ""
	switch {
	case h.has(on, action):
		allowed, text = []string{http.MethodPost}, ":"+action+" is an action: use POST"
	case req.Method == http.MethodPost && action != "" && len(h.actionsOf(on)) > 0:
		there := h.actionsOf(on)
		text = "there is no action :" + broker.Excerpt(action) + " here" + closest.Hint(action, ":%s", there) + ": use :" + anyOf(there, ":")
	case len(allowed) > 0:
		text = req.Method + " is not possible here: use " + anyOf(allowed, "")
		if there := h.actionsOf(path); len(there) > 0 {
			text += ", or POST with an action: :" + anyOf(there, ":")
		}
	default:
		text = "no such path: " + req.URL.Path
	}
	text += "; see " + apimodel.Base + "/openapi.yaml"
	if len(allowed) == 0 {
		h.problem(w, req, &broker.Error{Code: broker.NotFound, Text: text})
		return
	}
	h.problem(w, req, &problem.Error{Code: "invalid", Status: http.StatusMethodNotAllowed, Text: text, Allow: allowed})
}

// misread explains that something is not there whose name ends like an action that is
// done with another method. It may be a name all the same, so it stays not found.
func (h *handler) misread(req *http.Request, err error) error {
	on, action := cutAction(req.URL.EscapedPath())
	if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != http.MethodPut || broker.CodeOf(err) != broker.NotFound || !h.has(on, action) {
		return err
	}
	return &problem.Error{
		Code: "not_found", Status: http.StatusMethodNotAllowed, Text: broker.TextOf(err) + "; :" + action + " is an action: use POST",
		Allow: []string{http.MethodPost}, Err: err,
	}
}

// cutAction splits a path, as escapeColons leaves it, at the last colon of its last segment.
// The action is empty when there is none.
func cutAction(path string) (on, action string) {
	i := max(strings.LastIndex(path, ":"), strings.LastIndex(path, "%3A"))
	if i < 0 || strings.Contains(path[i:], "/") {
		return path, ""
	}
	return path[:i], strings.TrimPrefix(strings.TrimPrefix(path[i:], ":"), "%3A")
}

// namedLikeAction reports whether a name could be the end of the path of an action.
func namedLikeAction(name string) bool {
	_, action := cutAction(name)
	return actions[action]
}

// has reports whether there is an action for what is at a path.
func (h *handler) has(on, action string) bool {
	return actions[action] && h.routes.Match(chi.NewRouteContext(), http.MethodPost, on+":"+action)
}

// actionsOf are the actions for what is at a path, in order.
func (h *handler) actionsOf(path string) (there []string) {
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		if h.has(path, action) {
			there = append(there, action)
		}
	}
	return there
}

// methodsOf are the methods that a path has.
func (h *handler) methodsOf(path string) (allowed []string) {
	for _, method := range methods {
		if h.routes.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

// anyOf lists words for a sentence, with prefix before all but the first.
func anyOf(words []string, prefix string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", "+prefix) + " or " + prefix + words[last]
}
