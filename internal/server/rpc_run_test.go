package server_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// The size of the run. runTime is the timeout of its calls: long enough for a slow
// machine to answer, since every call of a provider that hangs takes all of it.
const (
	runCalls   = 100_000
	runCallers = 6
	runWindow  = 64
	runTime    = 2 * time.Second
)

// kind is what a provider of the run does.
type kind int

const (
	works   kind = 1 + iota // answers at once
	hangs                   // never answers
	dies                    // goes away with calls that it got
	tarries                 // answers when the caller has given up
)

// campaign is a run: what happened to every call, and who did it.
type campaign struct {
	t     *testing.T
	b     *instance
	stop  chan struct{}
	wrong atomic.Int64 // complaints, of which the first few are told

	got      []atomic.Int32    // by call: the kind of provider that got it; 0: nobody
	answered []atomic.Bool     // by call: a provider that dies has answered it
	over     []chan struct{}   // by call: closed when its caller has an outcome
	forge    chan [2]string    // sender and id of calls for impostors
	outcomes [600]atomic.Int64 // by status
	late     atomic.Int64      // answers that came after the outcome
	forged   atomic.Int64      // answers of impostors
}

func (r *campaign) complain(format string, args ...any) {
	if r.wrong.Add(1) <= 10 {
		r.t.Errorf(format, args...)
	}
}

func TestAHundredThousandCallsHaveOneOutcomeEachAndTheRightOne(t *testing.T) {
	b := start(t)
	r := &campaign{
		t: t, b: b, stop: make(chan struct{}), forge: make(chan [2]string, 64),
		got: make([]atomic.Int32, runCalls), answered: make([]atomic.Bool, runCalls), over: make([]chan struct{}, runCalls),
	}
	for i := range r.over {
		r.over[i] = make(chan struct{})
	}
	b.dial(t).ok("declare topic=run topic_mask=2")
	b.dial(t).ok("declare topic=plain")
	var others, callers sync.WaitGroup
	for _, k := range []kind{works, works, works, works, hangs, tarries} {
		ready := make(chan struct{})
		others.Go(func() { r.provide(k, ready) })
		<-ready
	}
	others.Go(r.die)
	for i := range 3 {
		others.Go(func() { r.impersonate(i) })
	}
	for i := range runCallers {
		callers.Go(func() { r.call(i) })
	}
	callers.Wait()
	close(r.stop)
	others.Wait()
	r.check()
}

// check compares what callers and providers saw with the figures of the broker.
func (r *campaign) check() {
	total := int64(0)
	for status, name := range map[int]string{200: "answered", 502: "providerGone", 503: "unavailable", 504: "timeout"} {
		n := r.outcomes[status].Load()
		total += n
		if have := r.b.service(r.t, "run").Calls[name]; have != strconv.FormatInt(n, 10) {
			r.t.Errorf("%d calls had the status %d, the figures say %s", n, status, have)
		}
	}
	r.t.Logf("200: %d, 502: %d, 504: %d; %d late and %d forged answers", r.outcomes[200].Load(),
		r.outcomes[502].Load(), r.outcomes[504].Load(), r.late.Load(), r.forged.Load())
	if total != runCalls {
		r.t.Errorf("%d calls have one of the outcomes, want %d", total, runCalls)
	}
	for what, n := range map[string]int64{
		"answers": r.outcomes[200].Load() - runCalls/2, "lost providers": r.outcomes[502].Load(),
		"timeouts": r.outcomes[504].Load(), "late answers": r.late.Load(), "forged answers": r.forged.Load(),
	} {
		if n <= 0 {
			r.t.Errorf("the run had too few %s to show anything", what)
		}
	}
	if s := r.b.service(r.t, "run"); s.Waiting != 0 || s.InFlight != 0 {
		r.t.Errorf("left: %d waiting, %d in flight", s.Waiting, s.InFlight)
	}
}

// call makes a caller's share of the calls, runWindow at a time.
func (r *campaign) call(me int) {
	c := r.b.dial(r.t)
	share := runCalls / runCallers
	first := me * share
	if me == runCallers-1 {
		share = runCalls - first
	}
	began := make([]time.Time, share)
	sent := 0
	send := func() {
		if sent == share {
			return
		}
		n := strconv.Itoa(first + sent)
		began[sent] = time.Now()
		sent++
		_, _ = c.conn.Write([]byte(request("produce topic=run ack=0 id="+n+" timeout="+strconv.FormatInt(runTime.Milliseconds(), 10), "call "+n)))
	}
	for range runWindow {
		send()
	}
	seen := make([]bool, share)
	for range share {
		a, err := c.next()
		if err != nil {
			r.complain("caller %d: %v", me, err)
			return
		}
		n, err := strconv.Atoi(a.Get("id"))
		if err != nil || n < first || n-first >= sent || seen[n-first] {
			r.complain("caller %d got a message with the id %q, which is not, or no longer, one of its calls: %d %q", me, a.Get("id"), a.Status, a.Body)
			return
		}
		seen[n-first] = true
		r.judge(n, a, time.Since(began[n-first]))
		close(r.over[n])
		send()
	}
	// Nothing else was sent: the reply to this is the next message, also after the
	// late answers.
	_, _ = c.conn.Write([]byte(request("server id=last", "")))
	if a, err := c.next(); err != nil || a.Get("id") != "last" {
		r.complain("caller %d: a message too many: %v %q", me, err, a.Get("id"))
	}
}

// judge checks that an outcome is the right one for what happened to the call.
func (r *campaign) judge(n int, a answer, took time.Duration) {
	r.outcomes[a.Status].Add(1)
	by := kind(r.got[n].Load())
	right := false
	switch a.Status {
	case 200:
		right = (by == works || by == dies && r.answered[n].Load()) && string(a.Body) == "answer to call "+strconv.Itoa(n)
	case 502:
		right = by == dies || by == 0 // it died before it read the call
	case 504:
		right = took >= runTime
	}
	if !right {
		r.complain("call %d: %d %q after %s, and the provider that got it is of kind %d", n, a.Status, a.Body, took, by)
	}
}

// take notes that a provider got a call.
func (r *campaign) take(m *wire.Message, k kind) int {
	n, err := strconv.Atoi(m.Get("origin_id"))
	if err != nil || string(m.Body) != "call "+m.Get("origin_id") {
		r.complain("a provider got %q %q", m.Get("origin_id"), m.Body)
		return 0
	}
	if !r.got[n].CompareAndSwap(0, int32(k)) {
		r.complain("call %d was delivered twice", n)
	}
	select {
	case r.forge <- [2]string{m.Get("sender"), m.Get("origin_id")}:
	default:
	}
	return n
}

func answerTo(m *wire.Message) string {
	return request("route recver="+m.Get("sender")+" id="+m.Get("origin_id")+" origin_status=200", "answer to "+string(m.Body))
}

// connect makes a connection that a goroutine of its own can use.
func (r *campaign) connect() (net.Conn, *wire.Reader) {
	conn, err := net.Dial("tcp", r.b.addr)
	if err != nil {
		r.complain("dial: %v", err)
		return nil, nil
	}
	return conn, wire.NewReader(conn, wire.Limits{})
}

// provide serves until the run is over.
func (r *campaign) provide(k kind, ready chan<- struct{}) {
	conn, in := r.connect()
	if conn == nil {
		return
	}
	var ended, tarrying sync.WaitGroup
	defer ended.Wait()
	defer tarrying.Wait()
	ended.Go(func() { <-r.stop; _ = conn.Close() })
	credit := request("consume topic=run id=c window=100", "")
	_, _ = conn.Write([]byte(credit + request("ping id=p", "")))
	for n := 1; ; n++ {
		m, err := in.Read()
		if err != nil {
			return
		}
		if m.Get("id") == "p" {
			close(ready)
			continue
		}
		call := r.take(m, k)
		switch k {
		case works:
			_, _ = conn.Write([]byte(answerTo(m)))
		case tarries:
			tarrying.Go(func() {
				<-r.over[call]
				r.late.Add(1)
				_, _ = conn.Write([]byte(answerTo(m)))
			})
		}
		if n%50 == 0 {
			_, _ = conn.Write([]byte(credit))
		}
	}
}

// die serves over and over, each time until it has got some calls, of which it has
// answered some.
func (r *campaign) die() {
	random := rand.New(rand.NewPCG(1, 2))
	for {
		select {
		case <-r.stop:
			return
		default:
		}
		conn, in := r.connect()
		if conn == nil {
			return
		}
		var ended sync.WaitGroup
		dead := make(chan struct{})
		ended.Go(func() {
			select {
			case <-r.stop:
			case <-dead:
			}
			conn.Close()
		})
		window := 1 + random.IntN(20)
		_, _ = conn.Write([]byte(request(fmt.Sprintf("consume topic=run id=c window=%d", window), "")))
		for range 1 + random.IntN(window) {
			m, err := in.Read()
			if err != nil {
				break
			}
			n := r.take(m, dies)
			if random.IntN(3) == 0 {
				r.answered[n].Store(true)
				_, _ = conn.Write([]byte(answerTo(m)))
			}
		}
		close(dead)
		ended.Wait()
	}
}

// impersonate answers calls that it did not get: as a consumer of other messages, or as
// nobody in particular.
func (r *campaign) impersonate(i int) {
	conn, _ := r.connect()
	if conn == nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte([]string{
		request("consume topic=plain id=c", ""), request("consume topic=plain id=c window=10", ""), "",
	}[i]))
	for {
		select {
		case call := <-r.forge:
			r.forged.Add(1)
			line := "route recver=" + call[0] + " id=" + call[1]
			if strings.HasSuffix(call[1], "7") {
				line += " topic=run"
			}
			_, _ = conn.Write([]byte(request(line, "forged")))
		case <-r.stop:
			return
		}
	}
}
