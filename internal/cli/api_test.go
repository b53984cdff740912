package cli

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/rushmore/zbus-go/internal/apimodel"
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
