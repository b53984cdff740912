package server_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// web is an HTTP request on a connection of its own, as a client with these header lines
// sends it, and its response.
func (b *instance) web(t *testing.T, method, url, lines, body string) *http.Response {
	t.Helper()
	conn := b.tcp(t)
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, http11(method, url, body, lines)); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+b.addr+url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestOnlyMethodsThatMeanItRunCommands(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	c.ok("produce topic=T", "stays")
	for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "DELETE", "PATCH"} {
		for _, url := range []string{"/remove/T", "/consume/T", "/produce/T", "/?cmd=remove&topic=T", "/T", "//REMOVE/T"} {
			for _, lines := range []string{"", "Accept-Encoding: gzip\r\n"} {
				resp := b.web(t, method, url, lines, "")
				text, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, POST, PUT" || err != nil || (len(text) == 0) != (method == "HEAD") {
					t.Errorf("%s %s: %d, Allow %q, body %q, %v", method, url, resp.StatusCode, resp.Header.Get("Allow"), text, err)
				}
			}
		}
	}
	c.ok("consume topic=T").want(t, 200, "stays")
}

func TestProbesOfSimpleMonitorsAreAnswered(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, url := range []string{"/healthz", "/readyz", "/"} {
		if resp := b.web(t, "HEAD", url, "", ""); resp.StatusCode != 200 {
			t.Errorf("HEAD %s: %d", url, resp.StatusCode)
		}
	}
	for _, raw := range []string{"GET /healthz HTTP/1.0\r\n\r\n", "HEAD /healthz HTTP/1.0\r\n\r\n", "GET /readyz HTTP/1.0\r\n\r\n"} {
		conn := b.tcp(t)
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK\r\n") {
			t.Errorf("%q: %q, %v", raw, answer, err)
		}
		_ = conn.Close()
	}
}

// What a client has published reaches a browser as something that it does not run, under
// headers that it does not act upon, whichever side serves it; a client of the native
// protocol gets it as it came.
func TestMessagesLeaveInert(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	const page = "<script>alert(1)</script>"
	for _, browser := range []string{"", "Accept-Encoding: gzip\r\n"} {
		for kind, safe := range map[string]bool{
			"text/html": false, "image/svg+xml": false, "application/xhtml+xml": false, "text/xml": false, "application/pdf": false, "TEXT/HTML;charset=utf-8": false,
			"text/plain": true, "application/json": true, "image/png": true, "Text/Plain; charset=utf-8": true,
		} {
			c.write("POST / HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: 1\r\ncontent-type: " + kind + "\r\netag: \"1\"\r\nnel: x\r\nx-api-key: secret\r\n" +
				"content-encoding: gzip\r\nserver: mine\r\nmy_header: v\r\ncolour: red\r\ncontent-length: 25\r\n\r\n" + page)
			c.recv()
			resp := b.web(t, "GET", "/consume/T", browser, "")
			h := resp.Header
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != page {
				t.Fatalf("%q, %v", text, err)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Security-Policy") != "sandbox; default-src 'none'" {
				t.Errorf("%s: %v", kind, h)
			}
			want := [2]string{kind, ""}
			if !safe {
				want = [2]string{"application/octet-stream", "attachment"}
			}
			if got := [2]string{h.Get("Content-Type"), h.Get("Content-Disposition")}; got != want {
				t.Errorf("%s leaves as %q", kind, got)
			}
			for _, name := range []string{"Etag", "Nel", "X-Api-Key", "Content-Encoding", "Colour"} {
				if h.Get(name) != "" {
					t.Errorf("%s leaves under its own name", name)
				}
			}
			if h.Get("My_header") != "v" || h.Get("Zbus-Header-Colour") != "red" || h.Get("Zbus-Header-Etag") != `"1"` || h.Get("Server") == "mine" {
				t.Errorf("%v", h)
			}
		}
	}
	c.ok("produce topic=T content-type=text/html colour=red", page)
	c.ok("consume topic=T").want(t, 200, page).header(t, "content-type", "text/html", "colour", "red").without(t, "content-security-policy")
}

// A secret that came with a message, in its head or in its URL, reaches no consumer.
func TestCredentialsAreNotStored(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for url, want := range map[string]string{"/svc?a=1&token=S3CRET&b=2": "/svc?a=1&token=redacted&b=2", "http://u:S3CRET@localhost/svc": "http://localhost/svc"} {
		for _, lines := range []string{"", "host: localhost\r\naccept-encoding: gzip\r\n"} {
			c := b.dial(t)
			c.write("POST " + url + " HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: 1\r\ntoken: S3CRET\r\nauthorization: Bearer S3CRET\r\nx-api-key: S3CRET\r\nX-Auth-Token: S3CRET\r\n" +
				lines + "content-length: 0\r\n\r\n")
			if _, err := c.next(); err != nil {
				t.Fatal(err)
			}
			a := b.dialOnce(t, "consume topic=T").header(t, "origin_url", want)
			if strings.Contains(a.head, "S3CRET") {
				t.Errorf("%q", a.head)
			}
		}
	}
}
