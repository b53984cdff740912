package server

import (
	"net/http"

	"github.com/rushmore/zbus-go/internal/socket"
)

// unbroken logs a handler that panics, and closes the connection, as the answer may be half written.
func (s *Server) unbroken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			e := recover()
			if e == nil {
				return
			}
			if e != http.ErrAbortHandler { //nolint:errorlint // net/http compares it, too
				socket.LogPanic(s.log, e, "method", req.Method)
			}
			panic(http.ErrAbortHandler) // which net/http does not log
		}()
		next.ServeHTTP(w, req)
	})
}
