package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// patience is how long a test waits for something that must happen.
const patience = time.Minute

// asServer has the test binary run a broker: its configuration, as JSON.
const asServer = "ZBUS_TEST_SERVER"

func TestMain(m *testing.M) {
	if text := os.Getenv(asServer); text != "" {
		serve(text)
		return
	}
	goleak.VerifyTestMain(m)
}

// serve runs a broker as a process of its own.
func serve(text string) {
	cfg := config.Default()
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := daemon.Run(ctx, cfg, "test", slog.New(slog.NewTextHandler(os.Stderr, nil)), func(r daemon.Ready) { fmt.Println(r.Addrs[0]) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a broker in a process of its own.
type process struct {
	addr string
	cmd  *exec.Cmd
}

// launch starts one, which is killed at the end of the test.
func launch(t *testing.T, dir, listen string, trackers ...string) *process {
	t.Helper()
	if listen == "127.0.0.1:0" {
		listen = zbustest.FreeAddr(t) // also after a restart
	}
	cfg := config.Default()
	cfg.Listen, cfg.Data, cfg.Trackers = []string{listen}, dir, trackers
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), asServer+"="+string(text))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the broker did not start: %v", err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// kill ends it as a fault would.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// tracked has a broker join trackers.
func tracked(addrs ...string) func(*config.Config) {
	return func(c *config.Config) { c.Trackers = addrs }
}

// set starts brokers that name each other as trackers.
func set(t *testing.T, n int, more ...func(*config.Config)) (all []*zbustest.Broker) {
	t.Helper()
	var addrs []string
	for range n {
		b := zbustest.Start(t, more...)
		all, addrs = append(all, b), append(addrs, b.Addr)
	}
	for _, b := range all {
		b.Configure(tracked(addrs...))
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func addrs(all []*zbustest.Broker) (list []string) {
	for _, b := range all {
		list = append(list, b.Addr)
	}
	return list
}

// client speaks the protocol.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *wire.Reader
	last int
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn, r: wire.NewReader(conn, wire.Limits{Head: 64 << 10, Fields: 100, Body: 64 << 20})}
}

// send sends a command with fields, name and value in turn.
func (c *client) send(cmd string, body []byte, fields ...string) (id string) {
	c.t.Helper()
	c.last++
	id = "c" + strconv.Itoa(c.last)
	dst := wire.AppendRequestLine(nil, "GET", "/")
	dst = wire.AppendField(wire.AppendField(dst, "cmd", cmd), "id", id)
	for i := 0; i < len(fields); i += 2 {
		dst = wire.AppendField(dst, fields[i], fields[i+1])
	}
	if _, err := c.conn.Write(wire.AppendBody(dst, body)); err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *client) receive() *wire.Message {
	c.t.Helper()
	m, err := c.r.Read()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// ask sends a command and returns the answer to it.
func (c *client) ask(cmd string, body []byte, fields ...string) *wire.Message {
	c.t.Helper()
	id := c.send(cmd, body, fields...)
	for {
		if m := c.receive(); m.Get("id") == id {
			return m
		}
	}
}

func (c *client) ok(cmd string, fields ...string) {
	c.t.Helper()
	if m := c.ask(cmd, nil, fields...); m.Status != 200 {
		c.t.Fatalf("%s: %d %s", cmd, m.Status, m.Body)
	}
}

// table reads the table of a message.
func table(t testing.TB, m *wire.Message) cluster.TrackerInfo {
	t.Helper()
	var info cluster.TrackerInfo
	if err := json.Unmarshal(m.Body, &info); err != nil || m.Status != 200 {
		t.Fatalf("%d %s: %v", m.Status, m.Body, err)
	}
	return info
}

// names are the servers of a table.
func names(info cluster.TrackerInfo) []string { return slices.Sorted(maps.Keys(info.ServerTable)) }

// subscriber follows a tracker, as clients do.
type subscriber struct {
	*client
	latest  cluster.TrackerInfo
	version int64 // of the latest table
}

func subscribe(t *testing.T, addr string) *subscriber {
	t.Helper()
	s := &subscriber{client: connect(t, addr)}
	s.send("track_sub", nil)
	s.next()
	return s
}

// next waits for the next table.
func (s *subscriber) next() {
	s.t.Helper()
	m := s.receive()
	if m.Get("cmd") != "track_pub" || m.Get("content-type") != "application/json" {
		s.t.Fatalf("got %+v, want a push", m.Fields)
	}
	if s.latest = table(s.t, m); s.latest.InfoVersion <= s.version {
		s.t.Fatalf("version %d after %d", s.latest.InfoVersion, s.version)
	}
	s.version = s.latest.InfoVersion
}

// until waits for a table with exactly these servers.
func (s *subscriber) until(servers ...string) {
	s.t.Helper()
	servers = slices.Sorted(slices.Values(servers))
	for !slices.Equal(names(s.latest), servers) {
		s.next()
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
