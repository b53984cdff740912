package server

import (
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/rushmore/zbus-go/internal/access"
)

// HTTPOf is the HTTP side of a server that has handlers, and no broker.
func HTTPOf(log *slog.Logger, handlers map[string]http.Handler) *http.Server {
	const room = 1 << 20
	s := &Server{log: log, access: access.Open(), opts: Options{Handlers: handlers, RequestBytes: room, SmallBytes: room, AnswerBytes: room}}
	s.addresses.init(s.opts.Addresses, room, room)
	s.handling.init()
	s.verbs = s.commands()
	return s.newHTTP()
}

// Routes are those of the HTTP side, for tests that ask all of them.
func Routes() chi.Routes {
	s := &Server{log: slog.New(slog.DiscardHandler)}
	s.verbs = s.commands()
	routes, _ := s.newHTTP().Handler.(chi.Routes)
	return routes
}
