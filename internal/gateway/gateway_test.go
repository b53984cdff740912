package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/proxy"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// maxBody is the limit of the brokers here.
const maxBody = 2 << 20

// site is a server behind a proxy, and the broker that publishes it.
type site struct {
	broker *zbustest.Broker
	client *zbus.Client // of the proxy
	stop   func()       // ends the proxy in order
	base   string       // the address of the topic at the broker
	http   *http.Client
}

// publish runs all that is needed to have a handler answer below /proxy/web/.
func publish(t *testing.T, target string, change func(*proxy.Options), set ...func(*config.Config)) *site {
	t.Helper()
	s := &site{broker: zbustest.Start(t, append(set, func(c *config.Config) { c.MaxBody = maxBody })...)}
	s.base = "http://" + s.broker.Addr + "/proxy/web"
	s.http = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       patience,
	}
	t.Cleanup(s.http.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := zbus.Dial(ctx, s.broker.Addr, zbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s.client = client
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	opts := proxy.Options{Topic: "web", Target: u, Transport: transport}
	if change != nil {
		change(&opts)
	}
	p, err := proxy.New(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	running, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			end()
			if err := <-done; err != nil && !errors.Is(err, zbus.ErrClosed) {
				t.Errorf("the proxy ended with %v", err)
			}
		})
	}
	t.Cleanup(s.stop)
	for {
		if info, err := client.QueryTopic(ctx, "web"); err == nil && info.Consumers > 0 {
			return s
		}
		if ctx.Err() != nil {
			t.Fatal("the proxy does not connect")
		}
	}
}

// behind is publish for a handler of its own.
func behind(t *testing.T, h http.HandlerFunc) *site {
	t.Helper()
	return behindWith(t, h)
}

// behindWith is behind with a broker that is set otherwise.
func behindWith(t *testing.T, h http.HandlerFunc, set ...func(*config.Config)) *site {
	t.Helper()
	target := httptest.NewServer(h)
	t.Cleanup(target.Close)
	return publish(t, target.URL, nil, set...)
}

// answer is the head of an answer.
type answer struct {
	StatusCode    int
	ContentLength int64
	Header        http.Header
}

// do sends a request, and returns the answer with its body read.
func (s *site) do(t *testing.T, method, path string, body io.Reader, headers ...string) (answer, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.ContentLength, resp.Header}, string(all)
}

// refused wants a problem document with a status, a code, and words.
func (s *site) refused(t *testing.T, resp answer, body string, status int, code, words string) {
	t.Helper()
	var p struct {
		Status       int
		Code, Detail string
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != status || p.Status != status ||
		p.Code != code || !strings.Contains(p.Detail, words) || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %q %s; want %d, %s, %q", resp.StatusCode, resp.Header.Get("Content-Type"), body, status, code, words)
	}
}

// seen is a request as the target got it.
type seen struct {
	Method, URI, Host string
	Body              []byte
	Header            http.Header
	Length            int64
}

func show(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{req.Method, req.RequestURI, req.Host, body, req.Header, req.ContentLength})
}

func TestRequestsArriveAsTheyWereSent(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(show))
	t.Cleanup(target.Close)
	s := publish(t, target.URL, nil)
	for _, x := range []struct{ method, path, body string }{
		{"GET", "/", ""},
		{"GET", "/a%2Fb/%C3%A4?x=1&y=%2F&empty", ""},
		{"GET", "//twice//?", ""},
		{"POST", "/form", "a=1"},
		{"PUT", "/bytes", "\x00\xff\r\n\r\n"},
		{"PATCH", "/p", "{}"},
		{"DELETE", "/d", ""},
		{"OPTIONS", "/o", ""},
		{"PROPFIND", "/dav", "<x/>"},
	} {
		resp, body := s.do(t, x.method, x.path, strings.NewReader(x.body), "X-Own", "one", "X-Own", "two", "Cmd", "remove", "Topic", "web", "Authorization", "Basic dDp0")
		var got seen
		if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s %s: %d %s", x.method, x.path, resp.StatusCode, body)
		}
		if got.Method != x.method || got.URI != x.path || string(got.Body) != x.body || got.Length != int64(len(x.body)) {
			t.Errorf("%s %s with %q arrived as %+v", x.method, x.path, x.body, got)
		}
		if own := got.Header["X-Own"]; len(own) != 2 || got.Header.Get("Cmd") != "remove" || got.Header.Get("Authorization") != "Basic dDp0" {
			t.Errorf("headers arrived as %v", got.Header)
		}
		if got.Host != strings.TrimPrefix(target.URL, "http://") {
			t.Errorf("the target is asked for as %q", got.Host)
		}
	}
}

func TestHeadersOfAConnectionStayWithIt(t *testing.T) {
	s := behind(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "of the target's connection")
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-End", "to the end")
		show(w, req)
	})
	resp, body := s.do(t, "GET", "/", nil, "Connection", "X-Gone, close", "X-Gone", "1", "Keep-Alive", "1", "Proxy-Authorization", "Basic x",
		"Proxy-Connection", "keep-alive", "Te", "gzip", "Trailer", "X-T", "X-End", "stays",
		"X-Forwarded-For", "6.6.6.6", "X-Forwarded-Prefix", "/lie", "Forwarded", "for=6.6.6.6", "Via", "1.1 other")
	var got seen
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err, body)
	}
	for _, name := range []string{"Connection", "X-Gone", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Forwarded"} {
		if v := got.Header.Values(name); v != nil {
			t.Errorf("%s went through: %q", name, v)
		}
	}
	for name, want := range map[string]string{
		"X-End": "stays", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": s.broker.Addr, "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/proxy/web",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s arrived as %q, want %q", name, v, want)
		}
	}
	if via := strings.Join(got.Header.Values("Via"), ", "); via != "1.1 other, 1.1 zbus" {
		t.Errorf("via %q", via)
	}
	for _, name := range []string{"X-Hop", "Proxy-Authenticate", "Keep-Alive"} {
		if v := resp.Header.Values(name); v != nil {
			t.Errorf("%s came back: %q", name, v)
		}
	}
	if resp.Header.Get("X-End") != "to the end" || resp.Header.Get("Via") != "1.1 zbus" {
		t.Errorf("came back: %v", resp.Header)
	}
}

// chunked hides the length of a body.
type chunked struct{ io.Reader }

func TestBodiesOfAllSizesGoThrough(t *testing.T) {
	s := behind(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sha256.Sum256(body)))
		w.Header().Set("Trailer", "X-Trailer")
		for len(body) > 0 { // in chunks
			n := min(len(body), 70_000)
			_, _ = w.Write(body[:n])
			_ = http.NewResponseController(w).Flush()
			body = body[n:]
		}
	})
	for _, size := range []int{0, 1, 4096, 1 << 20, maxBody - 2000} {
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		sum := fmt.Sprintf("%x", sha256.Sum256(body))
		for _, r := range []io.Reader{bytes.NewReader(body), chunked{bytes.NewReader(body)}} {
			resp, got := s.do(t, "POST", "/", r)
			if resp.StatusCode != 200 || resp.Header.Get("X-Sum") != sum || got != string(body) {
				t.Fatalf("%d bytes (%T): %d, %d bytes came back, %v", size, r, resp.StatusCode, len(got), resp.Header)
			}
		}
	}
	for _, r := range []io.Reader{bytes.NewReader(make([]byte, maxBody)), chunked{bytes.NewReader(make([]byte, maxBody+1))}} {
		resp, body := s.do(t, "POST", "/", r)
		s.refused(t, resp, body, 413, "too_large", "2097152 bytes")
	}
	if resp, _ := s.do(t, "GET", "/", nil); resp.StatusCode != 200 {
		t.Errorf("after that: %d", resp.StatusCode)
	}
}

func TestAnswersThatCanNotGoThrough(t *testing.T) {
	release := make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, maxBody+1))
		case "/broken", "/cut":
			if req.URL.Path == "/cut" {
				w.Header().Set("Content-Length", "1000")
			}
			_, _ = io.WriteString(w, "the first half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/slow", "/endless":
			if req.URL.Path == "/endless" {
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-release:
			case <-req.Context().Done():
			}
		}
	}))
	t.Cleanup(target.Close)
	s := publish(t, target.URL, nil)
	hasty := publish(t, target.URL, func(o *proxy.Options) { o.Timeout = 200 * time.Millisecond })
	defer close(release)
	for _, x := range []struct {
		path        string
		site        *site
		status      int
		code, words string
	}{
		{"/large", s, 502, "bad_answer", "2097152 bytes"},
		{"/broken", s, 502, "bad_answer", "broke off"},
		{"/cut", s, 502, "bad_answer", "broke off"},
		{"/slow", hasty, 504, "timeout", "in time"},
		{"/endless", hasty, 504, "timeout", "in time"},
	} {
		resp, body := x.site.do(t, "GET", x.path, nil)
		x.site.refused(t, resp, body, x.status, x.code, x.words)
	}
	if resp, body := s.do(t, "GET", "/", nil); resp.StatusCode != 200 {
		t.Errorf("after that: %d %s", resp.StatusCode, body)
	}
	target.CloseClientConnections()
	target.Close()
	resp, body := s.do(t, "GET", "/", nil)
	s.refused(t, resp, body, 502, "unavailable", "can't be reached")
}

func TestAnswersWithoutABody(t *testing.T) {
	s := behind(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Etag", `"1"`)
		switch req.URL.Path {
		case "/none":
			w.WriteHeader(204)
		case "/same":
			w.WriteHeader(304)
		case "/teapot":
			w.WriteHeader(418)
		default:
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}
	})
	for _, x := range []struct {
		method, path string
		status       int
		length       int64
	}{{"HEAD", "/", 200, 5}, {"GET", "/none", 204, 0}, {"GET", "/same", 304, 0}, {"GET", "/teapot", 418, 0}, {"GET", "/", 200, 5}} {
		resp, body := s.do(t, x.method, x.path, nil)
		if resp.StatusCode != x.status || resp.ContentLength != x.length || resp.Header.Get("Etag") != `"1"` || (len(body) > 0) != (x.method == "GET" && x.path == "/") {
			t.Errorf("%s %s: %d, length %d, %q, %v", x.method, x.path, resp.StatusCode, resp.ContentLength, body, resp.Header)
		}
	}
}

func TestWhatIsNotForwarded(t *testing.T) {
	reached := false
	s := behind(t, func(http.ResponseWriter, *http.Request) { reached = true })
	for _, name := range []string{"plain", "calls"} {
		if _, err := s.client.DeclareTopic(context.Background(), zbus.TopicSpec{Name: name, RPC: name == "calls"}); err != nil {
			t.Fatal(err)
		}
	}
	root := "http://" + s.broker.Addr
	for _, x := range []struct {
		method, url string
		headers     []string
		status      int
		code, words string
	}{
		{"GET", s.base + "/chat", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Key", "x", "Sec-WebSocket-Version", "13"}, 501, "invalid", "(websocket)"},
		{"GET", s.base + "/h2", []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"}, 501, "invalid", "(h2c)"},
		{"TRACE", s.base + "/", nil, 501, "invalid", "TRACE"},
		{"GET", s.base + "/a/../b", nil, 400, "invalid", ".."},
		{"GET", s.base + "/a/%2e%2E/b", nil, 400, "invalid", ".."},
		{"GET", root + "/proxy/", nil, 404, "not_found", "/proxy/<topic>/"},
		{"GET", root + "/proxy/nobody/", nil, 404, "not_found", "nobody"},
		{"GET", root + "/proxy/plain/", nil, 404, "not_found", "kind proxy"},
		{"GET", root + "/proxy/calls/", nil, 404, "not_found", "kind proxy"},
	} {
		base := s.base
		s.base = x.url
		resp, body := s.do(t, x.method, "", nil, x.headers...)
		s.base = base
		s.refused(t, resp, body, x.status, x.code, x.words)
	}
	if resp, _ := s.do(t, "GET", "", nil, "Host", "evil.example"); resp.StatusCode != 421 {
		t.Errorf("under the name of another server: %d", resp.StatusCode)
	}
	if reached {
		t.Error("one of them reached the target")
	}
}

func TestAPageStaysInItsPlace(t *testing.T) {
	var self string
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		if to := req.URL.Query().Get("to"); to != "" {
			h.Set("Location", to)
			w.WriteHeader(302)
			return
		}
		h.Add("Set-Cookie", "plain=1")
		h.Add("Set-Cookie", "sub=2; Path=/app; HttpOnly")
		h.Add("Set-Cookie", "wide=3; Domain=example.com; Path=/; Secure")
		h.Set("Content-Security-Policy", "default-src 'self'")
		h.Set("Clear-Site-Data", `"*"`)
		h.Set("Strict-Transport-Security", "max-age=1")
	}))
	t.Cleanup(target.Close)
	self = target.URL
	s := publish(t, self+"/base/", nil)
	for to, want := range map[string]string{
		"/base/login?x=1":      "/proxy/web/login?x=1",
		self + "/base/a%2Fb":   "/proxy/web/a%2Fb",
		"next":                 "next",
		"https://example.com/": "https://example.com/",
		"//example.com/x":      "//example.com/x",
	} {
		resp, _ := s.do(t, "GET", "/?to="+url.QueryEscape(to), nil)
		if got := resp.Header.Get("Location"); resp.StatusCode != 302 || got != want {
			t.Errorf("to %s: %d %q, want %q", to, resp.StatusCode, got, want)
		}
	}
	resp, _ := s.do(t, "GET", "/page", nil)
	if csp := resp.Header.Values("Content-Security-Policy"); len(csp) != 2 || csp[0] != "default-src 'self'" ||
		!strings.HasPrefix(csp[1], "sandbox ") || strings.Contains(csp[1], "allow-same-origin") {
		t.Errorf("policy %q", csp)
	}
	for _, name := range []string{"Clear-Site-Data", "Strict-Transport-Security"} {
		if v := resp.Header.Get(name); v != "" {
			t.Errorf("%s came back: %q", name, v)
		}
	}
	want := []string{"plain=1; Path=/proxy/web/", "sub=2; Path=/proxy/web/app; HttpOnly", "wide=3; Path=/proxy/web/; Secure"}
	if got := resp.Header.Values("Set-Cookie"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("cookies %q", got)
	}
	resp, _ = s.do(t, "GET", "?q=1", nil)
	if to := resp.Header.Get("Location"); resp.StatusCode != 308 || to != "web/?q=1" { // relative to /proxy/
		t.Errorf("without a slash: %d to %q", resp.StatusCode, to)
	}
}

func TestWithoutAProxyNothingWaits(t *testing.T) {
	s := behind(t, func(http.ResponseWriter, *http.Request) {})
	s.stop()
	resp, body := s.do(t, "GET", "/", nil)
	s.refused(t, resp, body, 503, "unavailable", "web")
}

func TestARequestWhoseProxyGoesAwayFailsAtOnce(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := behind(t, func(w http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-release
	})
	defer close(release)
	go func() {
		<-arrived
		_ = s.client.Close()
	}()
	req, _ := http.NewRequest("POST", s.base+"/", strings.NewReader("once"))
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	s.refused(t, answer{resp.StatusCode, resp.ContentLength, resp.Header}, string(body), 502, "provider_gone", "may have run")
}

func TestAnEndedProxyFinishesWhatIsUnderWay(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-arrived
		time.AfterFunc(50*time.Millisecond, func() { close(release) }) // while it stops
		s.stop()
	}()
	if resp, body := s.do(t, "GET", "/", nil); resp.StatusCode != 200 || body != "finished" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	<-stopped
}

func TestProvidersThatAreNoProxies(t *testing.T) {
	s := behind(t, func(http.ResponseWriter, *http.Request) {})
	s.stop()
	answers := map[string]*zbus.Message{
		"GET":   {Body: []byte("hello")},
		"PUT":   {Headers: map[string]string{"content-type": "message/http"}, Body: []byte("hello")},
		"POST":  {Headers: map[string]string{"content-type": "message/http"}, Body: []byte("HTTP/1.1 101 Switching Protocols\r\n\r\n")},
		"PATCH": {Headers: map[string]string{"content-type": "message/http"}, Body: []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")},
	}
	ctx, cancel := context.WithCancel(context.Background())
	service := zbus.NewService(s.client, "web", zbus.ServiceOptions{Topic: zbus.TopicSpec{Proxy: true}})
	service.HandleRequests(func(_ context.Context, d *zbus.Delivery) (*zbus.Message, error) {
		method, _, _ := strings.Cut(string(d.Body), " ")
		if a := answers[method]; a != nil {
			return a, nil
		}
		return nil, fmt.Errorf("out of beans")
	})
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	for deadline := time.Now().Add(patience); ; {
		if info, err := s.client.QueryTopic(ctx, "web"); err == nil && info.Consumers > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the provider does not connect")
		}
	}
	for _, method := range []string{"GET", "PUT", "POST", "PATCH", "DELETE"} {
		resp, body := s.do(t, method, "/", nil)
		s.refused(t, resp, body, 502, "bad_answer", "provider")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAProxyOfAnotherKindOfTopicIsRefused(t *testing.T) {
	s := behind(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := s.client.DeclareTopic(context.Background(), zbus.TopicSpec{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse("http://127.0.0.1:1")
	p, err := proxy.New(s.client, proxy.Options{Topic: "log", Target: u})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another kind") {
		t.Errorf("it runs: %v", err)
	}
	for _, bad := range []string{"", "ftp://x", "127.0.0.1:8080", "http://x/?q", "http://x/#f"} {
		u, _ := url.Parse(bad)
		if _, err := proxy.New(s.client, proxy.Options{Topic: "web", Target: u}); err == nil {
			t.Errorf("target %q is taken", bad)
		}
	}
}

func TestManyRequestsAtOnceGetTheirOwnAnswers(t *testing.T) {
	s := behind(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.URL.Path) })
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 50 {
				path := fmt.Sprintf("/%d/%d", i, j)
				resp, err := s.http.Get(s.base + path)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || string(body) != path {
					t.Errorf("%s: %d %q", path, resp.StatusCode, body)
				}
			}
		})
	}
	all.Wait()
}

func TestTheTargetLearnsOfEncryption(t *testing.T) {
	certificates := httptest.NewTLSServer(nil) // for its certificate
	defer certificates.Close()
	cert, key := certtest.Write(t, t.TempDir(), &certificates.TLS.Certificates[0])
	s := behindWith(t, show, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	client := certificates.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Get("https" + strings.TrimPrefix(s.base, "http") + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got seen
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("%v, %v", err, got.Header)
	}
}

// A request line that net/http's client would not send.
func TestPathsAreTakenAsTheyAre(t *testing.T) {
	s := behind(t, show)
	conn, err := net.DialTimeout("tcp", s.broker.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /PROXY/../proxy/web/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.broker.Addr)
	answer, err := io.ReadAll(conn)
	if err != nil || bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
		t.Errorf("%v, %.60q", err, answer)
	}
}
