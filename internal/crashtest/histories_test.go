package crashtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rushmore/zbus-go/internal/faultreport"
)

type object = map[string]any

const (
	historyClients = 4
	historyOps     = 50 // of each client
	historyKills   = 2
	historyIDs     = 8  // so few that they are often given again
	historyJobs    = 40 // messages that are pulled and acked
	// historyTime is how long the checker may think about a part of a history.
	historyTime = 30 * time.Second
)

// TestHistoriesAreLinearizable has clients do things at once and kills the broker twice
// concurrently. What they were answered has to be what a broker could have answered that does
// one thing after the other; what was under way at a kill may have been done or not.
func TestHistoriesAreLinearizable(t *testing.T) {
	want := faultreport.Scale(t, 50, 2000)
	r := faultreport.Record{
		Test: "histories", Fault: "4 clients × 50 operations on topics, ids and groups, with two SIGKILLs",
		Promise: "the answers are linearizable; an operation without one was done once or never",
	}
	h := newHistories(realBroker(t, "fsync"))
	for range want {
		r.Runs++
		if broken := h.one(r.Runs); len(broken) > 0 {
			r.Broken++
			t.Errorf("history %d is not linearizable: %s", r.Runs, broken)
		}
	}
	r.Add("operations", h.ops)
	r.Add("of which without an answer", h.unknown)
	r.Add("duplicates answered", h.duplicates)
	r.Add("acks", h.acks)
	r.Add("kills", h.kills)
	r.Add("not decided within 30 s", h.undecided)
	r.Save(t)
	if h.unknown == 0 || h.duplicates == 0 || h.acks == 0 {
		t.Error("too little happened to prove something")
	}
}

// histories makes histories of one broker.
type histories struct {
	*process
	began time.Time
	life  atomic.Pointer[life]

	ops, unknown, duplicates, acks, kills, undecided int
}

// life is one run of the broker, for the clients.
type life struct {
	address string
	next    chan *life // closed when the next one is there
}

func newHistories(p *process) *histories {
	h := &histories{process: p, began: time.Now()}
	h.again()
	return h
}

// again starts the broker and tells the clients.
func (h *histories) again() {
	h.start()
	now := &life{address: h.address, next: make(chan *life)}
	if before := h.life.Swap(now); before != nil {
		close(before.next)
	}
}

// one makes a history and returns the names of its parts that are not linearizable.
func (h *histories) one(number int) (broken []string) {
	names := []string{fmt.Sprintf("h%d-a", number), fmt.Sprintf("h%d-b", number)}
	jobs := fmt.Sprintf("h%d-jobs", number)
	h.prepare(jobs)
	seed := rand.Uint64()
	done := make(chan struct{}, historyClients*historyOps)
	clients := make([]*historian, historyClients)
	var working sync.WaitGroup
	for i := range clients {
		c := &historian{
			histories: h, id: i, topics: names, jobs: jobs, random: rand.New(rand.NewPCG(seed, uint64(i))),
			client: http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}, // nothing is sent again behind our back
		}
		clients[i] = c
		working.Go(func() { c.work(done) })
	}
	h.killAmong(done, rand.New(rand.NewPCG(seed, historyClients)))
	working.Wait()
	var all []porcupine.Operation
	for _, c := range clients {
		all = append(all, c.history...)
	}
	for _, model := range models(names, jobs) {
		switch porcupine.CheckOperationsTimeout(model.Model, of(all, model.name), historyTime) {
		case porcupine.Illegal:
			broken = append(broken, model.name)
			for _, op := range of(all, model.name) {
				h.t.Logf("%d [%d, %d] %+v: %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
			}
		case porcupine.Unknown:
			h.undecided++
		}
	}
	h.count(all)
	for _, name := range append(names, jobs) {
		if _, _, err := clients[0].try("DELETE", "topics/"+name, nil); err != nil {
			h.t.Fatal(err)
		}
	}
	return broken
}

func (h *histories) count(all []porcupine.Operation) {
	h.ops += len(all)
	for _, op := range all {
		out := op.Output.(outcome)
		switch {
		case out.unknown:
			h.unknown++
		case out.duplicate:
			h.duplicates++
		case op.Input.(request).kind == ack:
			h.acks++
		}
	}
}

// prepare creates a topic with messages and two groups: one that is moved, one whose
// messages are acked.
func (h *histories) prepare(jobs string) {
	c := &historian{histories: h}
	for _, step := range []struct {
		path string
		body any
	}{
		{"topics", object{"name": jobs}},
		{"topics/" + jobs + "/messages", make([]struct{}, historyJobs)},
		{"topics/" + jobs + "/groups", object{"name": "moved", "settle": "explicit", "start": "earliest"}},
		{"topics/" + jobs + "/groups", object{"name": "acked", "settle": "explicit", "start": "earliest", "ackTimeout": 3_600_000}},
	} {
		if status, text, err := c.try("POST", step.path, step.body); err != nil || status/100 != 2 {
			h.t.Fatalf("%s: %d %s %v", step.path, status, text, err)
		}
	}
}

// killAmong kills the broker between two of the operations, or within some.
func (h *histories) killAmong(done <-chan struct{}, random *rand.Rand) {
	const most = historyClients * historyOps
	at := make([]int, historyKills)
	for i := range at {
		at[i] = 1 + random.IntN(most*9/10)
	}
	slices.Sort(at)
	for n := range most {
		<-done
		for len(at) > 0 && at[0] == n {
			at = at[1:]
			h.kill()
			h.kills++
			h.again()
		}
	}
}

// The kinds of operations.
const (
	create = "create" // a topic
	remove = "remove" // a topic
	put    = "put"    // a message with an id into a topic
	move   = "move"   // a group, to an offset
	look   = "look"   // where that group is
	pull   = "pull"   // a message of the other group
	ack    = "ack"    // that message
)

// request is what a client asks for.
type request struct {
	kind   string
	part   string // what it concerns: a topic, or a group
	number int64  // id, or offset
}

// outcome is what became of it.
type outcome struct {
	unknown   bool // no answer
	status    int
	offset    int64
	duplicate bool
}

// historian is a client that keeps its history.
type historian struct {
	*histories
	id      int
	topics  []string
	jobs    string
	random  *rand.Rand
	client  http.Client
	history []porcupine.Operation
}

func (c *historian) work(done chan<- struct{}) {
	for range historyOps {
		name := c.topics[c.random.IntN(len(c.topics))]
		switch n := c.random.IntN(100); {
		case n < 10:
			c.do(request{create, name, 0}, "POST", "topics", object{"name": name})
		case n < 14:
			c.do(request{remove, name, 0}, "DELETE", "topics/"+name, nil)
		case n < 60:
			id := c.random.Int64N(historyIDs)
			c.do(request{put, name, id}, "POST", "topics/"+name+"/messages", object{"id": strconv.FormatInt(id, 10), "body": name})
		case n < 70:
			to := c.random.Int64N(historyJobs)
			place := object{"topic": c.jobs, "group": "moved", "to": object{"offset": to}}
			c.do(request{move, c.jobs + "/moved", to}, "POST", "messages:transaction", object{"relocations": []object{place}})
		case n < 80:
			c.do(request{look, c.jobs + "/moved", 0}, "GET", "topics/"+c.jobs+"/groups/moved", nil)
		default:
			c.settle()
		}
		done <- struct{}{}
	}
}

// settle takes a message and acks it, most of the time.
func (c *historian) settle() {
	group := "topics/" + c.jobs + "/groups/acked"
	text := c.do(request{pull, c.jobs + "/acked", 0}, "POST", group+":pull", object{"max": 1})
	var got struct {
		Deliveries []struct{ Handle, Offset string }
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Deliveries) == 0 || c.random.IntN(5) == 0 {
		return
	}
	offset, err := strconv.ParseInt(got.Deliveries[0].Offset, 10, 64)
	if err != nil {
		c.t.Error(err)
	}
	c.do(request{ack, c.jobs + "/acked", offset}, "POST", group+":ack", object{"handles": []string{got.Deliveries[0].Handle}})
}

// do asks for something and notes what became of it, and when.
func (c *historian) do(in request, method, path string, body any) []byte {
	op := porcupine.Operation{ClientId: c.id, Input: in, Call: int64(time.Since(c.began))}
	now := c.life.Load()
	status, text, err := c.try(method, path, body)
	out := outcome{status: status}
	var failed struct{ Code string }
	switch {
	case err != nil:
		select {
		case <-now.next: // the broker was killed
		case <-time.After(patience):
			c.t.Errorf("%s %s: %v, and the broker was not killed", method, path, err)
		}
		out.unknown = true
	case status/100 == 2:
		out.read(in.kind, text)
	case json.Unmarshal(text, &failed) == nil && failed.Code == "unknown":
		out.unknown = true
	case status == http.StatusServiceUnavailable:
		return nil // nothing was done
	}
	if op.Return, op.Output = int64(time.Since(c.began)), out; out.unknown {
		op.Return = int64(time.Hour * 1000) // it may be done at any time, or never
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return nil // nobody was asked
	}
	c.history = append(c.history, op)
	return text
}

// try makes a request.
func (c *historian) try(method, path string, body any) (status int, answer []byte, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequest(method, "http://"+c.life.Load().address+"/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// read takes from an answer what the model knows.
func (o *outcome) read(kind string, text []byte) {
	var got struct {
		Results []struct {
			Offset    int64 `json:",string"`
			Duplicate bool
		}
		Relocations []struct {
			From int64 `json:",string"`
		}
		Cursor     int64 `json:",string"`
		Deliveries []struct {
			Offset int64 `json:",string"`
		}
	}
	o.offset = -1
	if len(text) > 0 && json.Unmarshal(text, &got) != nil {
		o.status = 0 // no model takes that
		return
	}
	switch {
	case kind == put && len(got.Results) == 1:
		o.offset, o.duplicate = got.Results[0].Offset, got.Results[0].Duplicate
	case kind == move && len(got.Relocations) == 1:
		o.offset = got.Relocations[0].From
	case kind == look:
		o.offset = got.Cursor
	case kind == pull && len(got.Deliveries) == 1:
		o.offset = got.Deliveries[0].Offset
	}
}
