package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialFrom connects from an address of this machine.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// answerOf sends a request and reads the head of what is answered, and its body.
func answerOf(t *testing.T, c net.Conn, request string) (status int, header http.Header, body string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r := textproto.NewReader(bufio.NewReader(c))
	line, err := r.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	fields, err := r.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	length, _ := strconv.Atoi(fields.Get("Content-Length")) // none is 0
	text := make([]byte, length)
	if _, err := io.ReadFull(r.R, text); err != nil {
		t.Fatal(err)
	}
	return status, http.Header(fields), string(text)
}

const pingText = "GET / HTTP/1.1\r\ncmd: ping\r\nid: 1\r\n\r\n"

// crowd makes connections from one address, each with a request, and counts the answers by
// their status. Those that are let in stay.
func crowd(t *testing.T, size int, from, to, request string) (answers map[int]int) {
	t.Helper()
	answers = map[int]int{}
	for range size {
		status, header, body := answerOf(t, dialFrom(t, from, to), request)
		answers[status]++
		if status == http.StatusTooManyRequests && (header.Get("Retry-After") == "" || body == "") {
			t.Errorf("refused with %v %q", header, body)
		}
	}
	return answers
}

// One address that opens as many connections as it can leaves room for the next client.
func TestOneAddressCannotTakeAllConnections(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int
		request func(p *process) string
		ok      int
	}{
		{"connections", 300, func(*process) string { return pingText }, http.StatusOK},
		{"WebSockets", 300, func(p *process) string { return p.upgrade("/") }, http.StatusSwitchingProtocols},
		{"WebSockets of the API", 300, func(p *process) string { return p.upgrade("/api/v1/ws") }, http.StatusSwitchingProtocols},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := realBroker(t, "fsync")
			p.with("--max-connections=240", "--limit-loopback")
			p.start()
			answers := crowd(t, c.size, "127.0.0.2", p.address, c.request(p))
			if answers[c.ok] != 60 || answers[http.StatusTooManyRequests] != c.size-60 {
				t.Errorf("answered with %v: want a quarter of the connections let in", answers)
			}
			if status, _, body := answerOf(t, dialFrom(t, "127.0.0.3", p.address), pingText); status != http.StatusOK {
				t.Errorf("the next client got %d %s", status, body)
			}
			if n := p.metrics()[`zbus_refused_total{limit="address-connections"}`]; int(n) != c.size-60 {
				t.Errorf("metrics tell of %v refusals", n)
			}
			p.terminate()
		})
	}
}

// WebSockets and streams of events of the API have a limit of their own.
func TestSocketsOfAnAddressAreLimited(t *testing.T) {
	p := realBroker(t, "fsync")
	p.with("--address-sockets=10", "--limit-loopback")
	p.start()
	p.declare()
	events := "GET /api/v1/topics/" + topic + "/events HTTP/1.1\r\nHost: " + p.address + "\r\n\r\n"
	ws := p.upgrade("/api/v1/ws")
	if answers := crowd(t, 5, "127.0.0.2", p.address, events); answers[200] != 5 {
		t.Fatalf("streams: %v", answers)
	}
	last := dialFrom(t, "127.0.0.2", p.address)
	answerOf(t, last, ws)
	if answers := crowd(t, 10, "127.0.0.2", p.address, ws); answers[101] != 4 || answers[429] != 6 {
		t.Errorf("WebSockets: %v", answers)
	}
	if answers := crowd(t, 3, "127.0.0.2", p.address, events); answers[429] != 3 {
		t.Errorf("streams over the limit: %v", answers)
	}
	if answers := crowd(t, 2, "127.0.0.3", p.address, ws); answers[101] != 2 {
		t.Errorf("WebSockets of another address: %v", answers)
	}
	_ = last.Close()
	await(t, "room after one was closed", func() bool { return crowd(t, 1, "127.0.0.2", p.address, ws)[101] == 1 })
	p.terminate()
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("not seen: %s", what)
		}
	}
}

// An address that opens connections faster than it may waits a second.
func TestNewConnectionsOfAnAddressAreLimited(t *testing.T) {
	p := realBroker(t, "fsync")
	p.with("--address-rate=2", "--limit-loopback") // 200 connections take less than 100 s
	p.start()
	answers := crowd(t, 200, "127.0.0.2", p.address, pingText)
	if answers[200] < 2 || answers[429] == 0 {
		t.Errorf("%v", answers)
	}
	if answers := crowd(t, 1, "127.0.0.3", p.address, pingText); answers[200] != 1 {
		t.Errorf("another address: %v", answers)
	}
	await(t, "room after a while", func() bool { return crowd(t, 1, "127.0.0.2", p.address, pingText)[200] == 1 })
	p.terminate()
}

// Strangers that take all the connections there are leave some to the broker's own machine.
func TestAnOperatorGetsInWhenConnectionsAreUsedUp(t *testing.T) {
	beyond := ownAddress(t)
	p := realBroker(t, "fsync")
	p.with("--max-connections=64", "--address-connections=1000", "--listen="+beyond, "--insecure")
	p.start()
	host, _, err := net.SplitHostPort(beyond)
	if err != nil {
		t.Fatal(err)
	}
	answers := crowd(t, 100, host, beyond, pingText)
	if answers[200] != 60 || answers[503] != 40 {
		t.Errorf("strangers were answered with %v", answers)
	}
	for range 4 {
		if status, _, body := answerOf(t, dialFrom(t, "127.0.0.1", p.address), pingText); status != http.StatusOK {
			t.Errorf("an operator got %d %s", status, body)
		}
	}
	p.terminate()
}

// ownAddress is an address with a free port, on which a connection does not come from the
// loopback interface.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.IsLoopback() || ip.To4() == nil || strings.HasPrefix(ip.String(), "169.254.") {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("%s:0", ip))
		if err != nil {
			continue
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	t.Skip("NOT TESTED: clients that are no loopback ones: this machine has no other address")
	return ""
}
