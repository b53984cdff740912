package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
)

// backupPatience is how long a client may take for one part of a backup, which is 256 KiB.
const backupPatience = 10 * time.Second

// GetBackup hands out a copy of the database.
func (h *handler) GetBackup(ctx context.Context, _ GetBackupRequestObject) (GetBackupResponseObject, error) {
	if h.Backup == nil {
		return nil, &broker.Error{Code: broker.Unavailable, Text: "this broker takes no backups"}
	}
	im, err := h.Backup(access.From(ctx).Actor())
	if broker.CodeOf(err) == broker.Conflict {
		return nil, &broker.Error{Code: broker.Conflict, Text: "another backup is being taken: try again when it is complete"}
	}
	if err != nil {
		return nil, err
	}
	return &backupAnswer{image: im, copy: func(w *timedWriter) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		ended := make(chan struct{})
		defer func() { cancel(nil); <-ended }()
		go func() {
			defer close(ended)
			select {
			case <-h.Stopping:
				cancel(fmt.Errorf("shutting down: %w", context.Canceled))
				w.cut()
			case <-ctx.Done():
			}
		}()
		return im.Copy(ctx, w)
	}}, nil
}

// backupAnswer is the answer with a copy of the database.
type backupAnswer struct {
	image Image
	copy  func(w *timedWriter) error
}

// VisitGetBackupResponse implements GetBackupResponseObject. When the copy ends early,
// the answer has fewer bytes than it announced, and net/http closes the connection.
func (a *backupAnswer) VisitGetBackupResponse(w http.ResponseWriter) error {
	defer a.image.Close()
	head := w.Header()
	head.Set("Content-Type", "application/vnd.sqlite3")
	head.Set("Content-Length", strconv.FormatInt(a.image.Size(), 10))
	head.Set("Content-Disposition", `attachment; filename="zbus-`+time.Now().UTC().Format("20060102T150405Z")+`.db"`)
	w.WriteHeader(http.StatusOK)
	out := &timedWriter{w: w, to: http.NewResponseController(w)}
	_ = a.copy(out) // the broker's state says why
	return out.to.SetWriteDeadline(time.Time{})
}

// timedWriter ends when the client is too slow.
type timedWriter struct {
	w    http.ResponseWriter
	to   *http.ResponseController
	mu   sync.Mutex
	over bool // guarded by mu
}

func (t *timedWriter) Write(p []byte) (int, error) {
	if err := t.extend(); err != nil {
		return 0, err
	}
	return t.w.Write(p)
}

// extend gives the client time for one more part.
func (t *timedWriter) extend() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return context.Canceled
	}
	return t.to.SetWriteDeadline(time.Now().Add(backupPatience))
}

// cut ends what is being written.
func (t *timedWriter) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	_ = t.to.SetWriteDeadline(time.Now())
}
