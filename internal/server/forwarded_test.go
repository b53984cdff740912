package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"

// A proxy often passes on the name of a public URL without its port.
func TestPagesOfAPublicURLAreTheServersOwn(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.PublicURL = []string{"https://mq.example:8443/mq/", "http://mq.test/"} })
	b.dial(t).ok("declare topic=T")
	if text := pageOf(t, b.raw(t, "GET /api/v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n")); !strings.Contains(text, `"publicUrls":["https://mq.example:8443","http://mq.test"]`) {
		t.Errorf("%s", text)
	}
	for _, x := range []struct {
		host, origin string
		status       int
	}{
		{"mq.example", "https://mq.example:8443", 101},
		{"mq.example:8443", "https://MQ.example:8443", 101},
		{"127.0.0.1:15555", "https://mq.example:8443", 101},
		{"mq.test", "http://mq.test:80", 101},
		{"mq.example", "http://mq.example:8443", 403},
		{"mq.example", "https://mq.example", 403},
		{"mq.example", "https://mq.example:9999", 403},
		{"mq.test", "http://evil.example", 403},
		{"evil.example", "http://evil.example", 421},
	} {
		for _, url := range []string{"/", "/api/v1/ws"} {
			resp := b.raw(t, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n%s\r\n", url, x.host, x.origin, upgrade))
			if resp.StatusCode != x.status {
				t.Errorf("%s of %s by %s: %d, want %d", url, x.origin, x.host, resp.StatusCode, x.status)
			}
		}
		want := x.status
		if want == 101 {
			want = 200
		}
		for _, url := range []string{"/produce/T", "/api/v1/filter-test"} {
			if resp := b.raw(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nContent-Length: 0\r\n\r\n", url, x.host, x.origin)); resp.StatusCode != want && (want != 200 || resp.StatusCode == 403 || resp.StatusCode == 421) {
				t.Errorf("%s of %s by %s: %d, want %d", url, x.origin, x.host, resp.StatusCode, want)
			}
		}
	}
}

// raw sends a request as it is.
func (b *instance) raw(t *testing.T, text string) *http.Response {
	t.Helper()
	conn := b.tcp(t)
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// Who asks is told by trusted proxies alone, and by the nearest address that is none of
// theirs.
func TestTheAddressOfAClientIsBelievedFromATrustedProxyAlone(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ trusted, lines, want string }{
		"nobody is trusted":        {"", "X-Forwarded-For: 203.0.113.9\r\n", "127.0.0.1:"},
		"another one is":           {"10.0.0.0/8", "Forwarded: for=203.0.113.9\r\n", "127.0.0.1:"},
		"a proxy":                  {"127.0.0.0/8", "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9:0"},
		"a client that lies":       {"127.0.0.1", "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n", "203.0.113.9:0"},
		"two proxies":              {"127.0.0.1,10.0.0.0/8", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.1.2.3\r\n", "203.0.113.9:0"},
		"a standard one":           {"127.0.0.1", "Forwarded: for=1.2.3.4, for=\"[2001:db8::1]:4711\";proto=https\r\n", "[2001:db8::1]:0"},
		"one that keeps it hidden": {"127.0.0.1", "Forwarded: for=_hidden\r\n", "127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(c *config.Config) {
				if x.trusted != "" {
					c.TrustedProxy = strings.Split(x.trusted, ",")
				}
			})
			b.dial(t).ok("declare topic=T")
			for url, method := range map[string]string{"/empty/T": "GET", "/api/v1/topics/T:empty": "POST"} {
				raw := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 0\r\n\r\n", method, url, x.lines)
				if resp := b.raw(t, raw); resp.StatusCode != 200 {
					t.Fatalf("%s: %d", url, resp.StatusCode)
				}
			}
			audit := pageOf(t, b.raw(t, "GET /api/v1/audit HTTP/1.1\r\nHost: localhost\r\n\r\n"))
			if n := strings.Count(audit, `"actor":"`+x.want); n < 2 || strings.Contains(audit, "198.51.100.1") {
				t.Errorf("%d times %s in %s", n, x.want, audit)
			}
			conn := b.tcp(t)
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n"+x.lines+upgrade+"\r\n"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the session has its address", func() bool {
				return strings.Contains(pageOf(t, b.raw(t, "GET /api/v1/sessions?protocol=websocket HTTP/1.1\r\nHost: localhost\r\n\r\n")), `"remote":"`+x.want)
			})
		})
	}
}
