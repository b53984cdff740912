package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/config"
)

// provides makes a connection a provider of a topic with a credit.
func (c *client) provides(topic string, window int) *client {
	c.t.Helper()
	c.ok("declare topic=" + topic + " topic_mask=2")
	c.send(fmt.Sprintf("consume topic=%s id=c window=%d", topic, window))
	c.quiet()
	return c
}

// answers answers a call that the connection got.
func (c *client) answers(call answer, body string) {
	c.t.Helper()
	c.send("route recver="+call.Get("sender")+" id="+call.Get("origin_id"), body)
}

// service is what the API says of one.
type service struct {
	Waiting, InFlight int
	Providers         []struct {
		Session, Name, Version string
		Given, Answered        string
		InFlight, Overdue      int
	}
	Methods []struct {
		Name, Module, Description string
		Described                 bool
		Params, Result            json.RawMessage
		Calls                     map[string]string
	}
	Calls   map[string]string
	Latency struct {
		Count    string
		P50, P99 float64
	}
	LastError *struct{ Text string }
}

// service asks the API for one.
func (b *instance) service(t testing.TB, topic string) (s service) {
	t.Helper()
	b.get(t, "/api/v1/rpc/"+topic, &s)
	return s
}

// dropped asks the API how many answers went nowhere.
func (b *instance) dropped(t testing.TB) map[string]string {
	t.Helper()
	var list struct{ DroppedAnswers map[string]string }
	b.get(t, "/api/v1/rpc", &list)
	return list.DroppedAnswers
}

func (b *instance) get(t testing.TB, path string, v any) {
	t.Helper()
	res := b.post(t, "GET", path, "")
	if res.status != 200 {
		t.Fatalf("%s: %+v", path, res)
	}
	if err := json.Unmarshal([]byte(res.body), v); err != nil {
		t.Fatalf("%s: %v in %s", path, err, res.body)
	}
}

// post makes one HTTP request on a connection of its own.
func (b *instance) post(t testing.TB, method, path, body string) result {
	t.Helper()
	conn := b.tcp(t)
	return keepAlive(t, conn, func(m, u, body string) string {
		return strings.Replace(http11(m, u, body, ""), "Host: localhost", "Host: "+b.addr, 1)
	})(t, method, path, body)
}

func TestACallIsAnsweredInTimeOrWith504(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *config.Config) { c.RPCTimeout, c.RPCMaxTimeout = 200*time.Millisecond, 400*time.Millisecond })
	p, c := b.dial(t).provides("calc", 100), b.dial(t)
	for _, x := range []struct {
		header string
		ms     int
	}{{"", 200}, {" timeout=50", 50}, {" timeout=60000", 400}, {" timeout=null", 200}} {
		began := time.Now()
		a := c.call("produce topic=calc ack=false"+x.header, "2+2")
		took := time.Since(began)
		a.want(t, 504, fmt.Sprintf("Topic(calc) did not answer within %d ms: the call may have run", x.ms))
		if took < time.Duration(x.ms)*time.Millisecond {
			t.Errorf("timeout%s: over after %s", x.header, took)
		}
		p.answers(p.recv(), "4")
		p.quiet()
		c.quiet() // it came too late
	}
	for _, bad := range []string{"0", "-1", "soon", "1e3", "86400001"} {
		if a := c.call("produce topic=calc ack=false timeout=" + bad); a.Status != 400 {
			t.Errorf("timeout %s: %d %q", bad, a.Status, a.Body)
		}
	}
	p.quiet() // none of these was a call
	if n := b.dropped(t); n["late"] != "4" || n["foreign"] != "0" || n["orphaned"] != "0" {
		t.Errorf("dropped answers: %v, want four late ones", n)
	}
	s := b.service(t, "calc")
	if s.Calls["timeout"] != "4" || s.Calls["total"] != "4" || s.LastError == nil || s.LastError.Text != "timeout" {
		t.Errorf("figures: %+v", s)
	}
}

func TestACallWhoseProviderGoesAwayIsAnsweredWith502AndNotRunAgain(t *testing.T) {
	t.Parallel()
	b := start(t)
	first, other, c := b.dial(t).provides("calc", 10), b.dial(t).provides("calc", 10), b.dial(t)
	c.send("produce topic=calc ack=false id=1", "x")
	c.send("produce topic=calc ack=false id=2", "x")
	first.recv()
	second := other.recv()
	first.conn.Close()
	if a := c.recv(); a.Status != 502 || !strings.Contains(string(a.Body), "may have run") {
		t.Errorf("got %d %q", a.Status, a.Body)
	}
	other.quiet()
	other.answers(second, "y")
	c.recv().want(t, 200, "y")
	c.quiet()
	if s := b.service(t, "calc"); s.Calls["providerGone"] != "1" || s.Calls["answered"] != "1" || s.InFlight != 0 {
		t.Errorf("figures: %+v", s)
	}
}

func TestCallsThatWaitFailWhenTheLastProviderGoes(t *testing.T) {
	t.Parallel()
	for name, goAway := range map[string]func(*client){
		"closes":     func(p *client) { _ = p.conn.Close() },
		"unconsumes": func(p *client) { p.ok("unconsume topic=calc") },
		"topic":      func(p *client) { p.send("remove topic=calc id=x") },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			p, busy, c := b.dial(t).provides("calc", 1), b.dial(t), b.dial(t)
			busy.send("produce topic=calc ack=false id=0", "takes the credit")
			p.recv()
			c.send("produce topic=calc ack=false id=1", "x")
			c.quiet()
			goAway(p)
			c.recv().want(t, 503, "Topic(calc) has no provider: start one that consumes it").header(t, "id", "1")
			c.quiet()
		})
	}
}

func TestAProviderThatTakesNoMoreAnswersWhatItGot(t *testing.T) {
	t.Parallel()
	b := start(t)
	p, c := b.dial(t).provides("calc", 10), b.dial(t)
	c.send("produce topic=calc ack=false id=1", "x")
	call := p.recv()
	p.ok("unconsume topic=calc")
	p.answers(call, "y")
	c.recv().want(t, 200, "y").header(t, "id", "1")
	if a := c.call("produce topic=calc ack=false"); a.Status != 503 {
		t.Errorf("a call after that: %d %q", a.Status, a.Body)
	}
}

func TestAnAnswerIsTakenFromNobodyButTheProviderThatGotTheCall(t *testing.T) {
	t.Parallel()
	b := start(t)
	p, c := b.dial(t).provides("calc", 10), b.dial(t)
	plain := b.dial(t) // consumes messages that are no calls
	plain.ok("declare topic=plain")
	plain.send("consume topic=plain id=c")
	other := b.dial(t).provides("other", 10)
	stranger := b.dial(t)
	c.send("produce topic=calc ack=false id=1", "x")
	call := p.recv()
	impostors := []*client{plain, other, stranger, c}
	for _, x := range impostors {
		x.answers(call, "forged")
		x.quiet()
	}
	idle := b.dial(t).provides("calc", 10)
	idle.answers(call, "forged")
	idle.quiet()
	c.quiet()
	p.answers(call, "true")
	c.recv().want(t, 200, "true")
	for _, x := range append(impostors, p, idle) { // nor when it is over
		x.answers(call, "forged")
		x.quiet()
	}
	c.quiet()
	if n := b.dropped(t); n["foreign"] != "5" || n["late"] != "6" {
		t.Errorf("dropped answers: %v", n)
	}
}

func TestACallWhoseCallerIsGoneIsNotRun(t *testing.T) {
	t.Parallel()
	b := start(t)
	p, gone, c := b.dial(t).provides("calc", 1), b.dial(t), b.dial(t)
	c.send("produce topic=calc ack=false id=0", "takes the credit")
	p.answers(p.recv(), "y")
	c.recv().want(t, 200, "y")
	gone.send("produce topic=calc ack=false id=1", "for nobody")
	gone.quiet()
	gone.conn.Close()
	eventually(t, "the call is forgotten", func() bool { return b.service(t, "calc").Calls["abandoned"] == "1" })
	c.send("produce topic=calc ack=false id=2", "for somebody")
	p.send("consume topic=calc id=c2 window=10")
	call := p.recv().want(t, 200, "for somebody")
	p.quiet()
	p.answers(call, "y")
	c.recv().want(t, 200, "y")

	again := b.dial(t)
	again.send("produce topic=calc ack=false id=3", "taken")
	call = p.recv()
	again.conn.Close()
	eventually(t, "the call is forgotten", func() bool { return b.service(t, "calc").Calls["abandoned"] == "2" })
	p.answers(call, "y")
	p.quiet()
	if n := b.dropped(t); n["orphaned"] != "1" {
		t.Errorf("dropped answers: %v", n)
	}
}

func TestAProviderThatHangsIsPassedOver(t *testing.T) {
	t.Parallel()
	b := start(t)
	hangs, c := b.dial(t).provides("calc", 1000), b.dial(t)
	c.send("produce topic=calc ack=false timeout=100 id=hangs", "x")
	hangs.recv()
	works := b.dial(t).provides("calc", 1000)
	if a := c.recv(); a.Status != 504 {
		t.Fatalf("got %d %q", a.Status, a.Body)
	}
	for range 20 {
		c.send("produce topic=calc ack=false id=works", "x")
		works.answers(works.recv(), "y")
		c.recv().want(t, 200, "y")
	}
	hangs.quiet()
	s := b.service(t, "calc")
	if p := s.Providers[0]; p.Given != "1" || p.Overdue != 1 || p.InFlight != 0 {
		t.Errorf("the provider that hangs: %+v", p)
	}
	if p := s.Providers[1]; p.Given != "20" || p.Answered != "20" || p.Overdue != 0 {
		t.Errorf("the provider that works: %+v", p)
	}
}

func TestFailedCallsOverHTTPLeaveTheConnectionUsable(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.provider(t, "echo")
	hangs := b.dial(t).provides("hangs", 100)
	for _, first := range []string{"/rpc/echo/m", "/healthz"} { // a session, and the HTTP side
		do := keepAlive(t, b.tcp(t), func(m, u, body string) string { return http11(m, u, body, "") })
		do(t, "GET", first, "")
		for _, x := range []struct {
			url    string
			status int
		}{
			{"/rpc/hangs/m?timeout=20", 504},
			{"/rpc/nobody/m", 404},
			{"/rpc/echo/m/1?timeout=5000", 200},
			{"/hangs/m?timeout=20", 504},
			{"/rpc/echo/m?timeout=x", 400},
			{"/rpc/echo/m", 200},
		} {
			if r := do(t, "GET", x.url, ""); r.status != x.status {
				t.Errorf("after %s, %s: %+v, want %d", first, x.url, r, x.status)
			}
		}
	}
	hangs.conn.Close()
	eventually(t, "the provider is gone", func() bool { return len(b.service(t, "hangs").Providers) == 0 })
	if r := b.post(t, "GET", "/rpc/hangs/m", ""); r.status != 503 {
		t.Errorf("without a provider: %+v", r)
	}
}
