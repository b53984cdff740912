package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rushmore/zbus-go/internal/certtest"
)

// stopLimit is how long an orderly stop may take, whatever clients do.
const stopLimit = 10 * time.Second

// stuckClient is something that a client can do to be waited for. get returns when the
// client is in that state. topic has more messages than sockets take, Empty has none.
type stuckClient struct {
	name string
	tls  bool
	get  func(t *testing.T, c net.Conn, topic string)
}

var stuckClients = []stuckClient{
	{"native consumer that does not read", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, native("consume", "topic: "+topic, "id: c", "window: 1000"))
		unread(t, c)
	}},
	{"native consumer that does not read, over TLS", true, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, native("consume", "topic: "+topic, "id: c", "window: 1000"))
		unread(t, c)
	}},
	{"native WebSocket consumer that does not read", false, func(t *testing.T, c net.Conn, topic string) {
		upgrade(t, c, "/")
		say(t, c, frame(2, native("consume", "topic: "+topic, "id: c", "window: 1000")))
		unread(t, c)
	}},
	{"native WebSocket that does not answer the close", false, func(t *testing.T, c net.Conn, _ string) {
		upgrade(t, c, "/")
	}},
	{"API WebSocket consumer that does not read", false, func(t *testing.T, c net.Conn, topic string) {
		upgrade(t, c, "/api/v1/ws")
		say(t, c, frame(1, fmt.Sprintf(`{"op":"subscribe","topic":%q,"group":%q,"window":1000}`, topic, topic)))
		unread(t, c)
	}},
	{"API WebSocket consumer that does not read, over TLS", true, func(t *testing.T, c net.Conn, topic string) {
		upgrade(t, c, "/api/v1/ws")
		say(t, c, frame(1, fmt.Sprintf(`{"op":"subscribe","topic":%q,"group":%q,"window":1000}`, topic, topic)))
		unread(t, c)
	}},
	{"half a frame to the API WebSocket", false, func(t *testing.T, c net.Conn, _ string) {
		upgrade(t, c, "/api/v1/ws")
		say(t, c, frame(1, strings.Repeat(" ", 100))[:50])
	}},
	{"server-sent events that nobody reads", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, web("GET", "/api/v1/topics/"+topic+"/events?group="+topic))
		unread(t, c)
	}},
	{"messages that nobody reads", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, web("GET", "/api/v1/topics/"+topic+"/messages/0"))
		unread(t, c)
	}},
	{"messages that nobody reads, over TLS", true, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, web("GET", "/api/v1/topics/"+topic+"/messages/0"))
		unread(t, c)
	}},
	{"a pull that waits", false, func(t *testing.T, c net.Conn, _ string) {
		say(t, c, web("POST", "/api/v1/topics/Empty/groups/Empty:pull", `{"timeout":60000}`))
	}},
	{"a pull of messages that nobody reads", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, web("POST", "/api/v1/topics/"+topic+"/groups/"+topic+":pull", `{"max":1000}`))
		unread(t, c)
	}},
	{"half a body to the API", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, strings.Replace(web("POST", "/api/v1/topics/"+topic+"/messages", `{"body":"half"`), "content-length: 14", "content-length: 1000", 1))
	}},
	{"half a body to a URL of a command", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, strings.Replace(web("POST", "/produce/"+topic, "half"), "content-length: 4", "content-length: 1000", 1))
	}},
	{"half a native body", false, func(t *testing.T, c net.Conn, topic string) {
		say(t, c, strings.Replace(native("produce", "topic: "+topic), "content-length: 0", "content-length: 1000", 1)+"half")
	}},
	{"half a head", false, func(t *testing.T, c net.Conn, _ string) { say(t, c, "GET / HTTP/1.1\r\ncmd: pro") }},
	{"half a TLS handshake", false, func(t *testing.T, c net.Conn, _ string) { say(t, c, "\x16\x03\x01\x02\x00") }},
	{"a consume over HTTP", false, func(t *testing.T, c net.Conn, _ string) { say(t, c, web("GET", "/consume/Empty")) }},
	{"a call without an answer", false, func(t *testing.T, c net.Conn, _ string) {
		say(t, c, native("consume", "topic: Calls", "id: c"))
		waitFor(t, c, "Calls")
		caller := dial(t, c.RemoteAddr().String(), false)
		say(t, caller, web("POST", "/api/v1/rpc/Calls/slow", `{"params":[]}`))
		hear(t, c, "HTTP/1.1 200")
	}},
	{"replies that nobody reads", false, func(t *testing.T, c net.Conn, topic string) {
		_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for range 20_000 { // until the broker reads no more, or has all
			if _, err := io.WriteString(c, native("query", "topic: "+topic, "id: "+strings.Repeat("x", 500))); err != nil {
				break
			}
		}
	}},
}

// All of them are there at once, since each may keep the broker for as long as it takes
// to cut them. If that fails, each by itself says whose fault it is.
func TestAStopEndsWithin10SecondsWhateverClientsDo(t *testing.T) {
	t.Parallel()
	code, took := stopWith(t, stuckClients)
	t.Logf("stopped in %s", took)
	if code == 0 && took <= stopLimit {
		return
	}
	t.Errorf("exit code %d after %s", code, took)
	for i := range stuckClients {
		t.Run(stuckClients[i].name, func(t *testing.T) {
			t.Parallel()
			if code, took := stopWith(t, stuckClients[i:i+1]); code != 0 || took > stopLimit {
				t.Errorf("exit code %d after %s", code, took)
			}
		})
	}
}

// stopWith stops a broker that has these clients.
func stopWith(t *testing.T, clients []stuckClient) (code int, took time.Duration) {
	cert, key := certtest.Own(t, t.TempDir(), 1)
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--tls-cert", cert, "--tls-key", key))
	addr := strings.TrimPrefix(b.url, "https://")
	for i, stuck := range clients {
		topic := fmt.Sprintf("T%d", i)
		fill(t, addr, topic)
		stuck.get(t, dial(t, addr, stuck.tls), topic)
	}
	began := time.Now()
	code = b.stop(t, syscall.SIGTERM)
	return code, time.Since(began)
}

// A consumer that does not read keeps the broker from stopping at once. In that time
// clients can't connect, and those that have connected before are told.
func TestAStopClosesThePortAtOnceAndTellsWhoeverHasConnected(t *testing.T) {
	t.Parallel()
	cert, key := certtest.Own(t, t.TempDir(), 1)
	b := start(t, command(t, nil, "--listen=127.0.0.1:0", "--tls-cert", cert, "--tls-key", key))
	addr := strings.TrimPrefix(b.url, "https://")
	fill(t, addr, "T")
	stuck := dial(t, addr, false)
	say(t, stuck, native("consume", "topic: T", "id: c", "window: 1000"))
	unread(t, stuck)
	requests := []string{
		native("produce", "topic: T", "id: 7"), native("server"), web("POST", "/produce/T", "x"),
		web("POST", "/api/v1/topics/T/messages", `{"body":"x"}`), web("GET", "/readyz"), web("GET", "/healthz"),
		strings.Replace(web("GET", "/api/v1/ws"), "\r\n", "\r\nupgrade: websocket\r\nconnection: Upgrade\r\n", 1),
	}
	var plain, encrypted []net.Conn
	for range requests {
		plain, encrypted = append(plain, dial(t, addr, false)), append(encrypted, dial(t, addr, true))
	}
	consumer := dial(t, addr, false)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("tcp", addr)
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	for i, request := range requests {
		for _, c := range []net.Conn{plain[i], encrypted[i]} {
			say(t, c, request)
			hear(t, c, "HTTP/1.1 503 Service Unavailable\r\n")
			hear(t, c, "\r\n\r\nshutting down: nothing was done, try again later")
		}
	}
	say(t, consumer, native("consume", "topic: T", "id: d"))
	if n, err := consumer.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a consume was answered, which ends the subscriptions of clients")
	}
	_ = stuck.Close()
	defer killLate(b.cmd)()
	_ = b.cmd.Wait()
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: %s", code, b.stderr)
	}
}

func TestADisconnectedSessionEndsSoonWhateverItsClientDoes(t *testing.T) {
	t.Parallel()
	b := start(t, command(t, nil, "--listen=127.0.0.1:0"))
	fill(t, b.address(), "T")
	stuck := dial(t, b.address(), false)
	say(t, stuck, native("consume", "topic: T", "id: c", "window: 1000"))
	unread(t, stuck)
	admin := dial(t, b.address(), false)
	say(t, admin, web("DELETE", "/api/v1/sessions?topic=T"))
	hear(t, admin, `"closed":1`)
	began := time.Now()
	for connections := ""; connections != "1"; {
		say(t, admin, web("GET", "/api/v1/server"))
		hear(t, admin, `"connections":`)
		one := make([]byte, 1)
		if _, err := io.ReadFull(admin, one); err != nil {
			t.Fatal(err)
		}
		connections = string(one)
		hear(t, admin, "}")
		if took := time.Since(began); took > stopLimit {
			t.Fatalf("the connection is still open after %s", took)
		}
	}
}

// fill gives a topic more than the sockets of a connection take, and declares others.
func fill(t *testing.T, addr, topic string) {
	c := dial(t, addr, false)
	say(t, c, native("declare", "topic: "+topic)+native("declare", "topic: Empty")+native("declare", "topic: Calls", "topic_mask: 2"))
	for range 3 {
		hear(t, c, "HTTP/1.1 200 OK\r\n")
		hear(t, c, "\r\n\r\n")
	}
	body := strings.Repeat("x", 8<<20)
	for range 2 {
		say(t, c, strings.Replace(native("produce", "topic: "+topic), "content-length: 0", fmt.Sprintf("content-length: %d", len(body)), 1)+body)
		hear(t, c, "HTTP/1.1 200 OK\r\n")
		hear(t, c, "\r\n\r\n")
	}
	_ = c.Close()
}

// dial connects with a receive buffer that soon is full.
func dial(t *testing.T, addr string, encrypted bool) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	if encrypted {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	return c
}

// native is a request of the native protocol without a body.
func native(cmd string, headers ...string) string {
	return "GET / HTTP/1.1\r\ncmd: " + cmd + "\r\n" + strings.Join(headers, "\r\n") + "\r\ncontent-length: 0\r\n\r\n"
}

func web(method, path string, body ...string) string {
	content := strings.Join(body, "")
	return fmt.Sprintf("%s %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s",
		method, path, len(content), content)
}

// frame is a WebSocket frame of a client, with a mask that changes nothing.
func frame(kind byte, content string) string {
	n := len(content)
	return string([]byte{0x80 | kind, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}) + content
}

func upgrade(t *testing.T, c net.Conn, path string) {
	t.Helper()
	say(t, c, "GET "+path+" HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"+
		"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	hear(t, c, "HTTP/1.1 101")
	hear(t, c, "\r\n\r\n")
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads until text has come, and not a byte more.
func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var heard []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(heard), text); {
		if _, err := c.Read(one); err != nil {
			t.Fatalf("heard %q instead of %q: %v", heard, text, err)
		}
		heard = append(heard, one[0])
	}
}

// unread waits until the broker has sent what the sockets take.
func unread(t *testing.T, c net.Conn) {
	t.Helper()
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	came, same := 0, 0
	for tick := range time.Tick(20 * time.Millisecond) {
		n := 0
		_ = raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if same++; n != came || n == 0 {
			came, same = n, 0
		}
		if err != nil || same == 15 {
			break
		}
		_ = tick
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until a topic has a consumer.
func waitFor(t *testing.T, c net.Conn, topic string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		resp, err := http.Get("http://" + c.RemoteAddr().String() + "/query/" + topic)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if strings.Contains(string(text), `"consumerCount":1`) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody consumes: %s", text)
		}
	}
}
