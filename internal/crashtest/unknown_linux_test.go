package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// answers are what clients were told of what they asked for, by its name. What is in
// neither map got no answer, or one that says that the outcome is unknown.
type answers struct {
	mu      sync.Mutex
	yes     map[string]bool
	no      map[string]string // with the code or status
	unknown int               // answers that say so
}

func (a *answers) is(name string, status int, code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case status >= 200 && status < 300:
		a.yes[name] = true
	case code == "unknown":
		a.unknown++
	default:
		a.no[name] = fmt.Sprint(status, code)
	}
}

// failing is a broker whose syncs fail from some moment on.
func failing(t *testing.T, first int) *process {
	p := &process{t: t, dir: t.TempDir()}
	p.command = func() *exec.Cmd {
		// Each thread counts for itself, and they are few.
		cmd := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
			"-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d+", first),
			os.Getenv(binaryVariable), "--listen=127.0.0.1:0", "--data="+p.dir, "--durability=fsync")
		cmd.Env = []string{"HOME=/"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		t.Cleanup(func() { // strace alone would leave the broker behind
			if cmd.Process != nil {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			}
		})
		return cmd
	}
	return p
}

func TestNothingThatIsAnsweredWithNoIsStoredWhenAnFsyncFails(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: answers after a failed fsync: strace: %v: %s", err, out)
	}
	const most = 200 // until each kind of answer was seen
	tries := faultreport.ScaleAlways(t, 5, most)
	yes, no, unknown, stored := 0, 0, 0, 0
	record := faultreport.Record{
		Test: "failed-fsync", Fault: "syncs fail from a random one on, under load on every protocol",
		Promise: "yes is on disk, no is not stored, the broker ends with 74",
	}
	for n := 0; n < tries || n < most && (yes == 0 || no == 0 || unknown == 0 || stored == 0); n++ {
		record.Runs++
		p := failing(t, 8+rand.IntN(16))
		p.start()
		p.declare()
		a := &answers{yes: map[string]bool{}, no: map[string]string{}}
		p.ask(n, a)
		if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != 74 {
			t.Fatalf("the broker ended with %v: %s", err, &p.stderr)
		}
		p.command = realBrokerIn(p.dir)
		p.start()
		there := p.everything()
		p.kill()
		for name := range a.yes {
			if !there[name] {
				t.Errorf("try %d: %s was answered with yes and is not stored", n, name)
				record.Broken++
			}
		}
		for name := range a.no {
			if there[name] {
				t.Errorf("try %d: %s was answered with no (%s) and is stored", n, name, a.no[name])
				record.Broken++
			}
		}
		for name := range there {
			if !a.yes[name] && a.no[name] == "" {
				stored++
			}
		}
		yes, no, unknown = yes+len(a.yes), no+len(a.no), unknown+a.unknown
	}
	record.Add("answered with yes", yes)
	record.Add("with no", no)
	record.Add("with unknown", unknown)
	record.Add("stored without a yes", stored)
	record.Save(t)
	if yes == 0 || no == 0 || unknown == 0 || stored == 0 {
		t.Error("too little happened to prove something")
	}
}

func realBrokerIn(dir string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Getenv(binaryVariable), "--listen=127.0.0.1:0", "--data="+dir)
		cmd.Env = []string{"HOME=/"}
		return cmd
	}
}

// ask has clients of all kinds ask for things until the broker is gone.
func (p *process) ask(try int, a *answers) {
	var clients sync.WaitGroup
	var begin []func() // once all are connected: the broker does not last long
	for i := range 3 {
		c, l := p.dial(), &lane{name: fmt.Sprintf("n%d-%d", try, i)}
		begin = append(begin, func() { c.publishAll(l, a) })
	}
	for i := range 2 {
		ws, name := p.dialSocket(), fmt.Sprintf("%d-%d", try, i)
		begin = append(begin, func() { p.verbs("h"+name, a) }, func() { p.api("r"+name, a) }, func() { p.socket(ws, "w"+name, a) })
	}
	acks, declares := p.dial(), p.dial()
	begin = append(begin, func() { acks.ackAll(a) }, func() { declares.declareAll(try, a) })
	for _, f := range begin {
		clients.Go(f)
	}
	clients.Wait()
}

// publishAll publishes many messages ahead of their answers.
func (c *conn) publishAll(l *lane, a *answers) {
	slots, broken := make(chan struct{}, pipeline), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { l.write(c, slots, broken) })
	for {
		m, err := c.r.Read()
		if err != nil {
			break
		}
		a.is(m.Get(wire.HeaderID), m.Status, "")
		<-slots
	}
	close(broken)
	_ = c.Close()
	writer.Wait()
}

// ackAll consumes the explicit group and acks every message.
func (c *conn) ackAll(a *answers) {
	defer c.Close()
	if c.consume(explicitGroup) != nil {
		return
	}
	for {
		m, offset, err := c.next(explicitGroup, func(m *wire.Message) { a.is(m.Get(wire.HeaderID), m.Status, "") })
		if err != nil {
			return
		}
		c.ack(offset, m.Get(wire.HeaderHandle))
		if c.w.Flush() != nil {
			return
		}
	}
}

// declareAll declares one topic after the other.
func (c *conn) declareAll(try int, a *answers) {
	defer c.Close()
	for n := 0; ; n++ {
		name := fmt.Sprintf("t%d-%d", try, n)
		c.put(nil, field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, name), field(wire.HeaderID, name))
		if c.w.Flush() != nil {
			return
		}
		m, err := c.r.Read()
		if err != nil {
			return
		}
		a.is(name, m.Status, "")
	}
}

// verbs publishes over HTTP in the words of the native protocol.
func (p *process) verbs(name string, a *answers) {
	transport := &http.Transport{DisableKeepAlives: true} // nothing is sent again behind our back
	defer transport.CloseIdleConnections()
	for n := 0; ; n++ {
		id := name + "/" + strconv.Itoa(n)
		req, err := http.NewRequest(http.MethodPost, "http://"+p.address+"/produce/"+topic, strings.NewReader(id))
		if err != nil {
			return
		}
		req.Header.Set(wire.HeaderID, id)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return
		}
		_ = resp.Body.Close()
		a.is(id, resp.StatusCode, "")
	}
}

// api publishes over the HTTP API.
func (p *process) api(name string, a *answers) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for n := 0; ; n++ {
		id := name + "/" + strconv.Itoa(n)
		body := fmt.Sprintf(`{"id": %q, "body": "x"}`, id)
		resp, err := client.Post("http://"+p.address+"/api/v1/topics/"+topic+"/messages", "application/json", strings.NewReader(body))
		if err != nil {
			return
		}
		var problem struct{ Code string }
		err = json.NewDecoder(resp.Body).Decode(&problem)
		_ = resp.Body.Close()
		if err != nil {
			return
		}
		a.is(id, resp.StatusCode, problem.Code)
	}
}

func (p *process) dialSocket() *websocket.Conn {
	p.t.Helper()
	ws, resp, err := websocket.Dial(p.t.Context(), "ws://"+p.address+"/api/v1/ws", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	return ws
}

// socket publishes over the WebSocket of the API.
func (p *process) socket(ws *websocket.Conn, name string, a *answers) {
	ctx := p.t.Context()
	defer func() { _ = ws.CloseNow() }()
	for n := 0; ; n++ {
		id := name + "/" + strconv.Itoa(n)
		frame := fmt.Sprintf(`{"op": "publish", "ref": %q, "topic": %q, "messages": [{"id": %q, "body": "x"}]}`, id, topic, id)
		if ws.Write(ctx, websocket.MessageText, []byte(frame)) != nil {
			return
		}
		_, data, err := ws.Read(ctx)
		if err != nil {
			return
		}
		var answer struct{ Type, Ref, Code string }
		if err := json.Unmarshal(data, &answer); err != nil || answer.Ref != id {
			p.t.Errorf("answer %s to %s: %v", data, id, err)
			return
		}
		status := http.StatusOK
		if answer.Type != "published" {
			status = http.StatusInternalServerError
		}
		a.is(id, status, answer.Code)
	}
}

// everything is what is stored, by its name: the ids of messages, topics, and acks by
// the offsets that the explicit group has settled.
func (p *process) everything() map[string]bool {
	there := map[string]bool{}
	ids := p.ids()
	for _, id := range ids {
		there[id] = true
	}
	var topics struct{ Topics []struct{ Name string } }
	p.get("topics?limit=500", &topics)
	for _, d := range topics.Topics {
		if d.Name != topic {
			there[d.Name] = true
		}
	}
	unsettled := p.unsettled()
	for offset := range ids {
		if !unsettled[offset] {
			there["ack/"+strconv.Itoa(offset)] = true
		}
	}
	return there
}

// unsettled are the offsets that the explicit group still delivers.
func (p *process) unsettled() map[int]bool {
	c := p.dial()
	defer c.Close()
	c.put([]byte("end"), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderID, "end"))
	c.must(field(wire.HeaderCmd, wire.CmdPing), field(wire.HeaderID, "p"))
	if _, err := c.r.Read(); err != nil {
		p.t.Fatal(err)
	}
	left := map[int]bool{}
	if err := c.consume(explicitGroup); err != nil {
		p.t.Fatal(err)
	}
	ignore := func(*wire.Message) {}
	for {
		m, offset, err := c.next(explicitGroup, ignore)
		if err != nil {
			p.t.Fatal(err)
		}
		if bytes.Equal(m.Body, []byte("end")) {
			return left
		}
		left[int(offset)] = true
		c.ack(offset, m.Get(wire.HeaderHandle))
		if err := c.w.Flush(); err != nil {
			p.t.Fatal(err)
		}
	}
}
