package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// What browsers send over plain HTTP beyond loopback: no Sec-Fetch-Site, and with GET no
// Origin.
const (
	chrome  = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n"
	typed   = chrome + "Upgrade-Insecure-Requests: 1\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n"
	image   = chrome + "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n"
	script  = chrome + "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n"
	cleared = chrome + "Accept: text/html\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: \r\n" // fetch, with what it may set
	form    = "Content-Type: application/x-www-form-urlencoded\r\n"
)

var once = regexp.MustCompile(`name="(zbus-once)" value="(\w+)"`)

// press is the body that the button of a page sends.
func press(t *testing.T, page string) string {
	t.Helper()
	m := once.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no button in %q", page)
	}
	return m[1] + "=" + m[2]
}

// browse sends a request with nothing in its head but its host, its length and these lines.
func (b *instance) browse(t *testing.T, method, url, lines, body string) *http.Response {
	t.Helper()
	conn := b.tcp(t)
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", method, url, lines, len(body), body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func pageOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestABrowserThatSaysNothingOfPagesIsAskedFirst(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	const url = "/produce/T?body=%3Cb%3E&tag=x"
	origin := "Origin: http://localhost\r\n"

	resp := b.browse(t, "GET", url, typed, "")
	page := pageOf(t, resp)
	if resp.StatusCode != 200 || !strings.Contains(page, "publish a message to topic T") || !strings.Contains(page, "/produce/T?body=%3Cb%3E&amp;tag=x") {
		t.Fatalf("%d %s", resp.StatusCode, page)
	}
	if h := resp.Header; h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" ||
		!strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("%v", h)
	}
	body := press(t, page)
	for name, resp := range map[string]*http.Response{
		"a page of another site":   b.browse(t, "POST", url, typed+form+"Origin: http://evil.example\r\n", body),
		"another URL":              b.browse(t, "POST", "/produce/T?body=other", typed+form+origin, body),
		"the same, once it failed": b.browse(t, "POST", url, typed+form+origin, body),
		"a token of his own":       b.browse(t, "POST", url, typed+form+origin, "zbus-once="+strings.Repeat("A", 26)),
	} {
		if resp.StatusCode != 403 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, pageOf(t, resp))
		}
	}
	body = press(t, pageOf(t, b.browse(t, "GET", url, typed, "")))
	if resp := b.browse(t, "POST", url, typed+form+origin, body); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, pageOf(t, resp))
	}
	again := b.browse(t, "POST", url, typed+form+origin, body)
	if text := pageOf(t, again); again.StatusCode != 403 || press(t, text) == body {
		t.Errorf("a second time: %d %s", again.StatusCode, text)
	}
	c.ok("consume topic=T").want(t, 200, "<b>").header(t, "tag", "x", "offset", "0").without(t, "origin_method", "content-type")
	if a := c.call("query topic=T"); !strings.Contains(string(a.Body), `"messageDepth":1`) {
		t.Errorf("%s", a.Body)
	}
}

func TestPagesDoNothingOverPlainHTTP(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	c.ok("produce topic=T", "stays")
	for name, x := range map[string]struct {
		method, lines string
		status        int
	}{
		"an image": {"GET", image, 403}, "a script": {"GET", script, 403}, "a fetch": {"GET", cleared, 200},
		"a link":          {"GET", typed + "Referer: http://evil.example/\r\n", 403},
		"a form":          {"POST", typed + form + "Origin: http://evil.example\r\n", 403},
		"a form of old":   {"POST", typed + form, 403},
		"a proxied image": {"GET", strings.Replace(image, "Accept-Encoding: gzip, deflate\r\n", "", 1), 403},
	} {
		for _, url := range []string{"/consume/T", "/T?cmd=remove", "/?cmd=remove&topic=T", "/empty/T", "/T", "/produce/T?body=x"} {
			resp := b.browse(t, x.method, url, x.lines, "")
			if text := pageOf(t, resp); resp.StatusCode != x.status || strings.Contains(text, "stays") {
				t.Errorf("%s of %s: %d %q", name, url, resp.StatusCode, text)
			}
		}
		for _, url := range []string{"/api/v1/topics/T/events?group=T", "/api/v1/backup"} {
			if resp := b.browse(t, "GET", url, x.lines, ""); resp.StatusCode != 403 && x.method == "GET" {
				t.Errorf("%s of %s: %d", name, url, resp.StatusCode)
			}
		}
		if resp := b.browse(t, "GET", "/server", x.lines, ""); resp.StatusCode != 200 && x.status == 200 {
			t.Errorf("%s of what only reads: %d", name, resp.StatusCode)
		}
	}
	c.ok("consume topic=T").want(t, 200, "stays").header(t, "offset", "0")
	c.send("consume topic=T timeout=0 id=none")
	if a := c.recv(); a.Status != 204 {
		t.Errorf("%d %q", a.Status, a.Body)
	}
}

// Programs are not asked, whatever of a browser they send.
func TestProgramsAreNotAsked(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.dial(t).ok("declare topic=T")
	for name, lines := range map[string]string{
		"curl": "", "curl --compressed": "User-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip\r\n",
		"Python": "User-Agent: python-requests/2.32\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n", "Go": "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
		"Java":                             "User-Agent: Java/1.8.0_402\r\nAccept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n",
		"PowerShell":                       "User-Agent: Mozilla/5.0 (Windows NT; en-US) WindowsPowerShell/5.1\r\nAccept-Encoding: gzip\r\n",
		"a browser that says it was typed": typed + "Sec-Fetch-Site: none\r\n", "a page of ours": typed + "Referer: http://localhost/ui/\r\n",
	} {
		if resp := b.browse(t, "GET", "/produce/T?body=x", lines, ""); resp.StatusCode != 200 || strings.Contains(pageOf(t, resp), "<") {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}
