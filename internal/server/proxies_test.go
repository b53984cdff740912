package server_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// documented is a reverse proxy that the documentation has a configuration for.
type documented struct {
	program string
	// configure writes that configuration into dir, changed so far that the proxy listens at
	// an address without TLS and leads to the broker, and returns the arguments to run it.
	configure func(t *testing.T, text, dir, at, broker string) []string
}

var documentedProxies = []documented{
	{"nginx", func(t *testing.T, text, dir, at, broker string) []string {
		site := regexp.MustCompile(`(?m)^\s*ssl_.*\n`).ReplaceAllString(text, "")
		site = strings.NewReplacer("listen 443 ssl", "listen "+at, "127.0.0.1:15555", broker).Replace(site)
		return []string{"-p", dir, "-c", written(t, dir, "nginx.conf", "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+
			"client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"+site+"}\n")}
	}},
	{"caddy", func(t *testing.T, text, dir, at, broker string) []string {
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			t.Fatal(err)
		}
		site := strings.NewReplacer("mq.example.com {", "http://mq.example.com:"+port+" {\nbind "+host, "127.0.0.1:15555", broker).Replace(text)
		return []string{"run", "--adapter", "caddyfile", "--config", written(t, dir, "Caddyfile", "{\nadmin off\n}\n"+site)}
	}},
}

// written writes a file and returns its path.
func written(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs the proxy with the configuration of the documentation in front of the broker, and
// returns where it listens.
func (p *documented) run(t *testing.T, b *instance, address string) string {
	t.Helper()
	path, err := exec.LookPath(p.program)
	if err != nil {
		t.Skip("NOT TESTED: " + p.program + " is not installed")
	}
	text, err := os.ReadFile("../../docs/reverse-proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```" + p.program + "\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("the documentation has no configuration for " + p.program)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), path, p.configure(t, string(block[1]), dir, at, b.addr)...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")} // for what a proxy keeps
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	eventually(t, p.program+" listens", func() bool {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return at
}

// Pages, links, redirects, streams and WebSockets work below a path of a proxy that passes
// on no port, and sessions show who is behind it.
func TestBehindProxiesAsDocumented(t *testing.T) {
	t.Parallel()
	for _, p := range documentedProxies {
		t.Run(p.program, func(t *testing.T) { p.check(t) })
	}
}

// visitor is a client of the broker that gets to it by a proxy.
type visitor struct {
	t      *testing.T
	client *http.Client
}

const (
	proxied = "http://mq.example.com:8080" // the origin that a visitor sees
	base    = proxied + "/mq/"
)

func (v *visitor) ask(method, url, body string, lines ...string) *http.Response {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(lines); i += 2 {
		req.Header.Set(lines[i], lines[i+1])
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// post sends JSON as a page of an origin does.
func (v *visitor) post(url, body, origin string) *http.Response {
	v.t.Helper()
	return v.ask("POST", url, body, "Content-Type", "application/json", "Origin", origin)
}

// leads is where a response says to go.
func (v *visitor) leads(resp *http.Response) string {
	v.t.Helper()
	at, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		v.t.Fatal(err)
	}
	return at.String()
}

func (p *documented) check(t *testing.T) {
	address := outer(t)
	b := start(t, func(c *config.Config) {
		c.TrustedProxy, c.PublicURL = []string{"127.0.0.1"}, []string{base}
	})
	front := p.run(t, b, address)
	v := &visitor{t, &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", front)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	defer v.client.CloseIdleConnections()
	if at := v.leads(v.ask("GET", base, "", "Accept", "text/html")); at != base+"ui/" {
		t.Errorf("the redirect leads to %s", at)
	}
	if resp := v.ask("GET", base+"ui/", ""); resp.StatusCode != 200 {
		t.Errorf("the console: %d", resp.StatusCode)
	}
	made := v.post(base+"api/v1/topics", `{"name":"T"}`, proxied)
	if at := v.leads(made); made.StatusCode != 201 || at != base+"api/v1/topics/T" || v.ask("GET", at, "").StatusCode != 200 {
		t.Errorf("%d, the topic is at %s", made.StatusCode, at)
	}
	if resp := v.post(base+"api/v1/topics", `{"name":"U"}`, "http://mq.example.com:9999"); resp.StatusCode != 403 {
		t.Errorf("a page of another port: %d", resp.StatusCode)
	}
	v.streams()
	for origin, ok := range map[string]bool{proxied: true, "http://mq.example.com": false, "http://evil.example": false} {
		v.socket(origin, ok, address)
	}
}

// streams reads an event when it happens, and not when the proxy has gathered many.
func (v *visitor) streams() {
	v.t.Helper()
	stream := bufio.NewReader(v.ask("GET", base+"api/v1/topics/T/events", "").Body)
	if line, err := stream.ReadString('\n'); err != nil || line != "id: -1\n" {
		v.t.Fatalf("the stream begins with %q, %v", line, err)
	}
	if resp := v.post(base+"api/v1/topics/T/messages", `{"body":"hello"}`, proxied); resp.StatusCode != 201 {
		v.t.Fatalf("publish: %d", resp.StatusCode)
	}
	for line := ""; !strings.Contains(line, `"hello"`); {
		var err error
		if line, err = stream.ReadString('\n'); err != nil {
			v.t.Fatalf("the event of a message: %v", err)
		}
	}
}

// socket opens a WebSocket as a page of an origin that claims another address does.
func (v *visitor) socket(origin string, ok bool, address string) {
	v.t.Helper()
	ws, _, err := websocket.Dial(v.t.Context(), base+"api/v1/ws", &websocket.DialOptions{HTTPClient: v.client, HTTPHeader: http.Header{"Origin": {origin}, "X-Forwarded-For": {"198.51.100.1"}}})
	if (err == nil) != ok {
		v.t.Errorf("WebSocket of %s: %v", origin, err)
	}
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	if err := ws.Write(v.t.Context(), websocket.MessageText, []byte(`{"op":"subscribe","topic":"T","start":{"offset":"0"},"window":1}`)); err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), 30*time.Second)
	defer cancel()
	for text := ""; !strings.Contains(text, `"hello"`); {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			v.t.Fatalf("no message came after %s: %v", text, err)
		}
		text = string(frame)
	}
	sessions := pageOf(v.t, v.ask("GET", base+"api/v1/sessions?protocol=api", ""))
	if !strings.Contains(sessions, `"remote":"`+address+`:0"`) || strings.Contains(sessions, "198.51.100.1") {
		v.t.Errorf("sessions: %s", sessions)
	}
}
