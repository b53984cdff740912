package crashtest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// strangersMemory is what --max-memory gives a broker that strangers want to fill.
const strangersMemory = 128 << 20

// An unauthenticated client can't make the broker hold more than the limit, no matter what it sends on how many
// connections, and other clients are served all the while.
func TestStrangersTakeBoundedMemory(t *testing.T) {
	p := realBroker(t, "fsync")
	plain := p.command
	p.command = func() *exec.Cmd {
		cmd := plain()
		cmd.Args = append(cmd.Args, "--auth=on", fmt.Sprint("--max-memory=", strangersMemory))
		return cmd
	}
	p.start()
	before := p.resident()
	web := func(method, path string, length int) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, p.address, length)
	}
	socket := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + p.address + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n" +
			"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00mask" // a frame of four gigabytes
	}
	mega := strings.Repeat("a", 1<<20)
	password := `{"account":"root","password":"` + strings.Repeat("p", 400) + `"}`
	kinds := []struct {
		what        string
		connections int
		sent        []string
	}{
		{"heads that do not end", 300, []string{"GET / HTTP/1.1\r\n", strings.Repeat("x-name: "+strings.Repeat("v", 100)+"\r\n", 500)}},
		{"heads of one line that does not end", 300, []string{"GET /" + mega}},
		{"large bodies of logins", 100, []string{web("POST", "/api/v1/login", 8<<20), `{"account":"`, mega, mega}},
		{"large bodies over HTTP", 100, []string{web("POST", "/api/v1/topics/t/messages", 8<<20), mega, mega}},
		{"large bodies of the native protocol", 100, []string{"GET / HTTP/1.1\r\ncmd: produce\r\ntopic: t\r\nid: 1\r\ncontent-length: 8388608\r\n\r\n", mega, mega}},
		{"many publishes", 50, []string{strings.Repeat("GET / HTTP/1.1\r\ncmd: produce\r\ntopic: t\r\nid: 1\r\ncontent-length: 1000\r\n\r\n"+mega[:1000], 2000)}},
		{"many fields", 50, []string{"GET / HTTP/1.1\r\ncmd: ping\r\n" + strings.Repeat("a: b\r\n", 100_000)}},
		{"WebSockets of the native protocol", 100, []string{socket("/"), mega, mega}},
		{"WebSockets of the API", 100, []string{socket("/api/v1/ws"), mega, mega}},
		{"passwords", 100, []string{web("POST", "/api/v1/login", len(password)), password}},
	}
	for _, kind := range kinds {
		var all sync.WaitGroup
		for range kind.connections {
			all.Go(func() { p.strange(kind.sent) })
		}
		all.Wait()
		p.served()
		t.Logf("%s on %d connections: at most %d MB, %d MB before all", kind.what, kind.connections, p.peakMemory()>>20, before>>20)
	}
	// Go collects what was let go a little later, and passwords are checked beside what is received.
	if peak := p.peakMemory(); peak > strangersMemory*5/4 {
		t.Errorf("the process has had %d MB, with --max-memory %d MB", peak>>20, strangersMemory>>20)
	}
}

// strange sends something on a connection that stays open until the test ends. The broker may refuse
// it, stop reading it, and end it.
func (p *process) strange(sent []string) {
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Error(err)
		return
	}
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Second))
	for _, part := range sent {
		if _, err := c.Write([]byte(part)); err != nil {
			return
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols && resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		p.t.Error("a WebSocket is compressed, so a small frame may be a large one")
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		p.t.Errorf("a stranger was answered with %s", resp.Status)
	}
}
