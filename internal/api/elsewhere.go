package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/forward"
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

// apart is why a transaction is refused that names topics which are not here: it is one commit, so
// it is not passed on. The error is err unless another server has one of them.
func (h *handler) apart(ctx context.Context, tx *Transaction, err error) error {
	if broker.CodeOf(err) != broker.NotFound || h.Cluster.Alone() {
		return err
	}
	var here, there []string
	look := func(need access.Verb, topic, group string) {
		text := "Topic(" + topic + ")"
		if owners, err := forward.Owners(h.broker, h.Cluster, access.From(ctx), need, topic, group); err == nil && len(owners) > 0 {
			there = append(there, text+" is on "+owners[0].Address.Address)
		} else if _, err := h.view(ctx).For(need).Topic(topic); err == nil {
			here = append(here, text+" is here")
		}
	}
	for _, m := range apiconv.Or(tx.Messages, nil) {
		look(access.Publish, m.Topic, "")
	}
	for _, a := range apiconv.Or(tx.Acks, nil) {
		look(access.Consume, a.Topic, a.Group)
	}
	for _, m := range apiconv.Or(tx.Relocations, nil) {
		look(access.Move, m.Topic, m.Group)
	}
	if len(there) == 0 {
		return err
	}
	slices.Sort(there)
	slices.Sort(here)
	return &forward.Misdirected{Text: "nothing was done, as a transaction is one commit on one server: " +
		strings.Join(append(slices.Compact(there), slices.Compact(here)...), ", ")}
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
