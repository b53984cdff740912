package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// result is what a request by URL came to, whatever carried it.
type result struct {
	status      int
	contentType string
	id          string
	body        string
}

// carrier sends one request by URL and waits for what it comes to.
type carrier func(t testing.TB, method, url, body string) result

// http11 is a request as HTTP tools write it.
func http11(method, url, body, extra string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nAccept: */*\r\n%sContent-Length: %d\r\n\r\n%s", method, url, extra, len(body), body)
}

// exchange sends a request and reads its response as HTTP.
func exchange(t testing.TB, conn net.Conn, r *bufio.Reader, raw string) (result, *http.Response) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.60q: %v", raw, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return result{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Id"), string(body)}, resp
}

// keepAlive carries all requests on one connection; write encodes one of them.
func keepAlive(t testing.TB, conn net.Conn, write func(method, url, body string) string) carrier {
	t.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReader(conn)
	return func(t testing.TB, method, url, body string) result {
		t.Helper()
		res, _ := exchange(t, conn, r, write(method, url, body))
		return res
	}
}

// oneShot opens a connection a request, and checks that the broker closes it.
func oneShot(b *instance, write func(method, url, body string) string) carrier {
	return func(t testing.TB, method, url, body string) result {
		t.Helper()
		conn := b.tcp(t)
		defer conn.Close()
		r := bufio.NewReader(conn)
		res, _ := exchange(t, conn, r, write(method, url, body))
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("after the reply: %q, %v; want the end of the connection", rest, err)
		}
		return res
	}
}

func (b *instance) tcp(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// carriers are all ways in which a URL reaches the broker.
var carriers = []struct {
	name string
	make func(t testing.TB, b *instance) carrier
}{
	{"native frame", func(t testing.TB, b *instance) carrier { return frames(b.dial(t)) }},
	{"native frame on TLS", func(t testing.TB, b *instance) carrier {
		return frames(newClient(t, tls.Client(b.tcp(t), &tls.Config{InsecureSkipVerify: true})))
	}},
	{"HTTP 1.1", func(t testing.TB, b *instance) carrier {
		return keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
	}},
	{"HTTP 1.0 keep-alive", func(t testing.TB, b *instance) carrier {
		return keepAlive(t, b.tcp(t), func(m, u, body string) string {
			return strings.Replace(http11(m, u, body, "Connection: Keep-Alive\r\n"), "HTTP/1.1", "HTTP/1.0", 1)
		})
	}},
	{"HTTP 1.0", func(_ testing.TB, b *instance) carrier {
		return oneShot(b, func(m, u, body string) string {
			return strings.Replace(http11(m, u, body, ""), "HTTP/1.1", "HTTP/1.0", 1)
		})
	}},
	{"connection close", func(_ testing.TB, b *instance) carrier {
		return oneShot(b, func(m, u, body string) string { return http11(m, u, body, "Connection: close\r\n") })
	}},
	{"chunked", func(t testing.TB, b *instance) carrier {
		return keepAlive(t, b.tcp(t), func(m, u, body string) string {
			raw := m + " " + u + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
			for _, c := range body {
				raw += fmt.Sprintf("%x\r\n%c\r\n", len(string(c)), c)
			}
			return raw + "0\r\n\r\n"
		})
	}},
	{"HTTP after a hand-over", func(t testing.TB, b *instance) carrier {
		c := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
		if r := c(t, "GET", "/healthz", ""); r.body != "ok\n" {
			t.Fatalf("healthz: %+v", r)
		}
		return c
	}},
	{"net/http", func(t testing.TB, b *instance) carrier { return httpClient(t, "http://"+b.addr, nil) }},
	{"net/http on TLS", func(t testing.TB, b *instance) carrier {
		return httpClient(t, "https://"+b.addr, &tls.Config{InsecureSkipVerify: true})
	}},
	{"WebSocket", func(t testing.TB, b *instance) carrier {
		c := b.socket(t, "")
		return func(t testing.TB, method, url, body string) result {
			t.Helper()
			c.write(websocket.MessageText, fmt.Sprintf("%s %s HTTP/1.1\r\nid: x\r\ncontent-length: %d\r\n\r\n%s", method, url, len(body), body))
			a := c.recv()
			return result{a.Status, a.Get("content-type"), a.Get("id"), string(a.Body)}
		}
	}},
}

// frames carries URLs as clients of the protocol do: without a host.
func frames(c *client) carrier {
	return func(t testing.TB, method, url, body string) result {
		t.Helper()
		c.ids++
		id := strconv.Itoa(c.ids)
		c.write(fmt.Sprintf("%s %s HTTP/1.1\r\nid: %s\r\ncontent-length: %d\r\n\r\n%s", method, url, id, len(body), body))
		a := c.recv()
		if a.Get("id") != id {
			t.Errorf("%s: reply with id %q, want %q", url, a.Get("id"), id)
		}
		return result{a.Status, a.Get("content-type"), id, string(a.Body)}
	}
}

func httpClient(t testing.TB, base string, config *tls.Config) carrier {
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: patience}
	return func(t testing.TB, method, url, body string) result {
		t.Helper()
		req, err := http.NewRequest(method, base+url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return result{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Id"), string(text)}
	}
}

// urls is a script: the requests in order, and what each comes to. {T} is a topic
// of the carrier's own, {R} an RPC topic that answers with the request's body.
var urls = []struct {
	method, url, body string
	status            int
	want              string // "=" and the exact body, or a part of it
}{
	{"GET", "/declare/{T}?creator=x", "", 200, `"topicName":"{T}"`},
	{"GET", "/declare/{T}/g1?group_filter=a.%2B", "", 200, `"filter":"a.+"`},
	{"GET", "/declare/{T}/g2?group_filter=b.+", "", 200, `"filter":"b.+"`},
	{"GET", "/{T}/g3?cmd=declare", "", 200, `"groupName":"g3"`},
	{"GET", "/declare?topic={T}&consume_group=g3", "", 200, `"groupName":"g3"`},
	{"GET", "/produce/{T}?body=A%20form&&tag=a.1", "", 200, ""},
	{"POST", "/produce/{T}?body=ignored", "posted \x00\r\n", 200, ""},
	{"GET", "/{T}?cmd=produce&body=C+form&token=x", "", 200, ""},
	{"GET", "/{T}?body=merged&tag=b.1", "", 200, ""},
	{"POST", "/{T}", "merged POST", 200, ""},
	{"PUT", "//PRODUCE//{T}/", "upper case", 200, ""},
	{"GET", "/produce/{%54}?body=a=b", "", 200, ""},
	{"GET", "/produce/{T}?x=1%0d%0aevil:%201&%0d%0a=y&body=c%0d%0ad", "", 200, ""},
	{"GET", "/consume/{T}", "", 200, "=A form"},
	{"GET", "/consume/{T}/", "", 200, "=posted \x00\r\n"},
	{"GET", "/{T}?cmd=consume", "", 200, "=C+form"},
	{"GET", "/{T}/{T}?cmd=consume", "", 200, "=merged"},
	{"GET", "/consume?topic={T}&consume_group={T}", "", 200, "=merged POST"},
	{"GET", "/consume/{T}", "", 200, "=upper case"},
	{"GET", "/consume/{T}", "", 200, "=a=b"},
	{"GET", "/consume/{T}", "", 200, "=c\r\nd"},
	{"GET", "/consume/{T}?timeout=1", "", 204, "="},
	{"GET", "/consume/{T}/g1", "", 200, "=A form"},
	{"GET", "/consume/{T}/g1?timeout=1", "", 204, "="},
	{"GET", "/consume/{T}/g2", "", 200, "=merged"},
	{"GET", "/query/{T}", "", 200, `"messageDepth":8,`},
	{"GET", "/query/{T}/g1", "", 200, `"groupName":"g1"`},
	{"GET", "/query", "", 200, `{"serverAddress":`},
	{"GET", "/server", "", 200, `"topicTable":{`},
	{"GET", "/tracker", "", 200, `"serverTable":{`},
	{"GET", "/?cmd=tracker&token=x", "", 200, `"serverTable":{`},
	{"GET", "/relocate/{T}/g1?to=earliest", "", 200, `"cursor":0,`},
	{"GET", "/relocate/{T}/g1?to=middle", "", 400, "=Bad to: must be earliest or latest; for another position give offset=, timestamp=, msgid= or from_group= instead"},
	{"GET", "/consume/{T}/g1", "", 200, "=A form"},
	{"GET", "/empty/{T}/g3", "", 200, ""},
	{"GET", "/query/{T}/g3", "", 200, `"messageCount":0,`},
	{"GET", "/unconsume/{T}", "", 200, ""},
	{"GET", "/empty/{T}", "", 200, ""},
	{"GET", "/remove/{T}/g1", "", 200, ""},
	{"GET", "/query/{T}/g1", "", 404, "=ConsumeGroup(g1) not found"},
	{"GET", "/rpc/{R}/m/p1/p%202?module=x", "", 200, `={"method":"m","params":["p1","p 2"],"module":"x"}`},
	{"GET", "/rpc/{R}/m", "", 200, `={"method":"m"}`},
	{"GET", "/{R}/m/1", "", 200, `={"method":"m","params":["1"]}`},
	{"POST", "/rpc/{R}/m", `{"my":"body"}`, 200, `={"my":"body"}`},
	{"POST", "/{R}", `{"whole":"body"}`, 200, `={"whole":"body"}`},
	{"GET", "/remove/{T}", "", 200, ""},
	{"GET", "/consume/{T}", "", 404, "=Topic({T}) not found"},
	{"GET", "/produce/{T}?ack=false", "", 404, "=Topic({T}) not found"},
	{"GET", "/ping", "", 200, "=OK"},
	{"GET", "/?cmd=nope", "", 400, "=Bad format: command(nope) not support"},
	{"GET", "/produce", "", 400, "=Missing topic"},
	{"GET", "/declare/a%2Fb", "", 400, "must be 1 to 200 letters"},
	{"GET", "/declare/a%0d%0ab", "", 400, ""},
	{"GET", "/declare/..", "", 400, "must be 1 to 200 letters"},
	{"GET", "/produce/a%0d%0ab", "", 400, "=Missing topic"},
	{"GET", "/nothing", "", 404, "/nothing"},
	{"GET", "/", "", 200, "<!doctype html>"},
	{"POST", "/", "x", 200, "<!doctype html>"},
	{"GET", "/ssl", "", 200, "BEGIN CERTIFICATE"},
}

func TestURLsMeanTheSameHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	b := start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	b.provider(t, "Answers")
	for i, way := range carriers {
		t.Run(way.name, func(t *testing.T) {
			topic := "T" + strconv.Itoa(i)
			fill := strings.NewReplacer("{T}", topic, "{%54}", "%54"+strconv.Itoa(i), "{R}", "Answers").Replace
			do := way.make(t, b)
			for _, u := range urls {
				checkResult(t, u.method+" "+u.url, do(t, u.method, fill(u.url), u.body), u.status, fill(u.want))
			}
		})
	}
}

func checkResult(t *testing.T, what string, got result, status int, want string) {
	t.Helper()
	exact, isExact := strings.CutPrefix(want, "=")
	if got.status != status || isExact && got.body != exact || !isExact && !strings.Contains(got.body, want) {
		t.Errorf("%s: got %d %.200q, want %d %q", what, got.status, got.body, status, want)
	}
	switch {
	case got.body == "" || isExact && status == 200 && strings.HasPrefix(exact, "{"):
	case strings.HasPrefix(got.body, "{"):
		if got.contentType != "application/json" {
			t.Errorf("%s: content-type %q of a JSON reply", what, got.contentType)
		}
	case strings.HasPrefix(got.body, "<"):
		if got.contentType != "text/html; charset=utf-8" {
			t.Errorf("%s: content-type %q of the home page", what, got.contentType)
		}
	case got.contentType != "":
		t.Errorf("%s: content-type %q of a text", what, got.contentType)
	}
}

func TestTheCmdHeaderWinsAndTheURLIsNotLookedAt(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	for _, url := range []string{"/consume/none", "/T?cmd=remove", "/produce/none?topic=none&body=url", "/healthz"} {
		for _, host := range []string{"", "Host: localhost\r\n"} {
			c.write("GET " + url + " HTTP/1.1\r\n" + host + "cmd: produce\r\ntopic: T\r\nid: 1\r\ncontent-length: 4\r\n\r\nbody")
			if a := c.recv(); a.Status != 200 {
				t.Errorf("%s: %d %q", url, a.Status, a.Body)
			}
			c.call("consume topic=T").want(t, 200, "body").header(t, "origin_url", url)
		}
	}
	// The same on the HTTP side of a connection that was handed over.
	conn := b.tcp(t)
	do := keepAlive(t, conn, func(m, u, body string) string { return http11(m, u, body, "cmd: produce\r\ntopic: T\r\n") })
	ask := keepAlive(t, conn, func(m, u, body string) string { return http11(m, u, body, "") })
	if r := ask(t, "GET", "/healthz", ""); r.status != 200 {
		t.Fatalf("healthz: %+v", r)
	}
	for _, url := range []string{"/", "/healthz", "/consume/none", "/nothing"} {
		if r := do(t, "GET", url, "body"); r.status != 200 || len(r.body) != 13 {
			t.Errorf("%s: %+v", url, r)
		}
		c.call("consume topic=T").want(t, 200, "body")
	}
}

func TestACallOfATopicForMessagesIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=Plain")
	const text = "Topic(Plain) is not for calls: it stores messages, which nobody answers; a topic for calls has topic_mask=2"
	for _, raw := range []string{
		"GET /rpc/Plain/method/1 HTTP/1.1\r\nid: r\r\n\r\n", request("RPC topic=Plain id=r", "x"),
		request("produce topic=Plain id=r ack=false rpc_method=m", "x"), request("produce topic=Plain id=r ack=false rpc_method=", "x"),
	} {
		c.write(raw)
		c.recv().want(t, 400, text).header(t, "id", "r")
	}
	if r := b.post(t, "GET", "/rpc/Plain/method/1", ""); r.status != 400 || r.body != text {
		t.Errorf("over HTTP: %+v", r)
	}
	c.call("consume topic=Plain timeout=0").want(t, 204, "")
}

func TestExcessBytesOfTheLastBodyDoNotDisturbTheNextFrame(t *testing.T) {
	t.Parallel()
	b := start(t)
	c := b.dial(t)
	c.ok("declare topic=T")
	// Two characters announced, six bytes sent.
	c.write("GET / HTTP/1.1\r\ncmd: produce\r\ntopic: T\r\nid: 1\r\ncontent-length: 2\r\n\r\n中文" + request("ping id=2", ""))
	got := map[string]bool{c.recv().Get("id"): true, c.recv().Get("id"): true}
	if !got["1"] || !got["2"] {
		t.Errorf("answered: %v", got)
	}
}
