package contract

import (
	"net/http"
	"regexp"
	"testing"
	"time"
)

func TestHeadIsAnsweredAsGetWithoutABody(t *testing.T) {
	b := start(t)
	c := b.client(t)
	explicitGroup(c, 1, object{"settle": "auto"})
	wire := &http.Transport{}
	t.Cleanup(wire.CloseIdleConnections)
	plain := &http.Client{Transport: wire, Timeout: patience}
	ask := func(method, path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := plain.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	hole := regexp.MustCompile(`\{[^}]*\}`)
	for _, o := range theContract().operations {
		if path := base + hole.ReplaceAllString(o.template, "T"); o.method == "GET" && o.id != "streamEvents" && o.id != "getBackup" {
			get, head := ask("GET", path), ask("HEAD", path)
			for _, name := range []string{"Content-Type", "ETag"} {
				if head.StatusCode != get.StatusCode || head.Header.Get(name) != get.Header.Get(name) {
					t.Errorf("%s: HEAD has %d and %s %q, GET %d and %q", o.id,
						head.StatusCode, name, head.Header.Get(name), get.StatusCode, get.Header.Get(name))
				}
			}
		}
	}
	if resp := ask("HEAD", base+"/openapi.yaml"); resp.StatusCode != 200 {
		t.Errorf("the contract: %d", resp.StatusCode)
	}
	if resp := ask("HEAD", base+"/topics/T?zzz=1"); resp.StatusCode != 400 {
		t.Errorf("an unknown parameter: %d", resp.StatusCode)
	}
	// What streams would continue forever, and consume messages that are not delivered.
	if resp := ask("HEAD", base+"/topics/T/events?group=g"); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
		t.Errorf("events: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	// A backup would be taken and thrown away.
	if resp := ask("HEAD", base+"/backup"); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
		t.Errorf("a backup: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	if resp := ask("HEAD", base+"/topics/T:pause"); resp.StatusCode != 405 {
		t.Errorf("an action: %d", resp.StatusCode)
	}
	c.post("/topics/T/groups/g:pull", object{"timeout": patience / time.Millisecond}).want(200).is("deliveries.0.offset", 0)
}
