package crashtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// memoryLimit is all the memory that a broker gets whose clients want more.
const memoryLimit = 256 << 20

// A broker whose clients publish and ask for more than fits into its memory refuses, or
// has them wait. The system never has a reason to kill it.
func TestMemoryLimit(t *testing.T) {
	length := time.Duration(faultreport.Scale(t, 15, 300)) * time.Second
	group := newMemoryGroup(t, memoryLimit)
	p := realBroker(t, "fsync")
	plain := p.command
	group.hold(p)
	p.start()
	p.declare()
	h := &hoarding{p: p, stop: make(chan struct{}), stored: map[string]bool{}}
	p.stuckConsumers(200)
	h.publish(8)
	answers := h.pings(length)
	close(h.stop)
	h.clients.Wait()
	peak, kills := p.peakMemory(), group.kills()
	if kills > 0 {
		t.Fatalf("killed for want of memory after %d pings", answers)
	}
	took := p.terminate()
	f := &faultreport.Record{
		Test: "memory-limit", Runs: 1,
		Fault:   fmt.Sprintf("%d MB of memory for %v, 8 producers of 1 MB messages and 200 consumers that read nothing", memoryLimit>>20, length),
		Promise: "the broker is not killed, answers others, stops within 10 s, and has all that it answered",
	}
	p.command = plain
	p.start()
	lost := h.lost()
	f.Add("published", len(h.stored))
	f.Add("refused", h.refused)
	f.Add("lost", lost)
	f.Add("peak memory of the process MB", peak>>20)
	f.Add("times that the system had none left", group.figure("memory.failcnt"))
	f.Add("killed for want of memory", kills)
	f.Add("pings answered", answers)
	f.Add("stop", took.Round(time.Millisecond))
	f.Broken = lost
	if peak > memoryLimit || took > allowed(t, stopTime) {
		f.Broken++
	}
	f.Save(t)
	if len(h.stored) == 0 || answers == 0 {
		t.Error("too little happened to prove something")
	}
}

// hoarding is clients that fill a broker's memory.
type hoarding struct {
	p       *process
	stop    chan struct{}
	clients sync.WaitGroup

	mu      sync.Mutex
	stored  map[string]bool // guarded by mu: ids that were answered with 200
	refused int             // guarded by mu
}

// Messages come in bursts that do not fit, and with pauses, as the disk has an end.
const (
	hoardBody  = 1 << 20
	hoardBurst = 32
	hoardPause = 10 * time.Second
)

// publish starts producers.
func (h *hoarding) publish(producers int) {
	for n := range producers {
		h.clients.Go(func() {
			for burst := 0; ; burst++ {
				h.burst(fmt.Sprintf("hoard/%d/%d", n, burst))
				select {
				case <-time.After(hoardPause):
				case <-h.stop:
					return
				}
			}
		})
	}
}

// burst publishes some messages at once, on a connection of its own, and then reads the
// answers. A broker may refuse any of them, and close the connection then.
func (h *hoarding) burst(name string) {
	c, err := connect(h.p.t, h.p.address)
	if err != nil {
		return // pings tell
	}
	defer c.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for n := range hoardBurst {
			c.put(hoardText(fmt.Sprint(name, "/", n)), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic),
				field(wire.HeaderAck, "true"), field(wire.HeaderID, fmt.Sprint(name, "/", n)))
			if c.w.Flush() != nil {
				return
			}
		}
	}()
	for range hoardBurst {
		m, err := c.r.Read()
		if err != nil {
			break
		}
		h.mu.Lock()
		if m.Status == http.StatusOK {
			h.stored[m.Get(wire.HeaderID)] = true
		} else {
			h.refused++
		}
		h.mu.Unlock()
	}
	_ = c.Close()
	<-sent
}

// hoardText is the body of a message, by its id.
func hoardText(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return []byte(strings.Repeat(hex.EncodeToString(sum[:]), hoardBody/64))
}

// pings asks for something small for so long, and counts the answers.
func (h *hoarding) pings(length time.Duration) (answers int) {
	for began := time.Now(); time.Since(began) < length; {
		c, err := connect(h.p.t, h.p.address)
		if err != nil {
			h.p.t.Errorf("after %v: %v", time.Since(began), err)
			return answers
		}
		if _, err = c.ask(field(wire.HeaderCmd, wire.CmdPing)); err != nil {
			h.p.t.Errorf("a ping after %v: %v", time.Since(began), err)
			_ = c.Close()
			return answers
		}
		_ = c.Close()
		answers++
	}
	return answers
}

// lost counts what was answered and is not there.
func (h *hoarding) lost() (lost int) {
	there := map[string]bool{}
	for from, more := "0", true; more; {
		var page struct {
			Messages  []struct{ ID string }
			More      bool
			ScannedTo string
		}
		h.p.get(fmt.Sprintf("topics/%s/messages?limit=1000&from=%s", topic, from), &page)
		for _, m := range page.Messages {
			there[m.ID] = true
		}
		from, more = page.ScannedTo, page.More
	}
	for id := range h.stored {
		if !there[id] {
			lost++
		}
	}
	return lost
}

// peakMemory is the most that the process has had; 0 if it has ended.
func (p *process) peakMemory() int64 { return p.status("VmHWM:") }

// resident is how much memory the process has.
func (p *process) resident() int64 { return p.status("VmRSS:") }

// status is a figure of the process in bytes; 0 if it has ended.
func (p *process) status(name string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kb << 10
		}
	}
	return 0
}

// memoryGroup is a control group that limits memory.
type memoryGroup struct {
	t   *testing.T
	dir string
}

func newMemoryGroup(t *testing.T, limit int64) *memoryGroup {
	t.Helper()
	g := &memoryGroup{t, fmt.Sprintf("/sys/fs/cgroup/memory/zbus-test-%d", os.Getpid())}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Skipf("NOT TESTED: a limit on memory: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(g.dir) })
	if err := os.WriteFile(filepath.Join(g.dir, "memory.limit_in_bytes"), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		t.Skipf("NOT TESTED: a limit on memory: %v", err)
	}
	return g
}

// hold has a broker start in the group.
func (g *memoryGroup) hold(p *process) {
	p.under("sh", "-c", `echo $$ > `+g.dir+`/cgroup.procs && exec "$@"`, "sh")
}

func (g *memoryGroup) figure(name string) string {
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// kills is how many processes of the group the system has killed.
func (g *memoryGroup) kills() (n int) {
	for line := range strings.Lines(g.figure("memory.oom_control")) {
		if _, err := fmt.Sscanf(line, "oom_kill %d", &n); err == nil {
			return n
		}
	}
	g.t.Fatal(errors.New("the group does not tell how many processes were killed"))
	return 0
}
