package server

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/condition"
)

func TestReadinessTellsConditionsAndHeedsThem(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	var stopped error
	s := &Server{opts: Options{Conditions: board, Ready: func() error { return stopped }}}
	ask := func(status int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		who := access.Caller{Principal: access.Open().Anonymous()}
		s.ready(w, httptest.NewRequestWithContext(access.With(t.Context(), who), "GET", "/readyz", nil))
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
	w := httptest.NewRecorder()
	if s.ready(w, httptest.NewRequest("GET", "/readyz", nil)); w.Body.String() != "ok\n" {
		t.Errorf("who may see nothing is told %q", w.Body)
	}
	ask(200, "ok\nwarning damage orders: a gap\n")
}
