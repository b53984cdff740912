package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Every request of a connection is judged alike, on either side and whatever came before:
// else a proxy in front and the broker would disagree where a request ends.
func TestEveryRequestOfAConnectionIsJudgedAsStrictly(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	before := map[string]string{
		"nothing": "", "health": http11("GET", "/healthz", "", ""), "a chunked body": "POST /T HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"the API": http11("GET", "/api/v1/asyncapi.yaml", "", ""), "a command": http11("GET", "/ping", "", ""), "a command by net/http": http11("GET", "/ping", "", "Accept-Encoding: x\r\n"),
	}
	const cut = "Transfer-Encoding: chunked\r\n\r\n"
	bad := map[string]string{
		"two framings":      "Content-Length: 4\r\n" + cut + "4\r\nbody\r\n0\r\n\r\n",
		"a bare line feed":  "A: b\nContent-Length: 4\r\n\r\nbody",
		"only line feeds":   "Content-Length: 4\n\nbody",
		"a folded line":     "A: b\r\n c\r\nContent-Length: 4\r\n\r\nbody",
		"a trailer":         cut + "4\r\nbody\r\n0\r\ncmd: remove\r\n\r\n",
		"an extension":      cut + "4;a=b\r\nbody\r\n0\r\n\r\n",
		"a space in a size": cut + "4 \r\nbody\r\n0\r\n\r\n",
		"a bare chunk":      cut + "4\nbody\n0\n\n",
		"two hosts":         "Host: localhost\r\nContent-Length: 4\r\n\r\nbody",
	}
	for name, first := range before {
		for _, lines := range []string{"", "Accept-Encoding: gzip\r\n"} {
			for kind, rest := range bad {
				conn := b.tcp(t)
				_ = conn.SetDeadline(time.Now().Add(patience))
				// What follows would be the request that a proxy has not seen.
				if _, err := io.WriteString(conn, first+"POST /produce/T HTTP/1.1\r\nHost: localhost\r\n"+lines+rest+http11("GET", "/remove/T", "", "")); err != nil {
					t.Fatal(err)
				}
				r := bufio.NewReader(conn)
				if first != "" {
					if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
						t.Fatalf("%s: %v, %v", name, resp, err)
					} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Fatal(err)
					}
				}
				answer, err := io.ReadAll(r)
				if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
					t.Errorf("%s, then with %q %s: %q, %v", name, lines, kind, answer, err)
				}
				_ = conn.Close()
			}
		}
	}
	c.ok("query topic=T")
	c.send("consume topic=T id=none timeout=0")
	if a := c.recv(); a.Status == 200 && string(a.Body) == "body" {
		t.Error("a request that was refused has published")
	}
}

func TestAConnectionEndsWithAWebSocketThatIsRefused(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	for _, url := range []string{"/", "/api/v1/ws", "/ui/", "/api/v1/topics", "/metrics"} {
		for _, lines := range []string{"", "Origin: http://evil.example\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"} {
			conn := b.tcp(t)
			_ = conn.SetDeadline(time.Now().Add(patience))
			raw := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n", url, lines)
			if _, err := io.WriteString(conn, raw+http11("GET", "/remove/T", "", "")); err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(conn); err != nil || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
				t.Errorf("%s with %q: %q, %v", url, lines, answer, err)
			}
			_ = conn.Close()
		}
	}
	b.dial(t).ok("query topic=T")
}
