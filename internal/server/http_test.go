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

// abRequest is what "ab -k" sends, byte for byte.
func abRequest(url string) string {
	return "GET " + url + " HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:15555\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n"
}

func TestABsRequestsKeepTheConnection(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	conn := b.tcp(t)
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range 5 {
		for _, url := range []string{"/produce/T?body=x", "/consume/T"} {
			res, resp := exchange(t, conn, r, abRequest(url))
			if res.status != 200 || !strings.EqualFold(resp.Header.Get("Connection"), "keep-alive") || resp.ContentLength != int64(len(res.body)) {
				t.Errorf("%s: %+v, headers %v", url, res, resp.Header)
			}
		}
	}
	res, resp := exchange(t, conn, r, abRequest("/consume/none"))
	if res.status != 404 || !strings.EqualFold(resp.Header.Get("Connection"), "keep-alive") {
		t.Errorf("%+v, headers %v", res, resp.Header)
	}
}

func TestACloseIsAnnouncedAndEverythingBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	for _, last := range []string{
		"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"GET /produce/T HTTP/1.0\r\nHost: localhost\r\n\r\n",
		"GET /tracker HTTP/1.0\r\nHost: localhost\r\n\r\n",
		"GET /consume/none HTTP/1.0\r\nHost: localhost\r\n\r\n",
	} {
		c := b.dial(t)
		c.write(strings.Repeat(http11("POST", "/produce/T", "m", ""), 20) + last + http11("GET", "/ping", "", ""))
		for range 20 {
			if a := c.recv(); a.Status != 200 {
				t.Fatalf("%d %q", a.Status, a.Body)
			}
		}
		c.recv()
		c.closed() // what came after the last request is not answered
	}
	for _, silent := range []string{
		"GET /heartbeat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"GET /produce/T?ack=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		"GET /route/x HTTP/1.0\r\nHost: localhost\r\n\r\n",
	} {
		c := b.dial(t)
		c.write(silent)
		c.closed()
	}
}

func TestConnectionsChangeSidesWithPipelinedBytes(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	b.dial(t).ok("declare topic=Empty")
	produce, healthz := http11("POST", "/produce/T", "body", ""), http11("GET", "/healthz", "", "")
	consume := http11("GET", "/consume/T", "", "")
	chunked := "POST /T HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n"
	for name, c := range map[string]struct {
		raw  string
		want []string // "#" is a time
	}{
		"HTTP first":             {healthz + produce + consume + healthz, []string{"ok\n", "#", "body", "ok\n"}},
		"session first":          {produce + produce + healthz + consume + consume, []string{"#", "#", "ok\n", "body", "body"}},
		"the body crosses over":  {http11("GET", "/ping", "", "") + http11("POST", "/T", "body", "") + consume, []string{"OK", "#", "body"}},
		"a chunked body does":    {http11("GET", "/ping", "", "") + chunked + consume, []string{"OK", "#", "body"}},
		"many before and after":  {strings.Repeat(http11("GET", "/ping", "", ""), 3) + strings.Repeat(healthz, 3), []string{"OK", "OK", "OK", "ok\n", "ok\n", "ok\n"}},
		"native frames, then it": {request("ping", "") + healthz, []string{"OK", "ok\n"}},
		"a consume that waits":   {strings.Replace(consume+healthz, "/T ", "/Empty ", 1), []string{"", "ok\n"}},
	} {
		conn := b.tcp(t)
		r := bufio.NewReader(conn)
		raw := c.raw
		for i, want := range c.want {
			res, _ := exchange(t, conn, r, raw)
			raw = "" // all was sent at once
			if isTime := len(res.body) == 13; res.status != 200 && (want != "" || res.status != 204) || res.body != want && (want != "#" || !isTime) {
				t.Errorf("%s: response %d is %+v, want %q", name, i, res, want)
			}
		}
		conn.Close()
	}
}

func TestExpectIsAnsweredWith100Continue(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxBody = 1 << 20 })
	b.dial(t).ok("declare topic=T")
	body := strings.Repeat("x", 100_000)
	for _, url := range []string{"/produce/T", "/T"} { // a session; the HTTP side
		conn := b.tcp(t)
		r := bufio.NewReader(conn)
		head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", url, len(body))
		if res, _ := exchange(t, conn, r, head); res.status != 100 {
			t.Fatalf("%s: %+v", url, res)
		}
		if res, _ := exchange(t, conn, r, body); res.status != 200 || len(res.body) != 13 {
			t.Errorf("%s: %+v", url, res)
		}
		if res, _ := exchange(t, conn, r, http11("GET", "/consume/T", "", "")); res.body != body {
			t.Errorf("%s: consumed %d bytes", url, len(res.body))
		}
		head = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", url, 2<<20)
		if res, _ := exchange(t, conn, r, head); res.status != 413 && res.status != 417 {
			t.Errorf("%s: too large a body is expected: %+v", url, res)
		}
		conn.Close()
	}
}

func TestTheHTTPSideNeverGuessesAContentType(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	do := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
	do(t, "GET", "/healthz", "")
	for _, kind := range []string{"", "application/x-www-form-urlencoded"} {
		header := ""
		if kind != "" {
			header = " content-type=" + kind
		}
		c.ok("produce topic=T"+header, "<html><script>alert(1)</script>")
		if r := do(t, "GET", "/consume/T", ""); r.contentType != kind {
			t.Errorf("content-type %q, want %q", r.contentType, kind)
		}
	}
}

func TestAnHTTPRequestIsAlwaysAnsweredWithTheOutcome(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	do := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
	do(t, "GET", "/healthz", "")
	if r := do(t, "POST", "/produce/T?ack=false", "x"); r.status != 200 || len(r.body) != 13 {
		t.Errorf("produce without ack: %+v", r)
	}
	if r := do(t, "POST", "/produce/T?ack=false&tag="+strings.Repeat("t", 200), "x"); r.status != 400 {
		t.Errorf("a publish that fails, without ack: %+v", r)
	}
	for _, url := range []string{"/heartbeat", "/route?recver=x"} {
		if r := do(t, "GET", url, ""); r.status != 200 || r.body != "" {
			t.Errorf("%s: %+v", url, r)
		}
	}
	// One delivery a request: what else the window would let through stays.
	for _, m := range []string{"2", "3"} {
		c.ok("produce topic=T", m)
	}
	for _, want := range []string{"x", "2", "3"} {
		if r := do(t, "GET", "/consume/T?window=10", ""); r.body != want {
			t.Errorf("consume with a window: %+v, want %q", r, want)
		}
	}
}

func TestAClientThatGoesAwayWhileItWaitsLosesNothing(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, url := range []string{"/consume/T", "/T?cmd=consume"} { // a session; the HTTP side
		conn := b.tcp(t)
		if _, err := io.WriteString(conn, http11("GET", url, "", "")); err != nil {
			t.Fatal(err)
		}
		count := func(n string) func() bool {
			return func() bool { return strings.Contains(string(c.ok("query topic=T").Body), `"consumerCount":`+n) }
		}
		eventually(t, "it waits", count("1"))
		conn.Close()
		eventually(t, "it is gone", count("0"))
		c.ok("produce topic=T", url)
		c.ok("consume topic=T").want(t, 200, url)
		c.ok("unconsume topic=T")
	}
}

func TestHTTPBodiesAreLimited(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.MaxBody = 4096 })
	b.dial(t).ok("declare topic=T")
	for _, url := range []string{"/produce/T", "/T"} {
		for _, chunked := range []bool{false, true} {
			for size, status := range map[int]int{4096: http.StatusOK, 4097: http.StatusRequestEntityTooLarge} {
				body := strings.Repeat("x", size)
				raw := http11("POST", url, body, "")
				if chunked {
					raw = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", url, size, body)
				}
				conn := b.tcp(t)
				if res, _ := exchange(t, conn, bufio.NewReader(conn), raw); res.status != status {
					t.Errorf("%s chunked=%t with %d bytes: %+v", url, chunked, size, res)
				}
				conn.Close()
			}
		}
	}
}
