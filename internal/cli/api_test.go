package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

func TestOperationsBecomeRequests(t *testing.T) {
	a := &api{server: &Server{API: "https://host/api/v1", Token: "secret"}}
	after, limit := "a&b", 7
	for _, x := range []struct {
		operation string
		in        any
		names     []string
		url, body string
	}{
		{"GET /topics/{topic}", nil, []string{"a/b?c#d %{x}:pause"}, "https://host/api/v1/topics/a%2Fb%3Fc%23d%20%25%7Bx%7D:pause", ""},
		{"POST /topics/{topic}/groups/{group}:pull", json.RawMessage(`{"a": 1}`), []string{"{group}", "ü"}, "https://host/api/v1/topics/%7Bgroup%7D/groups/%C3%BC:pull", `{"a": 1}`},
		{"GET /topics", &apimodel.ListTopicsParams{After: &after, Limit: &limit}, nil, "https://host/api/v1/topics?after=a%26b&limit=7", ""},
		{"DELETE /sessions", apimodel.CloseSessionsParams{}, nil, "https://host/api/v1/sessions", ""},
		{"POST /topics/{topic}:empty", nil, []string{"t"}, "https://host/api/v1/topics/t:empty", ""},
		{"PATCH /topics/{topic}", apimodel.TopicPatch{}, []string{"t"}, "https://host/api/v1/topics/t", "{}"},
	} {
		req, err := a.request(t.Context(), x.operation, x.in, x.names...)
		if err != nil {
			t.Fatal(err)
		}
		var body []byte
		if req.Body != nil {
			if body, err = io.ReadAll(req.Body); err != nil {
				t.Fatal(err)
			}
		}
		if req.URL.String() != x.url || string(body) != x.body || req.Header.Get("Authorization") != "Bearer secret" || (x.body != "") != (req.Header.Get("Content-Type") == "application/json") {
			t.Errorf("%s: %s %s %q %v", x.operation, req.Method, req.URL, body, req.Header)
		}
	}
}

// A request that was sent and not answered may have been carried out: only one that was not sent was not.
func TestNobodyKnowsWhatBecameOfARequestThatWasNotAnsweredInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			came <- c
		}
	}()
	s := &Server{API: "http://" + l.Addr().String() + "/api/v1", Host: l.Addr().String()}
	a, err := s.api()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = do[apimodel.Topic](ctx, a, "POST /topics", apimodel.NewTopic{Name: "x"})
	if !errors.Is(err, zbus.ErrUnknownOutcome) || errors.Is(err, zbus.ErrUnavailable) {
		t.Errorf("sent, and not answered: %v", err)
	}
	_, _ = (<-came).Close(), l.Close()
	if _, err = do[apimodel.Topic](t.Context(), a, "POST /topics", apimodel.NewTopic{Name: "x"}); !errors.Is(err, zbus.ErrUnavailable) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Errorf("nobody there: %v", err)
	}
}
