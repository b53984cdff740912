package bench

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	_ "modernc.org/sqlite" // for the bare loop

	"github.com/rushmore/zbus-go/internal/wire"
)

// TestGrowth measures how cost grows with what a broker holds, on real processes:
// set ZBUS_GROWTH=1. It takes some minutes and prints a line for each figure.
// Ratios are of medians of runs that took turns.
func TestGrowth(t *testing.T) {
	if os.Getenv("ZBUS_GROWTH") == "" {
		t.Skip("set ZBUS_GROWTH=1 to measure")
	}
	g := &growth{T: t, binary: filepath.Join(t.TempDir(), "zbus"), stored: 5_000_000}
	if n, err := strconv.Atoi(os.Getenv("ZBUS_GROWTH_STORED")); err == nil {
		g.stored = n
	}
	build := exec.Command("go", "build", "-o", g.binary, "github.com/rushmore/zbus-go/cmd/zbus")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	t.Run("bodies", g.bodies)
	t.Run("topics", g.topics)
	t.Run("groups", g.groups)
	t.Run("sockets", g.sockets)
	t.Run("messages", g.messages)
}

type growth struct {
	*testing.T
	binary string
	stored int
}

// server is a broker in a process of its own.
type server struct {
	cmd     *exec.Cmd
	address string
	took    time.Duration // until it listened
}

// start runs a broker on a directory until the test ends.
func (g *growth) start(t *testing.T, dir, durability string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(g.binary, "serve", "--listen=127.0.0.1:0", "--data="+dir, "--durability="+durability)}
	s.cmd.Stderr, s.cmd.Env = os.Stderr, []string{"HOME=/"} // none of ours: it would take them for settings
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for lines := bufio.NewScanner(out); s.address == "" && lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "listening"); ok {
			s.took = time.Since(begin)
			s.address = strings.TrimPrefix(strings.Fields(rest)[0], "http://")
		}
	}
	if s.address == "" {
		t.Fatal("the broker does not listen")
	}
	return s
}

func (s *server) stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(os.Interrupt)
		_ = s.cmd.Wait()
	}
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// resident is how much memory of the process is in use, in MB.
func (s *server) resident(t *testing.T) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func (g *growth) rate(t *testing.T, f func(context.Context, Options) (Result, error), o Options) float64 {
	t.Helper()
	r, err := f(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r.PerSecond
}

// median runs measurements in turns and returns the median of each.
func median(rounds int, runs ...func(round int) float64) []float64 {
	all := make([][]float64, len(runs))
	for round := range rounds {
		for i, run := range runs {
			all[i] = append(all[i], run(round))
		}
	}
	medians := make([]float64, len(runs))
	for i := range all {
		slices.Sort(all[i])
		medians[i] = all[i][len(all[i])/2]
	}
	return medians
}

func load(s *server, topic string, count int) Options {
	return Options{Server: s.address, Topic: topic, Connections: 4, InFlight: 64, Size: 256, Count: count}
}

// bodies compares what the broker takes with what the same SQLite takes from one
// writer in a bare loop, with as much in a transaction.
func (g *growth) bodies(t *testing.T) {
	s := g.start(t, t.TempDir(), "fsync")
	for _, b := range []struct{ size, count, inFlight int }{{1 << 10, 100_000, 64}, {16 << 10, 10_000, 64}, {1 << 20, 300, 4}} {
		m := median(3, func(int) float64 {
			o := load(s, "bodies-"+strconv.Itoa(b.size), b.count)
			o.Size, o.InFlight = b.size, b.inFlight
			return g.rate(t, Produce, o) * float64(b.size) / 1e6
		}, func(int) float64 {
			return bareLoop(t, b.size, b.count, 4*b.inFlight) * float64(b.size) / 1e6
		})
		t.Logf("bodies of %d bytes: %.0f MB/s, bare loop %.0f MB/s, ratio %.2f", b.size, m[0], m[1], m[0]/m[1])
	}
}

// bareLoop inserts rows with SQLite's own durability and reports rows a second.
func bareLoop(t *testing.T, size, count, batch int) float64 {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "bare.db")+
		"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE m (key INTEGER PRIMARY KEY, body BLOB)"); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, size)
	start := time.Now()
	for done := 0; done < count; done += batch {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		stmt, err := tx.Prepare("INSERT INTO m (body) VALUES (?)")
		for range batch {
			if err == nil {
				_, err = stmt.Exec(body)
			}
		}
		if err = errors.Join(err, tx.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	return float64(count) / time.Since(start).Seconds()
}

func (g *growth) topics(t *testing.T) {
	for _, durability := range []string{"fsync", "relaxed"} {
		s := g.start(t, t.TempDir(), durability)
		empty := g.start(t, t.TempDir(), durability)
		many := load(s, "many", 100_000)
		many.Topics = 1000
		g.rate(t, Produce, many)
		m := median(5, func(int) float64 { return g.rate(t, Produce, load(empty, "one", 100_000)) },
			func(int) float64 { return g.rate(t, Produce, load(s, "one", 100_000)) },
			func(int) float64 { return g.rate(t, Produce, many) })
		t.Logf("%s: publish to the only topic %.0f/s, to one of 1,000 %.0f/s, ratio %.2f, to 1,000 in turn %.0f/s, ratio %.2f",
			durability, m[0], m[1], m[1]/m[0], m[2], m[2]/m[0])
	}
}

// groups compares deliveries of a broadcast with those of one group.
func (g *growth) groups(t *testing.T) {
	const groups, published = 1000, 400
	s, empty := g.start(t, t.TempDir(), "fsync"), g.start(t, t.TempDir(), "fsync")
	one := load(empty, "one", groups*published)
	m := median(3, func(round int) float64 {
		one.Topic = "one-" + strconv.Itoa(round)
		g.rate(t, Produce, one)
		return g.rate(t, Consume, one)
	}, func(round int) float64 {
		return broadcast(t, s, "broadcast-"+strconv.Itoa(round), groups, published)
	})
	t.Logf("deliveries: one group %.0f/s, 1,000 groups %.0f/s, ratio %.2f", m[0], m[1], m[1]/m[0])
	m = median(5, func(int) float64 { return g.rate(t, Produce, load(empty, "plain", 150_000)) },
		func(int) float64 { return g.rate(t, Produce, load(s, "broadcast-0", 150_000)) })
	t.Logf("publish: no group %.0f/s, 1,000 groups %.0f/s, ratio %.2f", m[0], m[1], m[1]/m[0])
}

// broadcast has every one of many groups take every message of a topic, over four
// connections, and reports deliveries a second.
func broadcast(t *testing.T, s *server, topic string, groups, published int) float64 {
	t.Helper()
	o := load(s, topic, published)
	if err := prepare(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := int64(groups * published)
	var got atomic.Int64
	var consumers sync.WaitGroup
	last := make(chan time.Time, 1)
	for i := range 4 {
		c, err := dial(t.Context(), &o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for k := i; k < groups; k += 4 {
			name := "g" + strconv.Itoa(k)
			if _, err := c.ask(wire.HeaderCmd, wire.CmdDeclare, wire.HeaderTopic, topic, wire.HeaderConsumeGroup, name, wire.HeaderID, "d"); err != nil {
				t.Fatal(err)
			}
			if err := c.send(nil, wire.HeaderCmd, wire.CmdConsume, wire.HeaderTopic, topic, wire.HeaderConsumeGroup, name,
				wire.HeaderID, name, wire.HeaderWindow, "100000"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.ask(wire.HeaderCmd, wire.CmdPing, wire.HeaderID, "p"); err != nil {
			t.Fatal(err)
		}
		consumers.Go(func() {
			for {
				if _, err := c.r.Read(); err != nil {
					return
				}
				if got.Add(1) == want {
					last <- time.Now()
				}
			}
		})
	}
	start := time.Now()
	if _, err := Produce(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-last:
		return float64(want) / at.Sub(start).Seconds()
	case <-time.After(2 * time.Minute):
		t.Fatalf("%d of %d deliveries came", got.Load(), want)
		return 0
	}
}

// sockets opens idle consumers, over WebSockets and over the native protocol.
func (g *growth) sockets(t *testing.T) {
	request := []byte("GET / HTTP/1.1\r\ncmd: consume\r\ntopic: idle\r\nid: 1\r\ncontent-length: 0\r\n\r\n")
	g.idle(t, "WebSocket", func(s *server) (io.Closer, error) {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+s.address+"/", nil) //nolint:bodyclose // there is none
		if err != nil {
			return nil, err
		}
		return closer(ws.CloseNow), ws.Write(t.Context(), websocket.MessageBinary, request)
	})
	g.idle(t, "native", func(s *server) (io.Closer, error) {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return nil, err
		}
		_, err = conn.Write(request)
		return conn, err
	})
}

type closer func() error

func (c closer) Close() error { return c() }

// idle measures what consumers take of which nothing is heard.
func (g *growth) idle(t *testing.T, kind string, open func(*server) (io.Closer, error)) {
	const consumers = 10_000
	s := g.start(t, t.TempDir(), "fsync")
	defer s.stop()
	if err := prepare(t.Context(), load(s, "idle", 1)); err != nil {
		t.Fatal(err)
	}
	before := s.resident(t)
	for range consumers {
		c, err := open(s)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := dial(t.Context(), &Options{Server: s.address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for there := ""; there != strconv.Itoa(consumers); {
		m, err := c.ask(wire.HeaderCmd, wire.CmdQuery, wire.HeaderTopic, "idle", wire.HeaderID, "q")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(m.Body), `"consumerCount":`)
		there, _, _ = strings.Cut(rest, ",")
	}
	t.Logf("%d idle %s consumers: resident %.0f MB, %.0f before", consumers, kind, s.resident(t), before)
}

// messages measures a broker that has many stored.
func (g *growth) messages(t *testing.T) {
	dir := t.TempDir()
	s := g.start(t, dir, "relaxed")
	g.rate(t, Produce, load(s, "stored", g.stored))
	t.Logf("%d messages stored: resident %.0f MB", g.stored, s.resident(t))
	s.stop()
	s = g.start(t, dir, "fsync")
	t.Logf("start after a stop: listening after %v", s.took.Round(time.Millisecond))
	g.rate(t, Produce, load(s, "stored", 1000))
	s.kill()
	s = g.start(t, dir, "fsync")
	t.Logf("start after a kill: listening after %v, resident %.0f MB", s.took.Round(time.Millisecond), s.resident(t))
	g.relocate(t, s)
	empty := g.start(t, t.TempDir(), "fsync")
	m := median(5, func(int) float64 { return g.rate(t, Produce, load(empty, "stored", 150_000)) },
		func(int) float64 { return g.rate(t, Produce, load(s, "stored", 150_000)) })
	t.Logf("publish: empty broker %.0f/s, with %d stored %.0f/s, ratio %.2f", m[0], g.stored, m[1], m[1]/m[0])
	g.rate(t, Produce, load(empty, "stored", 200_000)) // what was under way when a run ended is not seen by the next
	m = median(5, func(int) float64 { return g.rate(t, Consume, load(empty, "stored", 150_000)) },
		func(int) float64 { return g.rate(t, Consume, load(s, "stored", 150_000)) })
	t.Logf("consume: empty broker %.0f/s, with %d stored %.0f/s, ratio %.2f", m[0], g.stored, m[1], m[1]/m[0])
	t.Logf("after that load: resident %.0f MB", s.resident(t))
}

// relocate moves a group about and back: one request at a time, answered when the
// move is on disk, so that what a ping and a sync take is part of it.
func (g *growth) relocate(t *testing.T, s *server) {
	c, err := dial(t.Context(), &Options{Server: s.address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	query, err := c.ask(wire.HeaderCmd, wire.CmdQuery, wire.HeaderTopic, "stored", wire.HeaderID, "q")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(query.Body), `"createdTime":`)
	rest, _, _ = strings.Cut(rest, ",")
	begin, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	span := time.Now().UnixMilli() - begin
	for _, by := range []struct {
		name string
		at   func(i int) (string, int64)
	}{
		{"offset", func(i int) (string, int64) { return wire.HeaderOffset, int64(i * 7919 % g.stored) }},
		{"time", func(i int) (string, int64) { return wire.HeaderTimestamp, begin + int64(i)*7919%span }},
	} {
		var delays Histogram
		for i := range 300 {
			name, value := by.at(i)
			start := time.Now()
			if _, err := c.ask(wire.HeaderCmd, wire.CmdRelocate, wire.HeaderTopic, "stored", wire.HeaderID, "r",
				name, strconv.FormatInt(value, 10)); err != nil {
				t.Fatal(err)
			}
			delays.Add(time.Since(start))
		}
		t.Logf("relocate by %s: p50 %v, p99 %v, with the answer's way and the sync", by.name,
			delays.Quantile(.5).Round(time.Microsecond), delays.Quantile(.99).Round(time.Microsecond))
	}
	if _, err := c.ask(wire.HeaderCmd, wire.CmdRelocate, wire.HeaderTopic, "stored", wire.HeaderID, "r", wire.HeaderOffset, "0"); err != nil {
		t.Fatal(err)
	}
}
