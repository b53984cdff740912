package server

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/rushmore/zbus-go/internal/condition"
)

func TestReadinessTellsConditionsAndHeedsThem(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	var stopped error
	s := &Server{opts: Options{Conditions: board, Ready: func() error { return stopped }}}
	ask := func(status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.ready(w, nil)
		if w.Code != status || w.Body.String() != body {
			t.Errorf("got %d %q, want %d %q", w.Code, w.Body, status, body)
		}
	}
	ask(200, "ok\n")
	board.Raise(condition.Condition{Kind: "damage", Subject: "orders", Severity: condition.Warning, Text: "a gap"})
	ask(200, "ok\nwarning damage orders: a gap\n")
	board.Raise(condition.Condition{Kind: "disk", Severity: condition.Critical, NotReady: true, Text: "no room"})
	ask(503, "not ready\ncritical disk: no room\nwarning damage orders: a gap\n")
	stopped = errors.New("unavailable: shutting down")
	ask(503, "unavailable: shutting down\ncritical disk: no room\nwarning damage orders: a gap\n")
	stopped = nil
	board.Clear("disk", "")
	ask(200, "ok\nwarning damage orders: a gap\n")
}
