package server_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// A page that a browser on the broker's machine shows can ask for any URL, and for
// anything at all under a name of its own that leads to the broker. Neither may do
// anything.
func TestPagesOfOtherSitesDoNothing(t *testing.T) {
	for name, x := range map[string]struct {
		request string // with {A} for the broker's address
		origins string // --allow-origin
		status  int
	}{
		"an image":                        {"GET /declare/X HTTP/1.1\r\nHost: {A}\r\nSec-Fetch-Site: cross-site\r\n\r\n", "", 403},
		"a page of another port":          {"GET /declare/X HTTP/1.1\r\nHost: {A}\r\nSec-Fetch-Site: same-site\r\n\r\n", "", 403},
		"a form":                          {"POST /declare/X HTTP/1.1\r\nHost: {A}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n", "", 403},
		"a page in a sandbox":             {"POST /declare/X HTTP/1.1\r\nHost: {A}\r\nOrigin: null\r\nContent-Length: 0\r\n\r\n", "", 403},
		"a command in the query":          {"GET /?cmd=declare&topic=X HTTP/1.1\r\nHost: {A}\r\nSec-Fetch-Site: cross-site\r\n\r\n", "", 403},
		"a name that was pointed here":    {"GET /declare/X HTTP/1.1\r\nHost: evil.example\r\nAccept-Encoding: gzip, deflate\r\nSec-Fetch-Site: same-origin\r\n\r\n", "", 421},
		"that, with a header":             {"GET / HTTP/1.1\r\nHost: evil.example\r\nAccept-Encoding: gzip, deflate\r\ncmd: declare\r\ntopic: X\r\n\r\n", "", 421},
		"that, by the HTTP side":          {"GET /?cmd=declare&topic=X HTTP/1.1\r\nHost: evil.example\r\nAccept-Encoding: gzip, deflate\r\n\r\n", "", 421},
		"that, and no sign of a browser":  {"GET /declare/X HTTP/1.1\r\nHost: evil.example\r\n\r\n", "", 421},
		"that, for the metrics":           {"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "", 421},
		"that, for the console":           {"GET /ui/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", "", 421},
		"that, for the health":            {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", "", 421},
		"that, for the API":               {"POST /api/v1/topics HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"X\"}", "", 421},
		"a page that is let in":           {"POST /declare/X HTTP/1.1\r\nHost: {A}\r\nOrigin: http://good.example\r\nContent-Length: 0\r\n\r\n", "good.example", 200},
		"any page, if all are let in":     {"GET /declare/X HTTP/1.1\r\nHost: {A}\r\nSec-Fetch-Site: cross-site\r\n\r\n", "*", 200},
		"the console's own origin":        {"GET /declare/X HTTP/1.1\r\nHost: {A}\r\nOrigin: http://{A}\r\nSec-Fetch-Site: same-origin\r\n\r\n", "", 200},
		"somebody who types":              {"GET /declare/X HTTP/1.1\r\nHost: {A}\r\nSec-Fetch-Site: none\r\n\r\n", "", 200},
		"curl":                            {"GET /declare/X HTTP/1.1\r\nHost: localhost\r\n\r\n", "", 200},
		"a client of the native protocol": {"GET / HTTP/1.1\r\ncmd: declare\r\ntopic: X\r\n\r\n", "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, func(c *config.Config) {
				if x.origins != "" {
					c.AllowOrigin = []string{x.origins}
				}
			})
			c := b.dial(t)
			c.write(strings.ReplaceAll(x.request, "{A}", b.addr))
			resp, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != x.status {
				t.Errorf("status %d", resp.StatusCode)
			}
			if x.status >= 400 { // what it asks for next is not looked at
				if _, err := c.conn.Write([]byte("GET / HTTP/1.1\r\ncmd: declare\r\ntopic: X\r\n\r\n")); err == nil {
					c.closed()
				}
			}
			made := b.dial(t).call("query topic=X").Status == 200
			if made != (x.status == 200) {
				t.Errorf("the topic was made: %t", made)
			}
		})
	}
}

func TestWebSocketUnderAForeignNameIsRefused(t *testing.T) {
	b := start(t)
	req, err := http.NewRequest(http.MethodGet, "http://"+b.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "http://evil.example",
	} {
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// Pages of the allowed origins may ask and read, by URL, by header and of the API; those of
// others are told nothing.
func TestPagesOfAllowedOriginsMayRead(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.AllowOrigin = []string{"*.app.example"} })
	b.dial(t).ok("declare topic=T")
	const good, evil = "Origin: https://www.app.example\r\n", "Origin: https://app.example.evil\r\n"
	for url, method := range map[string]string{"/produce/T": "POST", "/api/v1/topics/T": "DELETE", "/": "POST"} {
		ask := "Access-Control-Request-Method: " + method + "\r\nAccess-Control-Request-Headers: cmd, content-type\r\n"
		if h := b.web(t, "OPTIONS", url, good+ask, "").Header; h.Get("Access-Control-Allow-Origin") != "https://www.app.example" ||
			h.Get("Access-Control-Allow-Methods") != method || !strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), "cmd") {
			t.Errorf("preflight of %s: %v", url, h)
		}
		if h := b.web(t, "OPTIONS", url, evil+ask, "").Header; h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("preflight of another page: %v", h)
		}
	}
	for _, url := range []string{"/produce/T?body=x", "/consume/T", "/api/v1/topics"} {
		if resp := b.web(t, "GET", url, good, ""); resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "https://www.app.example" {
			t.Errorf("%s: %d, %v", url, resp.StatusCode, resp.Header)
		}
	}
	if resp := b.web(t, "GET", "/produce/T?body=x", evil, ""); resp.StatusCode != 403 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page: %d, %v", resp.StatusCode, resp.Header)
	}
}
