package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/server"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
)

// turn answers clients while the broker waits for its turn.
type turn struct {
	listeners []net.Listener
	tls       *tls.Config
	log       *slog.Logger

	owner     atomic.Pointer[postgres.Node]
	answering *part // nil before it waits
}

// wait says for which broker this one waits. It is called by the goroutine that opens the store.
func (t *turn) wait(owner postgres.Node) {
	t.owner.Store(&owner)
	if t.answering != nil {
		return
	}
	w := &server.Waiting{Owner: func() (name, address string) { return t.owner.Load().Name, t.owner.Load().Address }, TLS: t.tls, Log: t.log}
	t.answering = start(context.Background(), func(ctx context.Context) error {
		w.Serve(ctx, t.listeners)
		return nil
	})
}

// waited reports whether the broker had to wait.
func (t *turn) waited() bool { return t.answering != nil }

// end ends the answers: it is this broker's turn, or it will not be.
func (t *turn) end() {
	if t.answering != nil {
		t.answering.stop()
		<-t.answering.done
	}
}
