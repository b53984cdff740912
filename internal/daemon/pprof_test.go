package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
)

// Profiles are where Go's tools look for them, in the form that they read.
func TestProfiles(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveProfiles(ctx, address) }()
	get := func(path string) (int, []byte) {
		for {
			resp, err := http.Get("http://" + address + "/debug/pprof/" + path)
			if err != nil {
				select {
				case err := <-ended:
					t.Fatal(err)
				default:
					continue // it does not listen yet
				}
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, body
		}
	}
	zipped := []byte{0x1f, 0x8b}
	for path, begin := range map[string][]byte{
		"": []byte("profile?seconds=30\n"), "heap?gc=1": zipped, "goroutine?debug=1": []byte("goroutine profile:"),
		"profile?seconds=1": zipped, "trace?seconds=1": []byte("go 1."),
	} {
		if status, body := get(path); status != 200 || !bytes.HasPrefix(body, begin) {
			t.Errorf("%s: %d %.40q", path, status, body)
		}
	}
	for path, want := range map[string]int{"nothing": 404, "profile?seconds=0": 400, "trace?seconds=x": 400} {
		if status, body := get(path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
