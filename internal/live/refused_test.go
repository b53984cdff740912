package live

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

func TestWhatIsNoSocketIsAnsweredWithAProblem(t *testing.T) {
	r := start(t)
	for _, x := range []struct {
		method string
		head   map[string]string
		status int
		code   apimodel.ProblemCode
		word   string
		header [2]string
	}{
		{"GET", nil, 426, "invalid", "WebSocket", [2]string{"Upgrade", "websocket"}},
		{"GET", map[string]string{"Connection": "Upgrade", "Upgrade": "h2c"}, 426, "invalid", "WebSocket", [2]string{"Upgrade", "websocket"}},
		{"POST", nil, 405, "invalid", "use GET", [2]string{"Allow", "GET"}},
		{"HEAD", nil, 405, "", "", [2]string{"Allow", "GET"}},
		{"GET", map[string]string{"Origin": "https://evil.example"}, 403, "forbidden", "allow-origin", [2]string{}},
		{"GET", map[string]string{"Sec-WebSocket-Version": "8"}, 400, "invalid", "13", [2]string{"Sec-WebSocket-Version", "13"}},
		{"GET", map[string]string{"Sec-WebSocket-Key": "x"}, 400, "invalid", "Sec-WebSocket-Key", [2]string{}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), x.method, "http"+strings.TrimPrefix(r.url(), "ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if x.status != 426 && x.status != 405 {
			for name, value := range map[string]string{
				"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
			} {
				req.Header.Set(name, value)
			}
		}
		for name, value := range x.head {
			req.Header.Set(name, value)
		}
		resp, err := r.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var p apimodel.Problem
		if err := json.NewDecoder(resp.Body).Decode(&p); x.method != "HEAD" && (err != nil || p.Detail == nil) {
			t.Fatalf("%s %v: a body that is no problem: %v %+v", x.method, x.head, err, p)
		}
		_ = resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != x.status || kind != "application/problem+json" {
			t.Errorf("%s %v: got %d %s", x.method, x.head, resp.StatusCode, kind)
		}
		if x.method != "HEAD" && (p.Status != x.status || p.Code != x.code || !strings.Contains(*p.Detail, x.word)) {
			t.Errorf("%s %v: got %+v %s", x.method, x.head, p, *p.Detail)
		}
		if got := resp.Header.Get(x.header[0]); got != x.header[1] {
			t.Errorf("%s %v: %s is %q", x.method, x.head, x.header[0], got)
		}
	}
	r.dial(nil).call(`{"op":"ping"}`, "ok")
}
