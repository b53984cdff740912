//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
	"github.com/rushmore/zbus-go/zbus"
)

// pair is two places for brokers on one database, of which one serves and the other waits.
type pair struct {
	t    *testing.T
	url  string
	at   [2]string // addresses
	runs [2]*exec.Cmd
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, url: pgtest.Start(t).Database(t)}
	for i := range p.at {
		// Brokers come back to their addresses, and no connection in between may take one: those to 127.0.0.1 could.
		ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250)))
		if err != nil {
			t.Fatal(err)
		}
		p.at[i] = ln.Addr().String()
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range p.runs {
			p.end(i, syscall.SIGKILL)
		}
	})
	return p
}

// run starts broker i.
func (p *pair) run(i int) {
	p.t.Helper()
	cmd := command(p.t, nil, "--listen="+p.at[i], "--store="+p.url, fmt.Sprintf("--node=n%d", i))
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.runs[i] = cmd
}

// end ends broker i.
func (p *pair) end(i int, how syscall.Signal) {
	if cmd := p.runs[i]; cmd != nil {
		_ = cmd.Process.Signal(how)
		_ = cmd.Wait()
		p.runs[i] = nil
	}
}

// answers reports what broker i says to a request: 0 if it does not answer.
func (p *pair) answers(i int, path string) (status int, text string) {
	c := http.Client{Timeout: 5 * time.Second}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://" + p.at[i] + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// until waits until a broker answers as it should.
func (p *pair) until(i int, path string, status int, text string) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got, body := p.answers(i, path)
		if got == status && strings.Contains(body, text) {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("broker %d answers %s with %d %q for a minute, not %d %q", i, path, got, body, status, text)
		}
	}
}

func TestSecondBrokerWaitsAndTakesOver(t *testing.T) {
	p := newPair(t)
	p.run(0)
	p.until(0, "/readyz", http.StatusOK, "ok")
	p.run(1)
	waits := "this broker waits: n0 has the database, ask " + p.at[0]
	p.until(1, "/healthz", http.StatusOK, waits)
	p.until(1, "/readyz", http.StatusServiceUnavailable, waits)
	p.until(1, "/api/v1/topics", http.StatusServiceUnavailable, `"owner":"n0"`)
	p.until(0, "/api/v1/cluster", http.StatusOK, `"state":"waiting"`)
	r := run(t, command(t, nil, "cluster", "status", "--server="+p.at[0]))
	for _, want := range []string{"n0 at " + p.at[0] + ", 0 topics", "n1 at " + p.at[1], "messages are on this server alone", "n0, first"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("cluster status: %d %s %s, want %q", r.code, r.out, r.stderr, want)
		}
	}
	// A connection that says nothing keeps nobody waiting.
	idle, err := net.Dial("tcp", p.at[1])
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()

	began := time.Now()
	p.end(0, syscall.SIGTERM)
	stopped := time.Since(began)
	p.until(1, "/readyz", http.StatusOK, "ok")
	p.until(1, "/api/v1/cluster", http.StatusOK, `"node":"n1","previous":"n0","reason":"stopped"`)
	t.Logf("after SIGTERM: stopped in %v, the other one is ready in %v", stopped, time.Since(began))

	p.run(0)
	p.until(0, "/readyz", http.StatusServiceUnavailable, "n1 has the database")
	began = time.Now()
	p.end(1, syscall.SIGKILL)
	p.until(0, "/readyz", http.StatusOK, "ok")
	took := time.Since(began)
	p.until(0, "/api/v1/cluster", http.StatusOK, `"node":"n0","previous":"n1","reason":"silent"`)
	t.Logf("after SIGKILL: the other one is ready in %v", took)

	// One that is told to stop while it waits stops gracefully.
	p.run(1)
	p.until(1, "/healthz", http.StatusOK, "this broker waits")
	cmd := p.runs[1]
	p.end(1, syscall.SIGTERM)
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// load publishes until stopped, and keeps what was answered.
type load struct {
	mu       sync.Mutex
	answered map[string]int64 // offset by id
	failed   atomic.Int64
	stop     context.CancelFunc
	all      sync.WaitGroup
}

func newLoad(c *zbus.Client, publishers int) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{answered: map[string]int64{}, stop: stop}
	for i := range publishers {
		l.all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", i, n)
				r, err := c.Publish(ctx, "orders", zbus.Message{ID: id, Body: []byte(id)})
				if err != nil {
					l.failed.Add(1)
					continue
				}
				l.mu.Lock()
				l.answered[id] = r.Offset
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answered)
}

// One broker after the other is killed while messages are published and consumed: what was answered is
// there, once and in its place, and is delivered.
func TestKilledBrokersLoseNoAnsweredMessage(t *testing.T) {
	p := newPair(t)
	p.run(0)
	p.until(0, "/readyz", http.StatusOK, "ok")
	p.run(1)
	p.until(1, "/healthz", http.StatusOK, "this broker waits")
	ctx := context.Background()
	c, err := zbus.DialServer(ctx, p.at[0]+","+p.at[1], zbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeclareGroup(ctx, "orders", zbus.GroupSpec{Name: "all"}); err != nil {
		t.Fatal(err)
	}
	var delivered sync.Map
	sub, err := c.Subscribe(ctx, "orders", "all", zbus.SubscribeOptions{}, func(_ context.Context, d *zbus.Delivery) error {
		delivered.Store(d.ID, true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	l := newLoad(c, 8)
	defer l.stop()
	active, longest := 0, time.Duration(0)
	for round := range faultreport.ScaleAlways(t, 2, 10) {
		more := func(than int, what string) {
			t.Helper()
			for end := time.Now().Add(2 * time.Minute); l.count() <= than; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("round %d: nothing is answered for two minutes: %s", round, what)
				}
			}
		}
		more(l.count()+200, "before the kill")
		p.end(active, syscall.SIGKILL)
		before, began := l.count(), time.Now()
		more(before, "after the kill")
		longest = max(longest, time.Since(began))
		p.run(active)
		active = 1 - active
		p.until(1-active, "/healthz", http.StatusOK, fmt.Sprintf("n%d has the database", active))
	}
	l.stop()
	l.all.Wait()
	t.Logf("%d messages answered, %d publishes failed, longest gap %v", l.count(), l.failed.Load(), longest)

	at := p.log(active)
	for id, offset := range l.answered {
		if at[id] != offset {
			t.Errorf("message %s was answered with offset %d, and is at %d", id, offset, at[id])
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		missing := 0
		for id := range l.answered {
			if _, ok := delivered.Load(id); !ok {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d answered messages were not delivered within a minute", missing)
		}
	}
}

// log reads all messages from a broker: the offset of each id, of which there must be one.
func (p *pair) log(i int) map[string]int64 {
	p.t.Helper()
	at := map[string]int64{}
	for next := int64(0); ; {
		var page struct {
			Messages []struct {
				ID     string `json:"id"`
				Offset int64  `json:"offset,string"`
			} `json:"messages"`
			More bool `json:"more"`
		}
		status, text := p.answers(i, fmt.Sprintf("/api/v1/topics/orders/messages?limit=1000&from=%d", next))
		if err := json.Unmarshal([]byte(text), &page); status != http.StatusOK || err != nil {
			p.t.Fatalf("browse from %d: %d %s %v", next, status, text, err)
		}
		for _, m := range page.Messages {
			if before, twice := at[m.ID]; twice {
				p.t.Errorf("message %s is at %d and at %d", m.ID, before, m.Offset)
			}
			if m.Offset != next {
				p.t.Errorf("offset %d is missing", next)
			}
			at[m.ID] = m.Offset
			next = m.Offset + 1
		}
		if !page.More {
			return at
		}
	}
}
