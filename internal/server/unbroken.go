package server

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
)

// unbroken logs a handler that panics, and closes the connection, as the answer may be half written. The log says
// where it was and not what it said: that can have a header or a body in it, with a token or a password. Errors of
// the runtime have none.
func (s *Server) unbroken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			e := recover()
			if e == nil {
				return
			}
			if e != http.ErrAbortHandler { //nolint:errorlint // net/http compares it, too
				what := fmt.Sprintf("%T", e)
				if err, ok := e.(runtime.Error); ok {
					what = err.Error()
				}
				s.log.Error("a handler panicked: this is a fault of the broker", "panic", what, "method", req.Method, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler) // which net/http does not log
		}()
		next.ServeHTTP(w, req)
	})
}
