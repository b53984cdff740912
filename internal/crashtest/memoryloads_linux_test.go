package crashtest

import (
	"bufio"
	"encoding/json"
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
	what    string // for the record
	prepare func(p *process, full bool)
	press   func(p *process, full bool, stop <-chan struct{}) // until it is over, or stop is closed
	quick   bool                                              // it is part of a quick run
}

// The most that the process takes, as a share of --max-memory; what the system gives it; and
// what it may have more than at its start when it has had nothing to do for a while.
const (
	memoryGoal = 1.25
	memoryRoom = 1.5
	memoryRest = 60 << 20
	restTime   = 30 * time.Second
	// longestLoad ends a load that would not end by itself.
	longestLoad = 90 * time.Second
)

// Whatever clients ask for, --max-memory bounds the process, and what it took is given back.
func TestMemoryLoads(t *testing.T) {
	full := faultreport.Scale(t, 0, 1) == 1
	sizes := []int64{128 << 20}
	if full {
		sizes = append(sizes, 512<<20)
	}
	for _, size := range sizes {
		for _, load := range memoryLoads() {
			if !full && !load.quick {
				continue
			}
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
	k := p.keep()
	l.prepare(p, full)
	before := p.next(topic)
	p.terminate()
	p.start() // what it took to prepare does not count
	most := max(p.resident(), first) + memoryRest
	k.begin()
	answers := l.under(p, full)
	k.end()
	peak, waited := p.peakMemory(), time.Now()
	rest := p.settleBelow(most)
	took := time.Since(waited)
	p.terminate()
	p.start()
	f := &faultreport.Record{
		Test: fmt.Sprintf("memory-%s-%d", l.name, size>>20), Runs: 1,
		Fault:   fmt.Sprintf("%s, with --max-memory=%dMiB and %.1f times as much from the system", l.what, size>>20, memoryRoom),
		Promise: "at most 1.25 times as much is taken, others are answered, nothing stored is lost, and within 30 s all but 60 MB is given back",
	}
	lost := k.lost() + int(before-p.next(topic))
	f.Add("peak MB", peak>>20)
	f.Add("share of max-memory", fmt.Sprintf("%.2f", float64(peak)/float64(size)))
	f.Add("at the start MB", (most-memoryRest)>>20)
	f.Add("MB afterwards", rest>>20)
	f.Add("given back after s", fmt.Sprintf("%.0f", took.Seconds()))
	f.Add("killed for want of memory", group.kills())
	f.Add("pings answered", answers)
	f.Add("publishes of others answered", len(k.stored))
	f.Add("refused", k.refused)
	f.Add("lost", lost)
	if float64(peak) > memoryGoal*float64(size) || rest > most || group.kills() > 0 || answers == 0 || lost != 0 {
		f.Broken++
	}
	f.Save(t)
	p.terminate()
}

// under has the load press, and counts the pings that are answered all that time.
func (l *memoryLoad) under(p *process, full bool) (answers int) {
	p.t.Helper()
	stop, over := make(chan struct{}), make(chan struct{})
	go func() { defer close(over); l.press(p, full, stop) }()
	defer func() { close(stop); <-over }()
	for began := time.Now(); time.Since(began) < longestLoad; answers++ {
		select {
		case <-over:
			return answers
		default:
		}
		if err := p.pingOnce(); err != nil {
			p.t.Errorf("a ping after %v: %v", time.Since(began), err)
			return answers
		}
		time.Sleep(10 * time.Millisecond)
	}
	return answers
}

// settleBelow waits until the process has no more than so much memory, or restTime is over.
func (p *process) settleBelow(most int64) (rest int64) {
	p.t.Helper()
	for waited := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		if rest = p.resident(); rest <= most || time.Since(waited) > allowed(p.t, restTime) {
			return rest
		}
	}
}

// next is the offset that the next message of a topic gets.
func (p *process) next(topic string) int64 {
	p.t.Helper()
	var t struct{ NextOffset json.Number }
	p.get("topics/"+topic, &t)
	n, err := t.NextOffset.Int64()
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func memoryLoads() []memoryLoad {
	stuck := func(clients int, request func(p *process) string) func(*process, bool, <-chan struct{}) {
		return func(p *process, full bool, stop <-chan struct{}) {
			p.stuckRequests(clients, request(p), stop, scaled(full, 10, 15))
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
		{"stuck-consumers", "200 consumers that do not read their messages of 1 MB", largeMessages, stuckOnes, true},
		{"server-info", "20 clients that do not read `server` of up to 30,000 topics", many, stuck(20, command), false},
		{"server-page", "20 clients that do not read `GET /server` with up to 30,000 topics", many, stuck(20, get("/server")), false},
		{"metrics", "20 clients that do not read `GET /metrics` with up to 30,000 topics", many, stuck(20, get("/metrics")), false},
		{"topic-list", "20 clients that do not read a list of up to 30,000 topics", many, stuck(20, get("/api/v1/topics")), false},
		{"definitions-out", "20 clients that do not read an export of up to 30,000 topics", many, stuck(20, get("/api/v1/definitions")), false},
		{"slow-readers", "100 clients that do not read a message of 15 MB", func(p *process, _ bool) { p.publishLarge(15 << 20) }, stuck(100, get("/api/v1/topics/"+topic+"/messages/0")), true},
		{"definitions-in", "4 imports of 200,000 topics", nothing, manyDefinitions, true},
		{"arrays", "4 bodies of 15 MB in which all is `{}`", nothing, emptyObjects, false},
		{"lagging-groups", "10,000 groups that lag behind, each after one message of 100 KB", laggingGroups, visitGroups, true},
		{"idle-consumers", "2,500 consumers that got a message of 100 KB and stay connected", laggingGroups, crowdedGroups, false},
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
	<-wait(stop, scaled(full, 10, 30))
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

// lagTopics have the groups that lag behind, in equal parts, and messages of this size.
const (
	lagTopics = 20
	lagBody   = 100 << 10
)

func lagging(n int) (topic, group string) {
	return fmt.Sprintf("lag-%d", n%lagTopics), fmt.Sprintf("group-%05d", n)
}

// laggingGroups declares groups and publishes what they will lag behind.
func laggingGroups(p *process, full bool) {
	p.lanes(scaled(full, 2000, 10000), func(c *conn, n int) error {
		topic, group := lagging(n)
		_, err := c.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic), field(wire.HeaderConsumeGroup, group))
		return err
	})
	p.lanes(10*lagTopics, func(c *conn, n int) error {
		topic, _ := lagging(n)
		c.put(make([]byte, lagBody), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"))
		_, err := c.answer()
		return err
	})
}

// visitGroups takes a message from each group that lags behind, and leaves.
func visitGroups(p *process, full bool, _ <-chan struct{}) {
	p.lanes(scaled(full, 2000, 10000), func(_ *conn, n int) error {
		c, err := p.visit(lagging(n))
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

// crowdedGroups is visitGroups whose consumers stay.
func crowdedGroups(p *process, full bool, stop <-chan struct{}) {
	all := make([]*conn, scaled(full, 1000, 2500))
	p.lanes(len(all), func(_ *conn, n int) (err error) {
		all[n], err = p.visit(lagging(n))
		return err
	})
	<-wait(stop, 10)
	for _, c := range all {
		if c != nil {
			_ = c.Close()
		}
	}
}

// visit connects and takes one message.
func (p *process) visit(topic, group string) (*conn, error) {
	c, err := connect(p.t, p.address)
	if err != nil {
		return nil, err
	}
	if err = c.consumeFrom(topic, group, 1); err == nil {
		var m *wire.Message
		if m, err = c.r.Read(); err == nil && (m.Status != http.StatusOK || len(m.Body) != lagBody) {
			err = fmt.Errorf("%s of %s: %d with %d bytes", group, topic, m.Status, len(m.Body))
		}
	}
	c.r = nil // its buffer
	if err != nil {
		_ = c.Close()
	}
	return c, err
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
	if _, err := c.answer(); err != nil {
		p.t.Fatal(err)
	}
}

// declareMany declares topics, each with a group, as far as there may be so many.
func (p *process) declareMany(size int) {
	p.t.Helper()
	p.lanes(size, func(c *conn, n int) error {
		name := fmt.Sprintf("one-of-many-topics-%06d", n)
		m, err := c.ask(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, name), field(wire.HeaderConsumeGroup, name))
		if err != nil && m != nil && m.Status == http.StatusTooManyRequests {
			return nil // of --max-groups, which depends on memory
		}
		return err
	})
}

// lanes does something so many times, on several connections at once.
func (p *process) lanes(times int, do func(c *conn, n int) error) {
	p.t.Helper()
	const lanes = 8
	var clients sync.WaitGroup
	for lane := range lanes {
		c := p.dial()
		clients.Go(func() {
			defer c.Close()
			for n := lane; n < times; n += lanes {
				c.wait()
				if err := do(c, n); err != nil {
					p.t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
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
