package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// Large answers that clients are slow to read are few, and a client that asks for one more is
// told to try again.
func TestAnswersThatNobodyReadsShareOneLimit(t *testing.T) {
	b := start(t, func(c *config.Config) { c.MaxMemory, c.TailCache, c.MaxBody = 64<<20, 0, 8<<20 })
	c := b.dial(t)
	c.ok("declare topic=T")
	for range 2 {
		c.ok("produce topic=T", strings.Repeat("x", 8<<20))
	}
	for path, body := range map[string]string{
		"GET /api/v1/topics/T/messages/0": "", "POST /api/v1/topics/T/groups/T:pull": `{"max":10}`,
	} {
		before := heap()
		var stuck []net.Conn
		stick := func() {
			conn := b.tcp(t)
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			stuck = append(stuck, conn)
		}
		for range 30 {
			stick()
		}
		method, url, _ := strings.Cut(path, " ")
		ask := func() int {
			req, err := http.NewRequest(method, "http://"+b.addr+url, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode == http.StatusServiceUnavailable && (resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "try again later")) {
				t.Errorf("%v %s", resp.Header, text)
			}
			return resp.StatusCode
		}
		if method == "GET" {
			eventually(t, "an answer is refused", func() bool {
				if ask() == http.StatusServiceUnavailable {
					return true
				}
				stick() // the others may all have been refused while we were being answered
				return false
			})
		}
		if method == "GET" { // the memory is full: what has changed something says so all the same
			if n := publishMany(t, b); n != 201 {
				t.Errorf("messages that are stored are answered with %d", n)
			}
		}
		c.ok("ping")
		if grown := heap() - before; grown > 64<<20 {
			t.Errorf("%s: %d MB are held", path, grown>>20)
		}
		for _, conn := range stuck {
			conn.Close()
		}
		eventually(t, "there is room again", func() bool { return ask() == http.StatusOK })
	}
}

// What a large message needed to be sent is not kept by the connection.
func TestAConnectionKeepsNothingOfALargeMessage(t *testing.T) {
	const clients, size = 64, 1 << 20
	b := start(t, func(c *config.Config) { c.TailCache = 0 })
	c := b.dial(t)
	c.ok("declare topic=T")
	body := strings.Repeat("x", size)
	c.ok("produce topic=T", body)
	before := heap()
	for i := range clients {
		c.ok(fmt.Sprintf("declare topic=T consume_group=g%d group_start_offset=0", i))
		conn := b.tcp(t)
		defer conn.Close()
		fmt.Fprint(conn, request(fmt.Sprintf("consume topic=T consume_group=g%d", i), ""))
		for r := bufio.NewReader(conn); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line != "\r\n" {
				continue
			}
			if _, err := io.CopyN(io.Discard, r, size); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	eventually(t, "it is let go", func() bool { return heap()-before < clients*size/4 })
}

// publishMany publishes so many messages at once that the answer is a large one.
func publishMany(t *testing.T, b *instance) (status int) {
	t.Helper()
	var body strings.Builder
	for range 1000 {
		fmt.Fprintf(&body, `,{"body":"x","id":"%s-%d"}`, strings.Repeat("i", 100), body.Len())
	}
	b.dial(t).ok("declare topic=Many")
	resp, err := http.Post("http://"+b.addr+"/api/v1/topics/Many/messages", "application/json", strings.NewReader("["+body.String()[1:]+"]"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusCreated && len(answer) < 64<<10 {
		t.Fatalf("an answer of %d bytes, %v", len(answer), err)
	}
	return resp.StatusCode
}
