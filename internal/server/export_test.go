package server

import (
	"log/slog"

	"github.com/go-chi/chi/v5"
)

// Routes are those of the HTTP side, for tests that ask all of them.
func Routes() chi.Routes {
	s := &Server{log: slog.New(slog.DiscardHandler)}
	s.verbs = s.commands()
	routes, _ := s.newHTTP().Handler.(chi.Routes)
	return routes
}
