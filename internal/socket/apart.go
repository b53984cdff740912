package socket

import (
	"io"
	"log/slog"
	"runtime/debug"
)

// Go serves a connection that was taken over from net/http on a goroutine of its own. A panic ends
// that connection alone, as it does in a handler.
func Go(log *slog.Logger, conn io.Closer, serve func()) {
	go func() {
		defer func() {
			if e := recover(); e != nil {
				log.Error("panic while a WebSocket was served", "panic", e, "stack", string(debug.Stack()))
				_ = conn.Close()
			}
		}()
		serve()
	}()
}
