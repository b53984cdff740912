package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/server"
)

// log is a buffer for several goroutines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A handler that panics is logged with the place and without a header, a body or a credential, whatever it says; its
// connection is closed, and others are answered.
func TestAPanicIsLoggedWithoutSecrets(t *testing.T) {
	const secret = "canary-7b1f"
	var lines log
	broken := func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		switch req.URL.Path {
		case "/panics/text":
			panic(fmt.Sprint(req.Header, string(body), req.URL))
		case "/panics/error":
			panic(fmt.Errorf("%v %s", req.Header, body))
		case "/panics/request":
			panic(req)
		case "/panics/index":
			_ = body[len(body)+len(req.Header):][0]
		case "/panics/type":
			_ = any(req.Header.Get("Authorization")).(error)
		case "/panics/late":
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "half of")
			panic(string(body))
		case "/panics/abort":
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "fine")
	}
	web := server.HTTPOf(
		slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
		map[string]http.Handler{"/panics/": http.HandlerFunc(broken)},
	)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = web.Serve(ln) }()
	defer func() { _ = web.Shutdown(context.Background()); <-served }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func(path string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ln.Addr().String()+path+"?token="+secret, strings.NewReader("a body with "+secret))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Authorization", "Cookie", "Token", "X-Api-Key"} {
			req.Header.Set(name, "Bearer "+secret)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	for path, want := range map[string]string{
		"/panics/text": "panic=string", "/panics/error": "panic=*errors.errorString", "/panics/request": "panic=*http.Request",
		"/panics/index": "out of range", "/panics/type": "interface conversion", "/panics/late": "panic=string", "/panics/abort": "",
	} {
		before := len(lines.String())
		if text, err := ask(path); err == nil {
			t.Errorf("%s is answered with %q", path, text)
		}
		if text, err := ask("/panics/none"); err != nil || text != "fine" {
			t.Errorf("after %s: %q %v", path, text, err)
		}
		told := lines.String()[before:]
		if want != "" && (!strings.Contains(told, "a handler panicked") || !strings.Contains(told, want) || !strings.Contains(told, "unbroken_test.go")) || want == "" && strings.Contains(told, "panic") {
			t.Errorf("%s: the log has not %q and the place: %s", path, want, told)
		}
	}
	if strings.Contains(lines.String(), secret) {
		t.Errorf("the log has the secret:\n%s", lines.String())
	}
}
