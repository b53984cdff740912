package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/zbus"
)

// through asks the private end directly, as any client can that may publish to the topic.
func (s *site) through(t *testing.T, raw string) (answer, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := s.client.Request(ctx, "web", zbus.Message{Headers: map[string]string{"content-type": "message/http"}, Body: []byte(raw)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.Body)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.ContentLength, resp.Header}, string(body)
}

// outOfBase are paths that some server takes for one that is not below the target's.
var outOfBase = []string{
	"/../admin", "/a/../../admin", "/%2e%2e/admin", "/..%2fadmin", "/a%2f..%2f..%2fadmin", "/..%5cadmin", "/..;/admin", "/..;v=1/admin",
	"/%2e%2e%3b/admin", "/%252e%252e/admin", "/..%252fadmin", "/./admin",
}

func TestNeitherEndLetsAPathOutOfTheTargetsBase(t *testing.T) {
	var reached atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(target.Close)
	s := publish(t, target.URL+"/app", nil)
	for _, path := range outOfBase {
		resp, body := s.raw(t, "GET "+"/proxy/web"+path+" HTTP/1.1\r\nHost: "+s.broker.Addr+"\r\nConnection: close\r\n\r\n")
		s.refused(t, resp, body, 400, "invalid", "path")
		resp, body = s.through(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		s.refused(t, resp, body, 400, "invalid", "path")
	}
	for _, x := range []struct {
		raw    string
		status int
	}{
		{"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		{"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	} {
		resp, body := s.through(t, x.raw)
		s.refused(t, resp, body, x.status, "invalid", "")
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d of them reached the target", n)
	}
}

// raw sends bytes that net/http's client would not send.
func (s *site) raw(t *testing.T, request string) (answer, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.broker.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.ContentLength, resp.Header}, string(body)
}

func TestNeitherEndBelievesAClientAboutWhoAsks(t *testing.T) {
	s := behind(t, show)
	claims := []string{
		"X-Real-IP", "X_Real_IP", "X_Forwarded_For", "X-Forwarded_For", "X-Forwarded-User", "X_forwarded_proto", "True-Client-IP", "X-Original-URL", "Remote_User", "Forwarded",
	}
	var headers []string
	head := ""
	for _, name := range claims {
		headers = append(headers, name, "6.6.6.6")
		head += name + ": 6.6.6.6\r\n"
	}
	check := func(way, body string) {
		t.Helper()
		var got seen
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", way, err, body)
		}
		for name, values := range got.Header {
			if strings.Contains(strings.Join(values, " "), "6.6.6.6") {
				t.Errorf("%s: %s arrives: %q", way, name, values)
			}
		}
		if got.Header.Get("X-Forwarded-For") == "" || got.Header.Get("X_own") != "kept" {
			t.Errorf("%s: missing of %v", way, got.Header)
		}
	}
	_, body := s.do(t, "GET", "/", nil, append(headers, "X-Forwarded-For", "6.6.6.6", "X_Own", "kept")...)
	check("by the gateway", body)
	_, body = s.through(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.1\r\nX_Own: kept\r\n"+head+"\r\n")
	check("by the topic", body)
}

func TestNeitherEndGivesTheBrokersCredentialsAway(t *testing.T) {
	s := behind(t, show)
	const cookies = "token=secret; session=own; zbus_session=secret; __Host-zbus=secret"
	for _, x := range []struct{ authorization, want string }{{"Bearer secret", ""}, {"bearer secret", ""}, {"Basic b3du", "Basic b3du"}} {
		_, first := s.do(t, "GET", "/", nil, "Authorization", x.authorization, "Cookie", cookies)
		_, second := s.through(t, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: "+x.authorization+"\r\nCookie: "+cookies+"\r\n\r\n")
		for _, body := range []string{first, second} {
			var got seen
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if a, c := got.Header.Get("Authorization"), got.Header.Get("Cookie"); a != x.want || c != "session=own" {
				t.Errorf("%s: the target got %q and the cookies %q", x.authorization, a, c)
			}
		}
	}
}

func TestPagesOfOtherSitesChangeNothingBehindAProxy(t *testing.T) {
	s := behindWith(t, show, func(c *config.Config) { c.AllowOrigin = []string{"friend.example"} })
	self := "http://" + s.broker.Addr
	for _, x := range []struct {
		name    string
		method  string
		headers []string
		status  int
	}{
		{"no browser", "POST", nil, 200},
		{"a link", "GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"a form of another site", "POST", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"the same beyond loopback", "DELETE", []string{"Origin", "http://evil.example"}, 403},
		{"a form of another site in a sandbox", "POST", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site", "Referer", "http://evil.example/"}, 403},
		{"the same without a referer", "POST", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a form of a page from here, which is in a sandbox", "POST", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site", "Referer", self + "/"}, 200},
		{"the console", "POST", []string{"Origin", self, "Sec-Fetch-Site", "same-origin"}, 200},
		{"an allowed site", "POST", []string{"Origin", "https://friend.example", "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		resp, body := s.do(t, x.method, "/", nil, x.headers...)
		if x.status == 403 {
			s.refused(t, resp, body, 403, "forbidden", "--allow-origin")
		} else if resp.StatusCode != x.status {
			t.Errorf("%s: %d %s", x.name, resp.StatusCode, body)
		}
	}
}

func TestWhatIsNoRequestIsTheCallersFault(t *testing.T) {
	s := behind(t, show)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.client.Request(ctx, "web", zbus.Message{Body: []byte("hello")})
	var e *zbus.CallError
	if !errors.As(err, &e) || e.Status != 400 {
		t.Errorf("%v", err)
	}
}
