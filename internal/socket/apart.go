package socket

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
)

// Go serves a connection that was taken over from net/http on a goroutine of its own. A panic ends
// that connection alone, as it does in a handler.
func Go(log *slog.Logger, conn io.Closer, serve func()) {
	go func() {
		defer func() {
			if e := recover(); e != nil {
				LogPanic(log, e)
				_ = conn.Close()
			}
		}()
		serve()
	}()
}

// LogPanic logs what was recovered. The log says where it was and not what it said: that can have a header
// or a body in it, with a token or a password. Errors of the runtime have none.
func LogPanic(log *slog.Logger, e any, args ...any) {
	what := fmt.Sprintf("%T", e)
	if err, ok := e.(runtime.Error); ok {
		what = err.Error()
	}
	log.Error("a handler panicked: this is a fault of the broker", append(args, "panic", what, "stack", string(debug.Stack()))...)
}
