package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// memoryLoad is a way in which clients have a broker hold more than it has memory for.
type memoryLoad struct {
	name    string
	prepare func(p *process, full bool)
	press   func(p *process, full bool, stop <-chan struct{}) // until it is over, or stop is closed
}

// The most that the process takes, as a share of --max-memory; what the system gives it; and
// what it may have more than at its start when it has had nothing to do for a while.
const (
	memoryGoal = 1.25
	memoryRoom = 1.5
	memoryRest = 60 << 20
	restTime   = 30 * time.Second
)

// Whatever clients ask for, --max-memory bounds the process, and what it took is given back.
func TestMemoryLoads(t *testing.T) {
	full := faultreport.Scale(t, 0, 1) == 1
	sizes := []int64{128 << 20}
	if full {
		sizes = append(sizes, 512<<20)
	}
	for _, load := range memoryLoads() {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%dMiB", load.name, size>>20), func(t *testing.T) { load.run(t, size, full) })
		}
	}
}

func (l *memoryLoad) run(t *testing.T, size int64, full bool) {
	group := newMemoryGroup(t, int64(memoryRoom*float64(size)))
	p := realBroker(t, "fsync")
	p.with(fmt.Sprintf("--max-memory=%d", size))
	group.hold(p)
	p.start()
	p.declare()
	first := p.resident()
	l.prepare(p, full)
	p.terminate()
	p.start() // what it took to prepare does not count
	base := p.resident()
	stop := make(chan struct{})
	over := make(chan struct{})
	go func() { defer close(over); l.press(p, full, stop) }()
	answers := 0
	for length, began := 60*time.Second, time.Now(); time.Since(began) < length; answers++ {
		select {
		case <-over:
			length = 0
			continue
		default:
		}
		if err := p.pingOnce(); err != nil {
			t.Fatalf("a ping after %v: %v", time.Since(began), err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	<-over
	peak := p.peakMemory()
	rest, waited := p.resident(), time.Now()
	for rest > max(base, first)+memoryRest && time.Since(waited) < restTime {
		time.Sleep(time.Second)
		rest = p.resident()
	}
	f := &faultreport.Record{
		Test: fmt.Sprintf("memory-%s-%d", l.name, size>>20), Runs: 1,
		Fault:   fmt.Sprintf("%s, with --max-memory=%dMiB and %.1f times as much from the system", strings.ReplaceAll(l.name, "-", " "), size>>20, memoryRoom),
		Promise: "at most 1.25 times as much is taken, others are answered, and within 30 s it is given back but for 60 MB",
	}
	f.Add("peak MB", peak>>20)
	f.Add("share of max-memory", fmt.Sprintf("%.2f", float64(peak)/float64(size)))
	f.Add("at the start MB", base>>20)
	f.Add("MB afterwards", rest>>20)
	f.Add("given back after", time.Since(waited).Round(time.Second))
	f.Add("killed for want of memory", group.kills())
	f.Add("pings answered", answers)
	if float64(peak) > memoryGoal*float64(size) || rest > max(base, first)+memoryRest || group.kills() > 0 || answers == 0 {
		f.Broken++
	}
	f.Save(t)
	p.terminate()
}

func memoryLoads() []memoryLoad {
	stuck := func(clients int, request func(p *process) string) func(*process, bool, <-chan struct{}) {
		return func(p *process, full bool, stop <-chan struct{}) {
			p.stuckRequests(clients, request(p), stop, scaled(full, 10, 30))
		}
	}
	get := func(path string) func(p *process) string {
		return func(p *process) string {
			return "GET " + path + " HTTP/1.1\r\nHost: " + p.address + "\r\nOrigin: http://" + p.address + "\r\n\r\n"
		}
	}
	many := func(p *process, full bool) { p.declareMany(scaled(full, 10000, 30000)) }
	nothing := func(*process, bool) {}
	command := func(*process) string { return "GET / HTTP/1.1\r\ncmd: server\r\n\r\n" }
	return []memoryLoad{
		{"stuck-consumers", largeMessages, stuckOnes},
		{"server-info", many, stuck(20, command)},
		{"server-page", many, stuck(20, get("/server"))},
		{"topic-list", many, stuck(20, get("/api/v1/topics"))},
		{"definitions-out", many, stuck(20, get("/api/v1/definitions"))},
		{"slow-readers", func(p *process, _ bool) { p.publishLarge(15 << 20) }, stuck(100, get("/api/v1/topics/"+topic+"/messages/0"))},
		{"definitions-in", nothing, manyDefinitions},
		{"arrays", nothing, emptyObjects},
	}
}

func largeMessages(p *process, full bool) {
	for range scaled(full, 50, 200) {
		p.publishLarge(1 << 20)
	}
}

// stuckOnes are consumers of these that do not read.
func stuckOnes(p *process, full bool, stop <-chan struct{}) {
	all := p.stuckConsumers(200)
	<-wait(stop, scaled(full, 10, 60))
	for _, c := range all {
		_ = c.Close()
	}
}

// manyDefinitions imports more than there may be.
func manyDefinitions(p *process, _ bool, _ <-chan struct{}) {
	var text strings.Builder
	for n := range 200000 {
		fmt.Fprintf(&text, `,{"name":"definition-%d"}`, n)
	}
	p.sendAll(4, "POST", "/api/v1/definitions?dryRun=true", `{"topics":[`+text.String()[1:]+`]}`)
}

// emptyObjects are bodies whose text is short for how many values they have.
func emptyObjects(p *process, _ bool, _ <-chan struct{}) {
	array := "[" + strings.Repeat("{},", 5<<20) + "{}]"
	p.sendAll(4, "POST", "/api/v1/topics/"+topic+"/messages", array)
	p.sendAll(4, "POST", "/api/v1/messages:transaction", `{"messages":`+array+"}")
}

func scaled(full bool, few, many int) int {
	if full {
		return many
	}
	return few
}

// wait is closed after some seconds, or with stop.
func wait(stop <-chan struct{}, seconds int) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-stop:
		}
	}()
	return over
}

// publishLarge publishes one message.
func (p *process) publishLarge(size int) {
	p.t.Helper()
	c := p.dial()
	defer c.Close()
	c.put(make([]byte, size), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
	if err := c.w.Flush(); err != nil {
		p.t.Fatal(err)
	}
	if m, err := c.r.Read(); err != nil || m.Status != http.StatusOK {
		p.t.Fatalf("%v, %v", m, err)
	}
}

// declareMany declares topics, each with a group.
func (p *process) declareMany(size int) {
	p.t.Helper()
	const lanes = 8
	var declaring sync.WaitGroup
	for lane := range lanes {
		c := p.dial()
		declaring.Go(func() {
			defer c.Close()
			for n := lane; n < size; n += lanes {
				c.wait()
				name := fmt.Sprintf("one-of-many-topics-%06d", n)
				if _, err := c.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, name), field(wire.HeaderConsumeGroup, name)); err != nil {
					p.t.Error(err)
					return
				}
			}
		})
	}
	declaring.Wait()
}

// stuckRequests asks for something on many connections and reads nothing, for some seconds,
// and again where the broker has hung up.
func (p *process) stuckRequests(size int, request string, stop <-chan struct{}, seconds int) {
	over := wait(stop, seconds)
	var clients sync.WaitGroup
	for range size {
		clients.Go(func() {
			for {
				c, err := net.Dial("tcp", p.address)
				if err == nil {
					_ = c.(*net.TCPConn).SetReadBuffer(4096)
					_, _ = io.WriteString(c, request)
					_, _ = bufio.NewReaderSize(c, 16).Peek(16)
				}
				select {
				case <-over:
				case <-time.After(time.Second):
				}
				if c != nil {
					_ = c.Close()
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	clients.Wait()
}

// sendAll sends the same several times at once, and reads what is answered.
func (p *process) sendAll(times int, method, path, body string) {
	var clients sync.WaitGroup
	for range times {
		clients.Go(func() {
			req, err := http.NewRequest(method, "http://"+p.address+path, strings.NewReader(body))
			if err != nil {
				p.t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return // a refusal may end the connection before all is sent
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	clients.Wait()
}
