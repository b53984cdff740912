package contract

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// limited is an account with limits.
func (g *guarded) limited(name string, limits object) (token string) {
	g.t.Helper()
	token, _ = g.account(name, []string{"publisher", "consumer", "viewer"})
	g.limit(name, limits)
	return token
}

func (g *guarded) limit(name string, limits object) {
	g.t.Helper()
	g.admin.do("PATCH", "/accounts/"+name, object{"limits": limits}, as(g.token)).want(200)
}

func TestPublishingOverTheLimitIsRefusedEverywhere(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token, other := g.limited("shop", object{"messages": 5}), g.limited("other", object{})
	many := list{}
	for range 1000 {
		many = append(many, object{"body": "x"})
	}
	publish := func(token string, body any) *reply {
		return g.admin.do("POST", "/topics/t/messages", body, as(token), anyway)
	}
	publish(token, many).want(201) // all that comes for 200 seconds
	r := publish(token, object{"body": "x"})
	r.refused(429, "quota", "account shop publishes more than it may in a second")
	if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 100 || wait > 200 {
		t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
	}
	n := g.native(t)
	n.send("produce topic=t id=1 token=" + token)
	_ = n.SetReadDeadline(time.Now().Add(patience))
	if m, err := n.r.Read(); err != nil || m.Status != 429 || m.Get("retry-after") == "" {
		t.Errorf("native: %+v %v", m, err)
	}
	resp, err := http.Post("http://"+g.addr+"/produce/t?body=x", "text/plain", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("without a token: %d", resp.StatusCode)
	}
	if got := g.curl(t, "/produce/t?body=x", token); got[:3] != "429" {
		t.Errorf("by URL: %s", got)
	}
	g.admin.do("POST", "/messages:transaction", object{"messages": list{object{"topic": "t", "body": "x"}}}, as(token), anyway).refused(429, "quota", "more than it may")
	ws := g.socket(t, token)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"publish","ref":"1","topic":"t","messages":[{"body":"x"}]}`)); err != nil {
		t.Fatal(err)
	}
	if a := socketAnswer(t, ws); a["code"] != "quota" {
		t.Errorf("WebSocket: %v", a)
	}
	if got := g.admin.get("/topics/t", as(g.token)).str("nextOffset"); got != "1000" {
		t.Errorf("%s messages are stored", got)
	}
	publish(other, object{"body": "x"}).want(201)
	g.limit("shop", object{})
	publish(token, object{"body": "x"}).want(201)
}

func TestConnectionsOverTheLimitAreRefused(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token := g.limited("shop", object{"connections": 2})
	n := g.native(t)
	for range 3 { // one connection, whatever it asks
		n.send("produce topic=t id=1 token=" + token)
		if status, text := n.answer(t); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	ws := g.socket(t, token)
	late := g.native(t)
	late.send("produce topic=t id=1 token=" + token)
	if status, text := late.answer(t); status != 429 || text != "account shop has 2 connections, which is the most: wait 1s" {
		t.Errorf("the third: %d %s", status, text)
	}
	if _, err := late.r.Read(); err == nil {
		t.Error("the third stays open")
	}
	for _, path := range []string{"/api/v1/ws", "/"} {
		_, resp, err := websocket.Dial(t.Context(), "ws://"+g.addr+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err == nil || resp == nil || resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("WebSocket %s: %v %v", path, resp, err)
		}
	}
	g.admin.do("GET", "/topics/t/events", as(token), anyway).refused(429, "quota", "2 connections")
	g.admin.do("GET", "/topics/t", as(token)).want(200) // requests come and go
	_ = ws.CloseNow()
	for range 3 {
		eventually(t, "another takes its place", func() bool {
			next := g.native(t)
			defer func() { _ = next.Close() }()
			next.send("produce topic=t id=1 token=" + token)
			status, _ := next.answer(t)
			return status == 200
		})
	}
}

func TestCallsOverTheLimitAreRefused(t *testing.T) {
	g := startGuarded(t)
	g.unchecked.do("POST", "/topics", object{"name": "calc", "kind": "rpc"}, as(g.token))
	g.unchecked.do("POST", "/topics/calc/groups", object{"name": "calc"}, as(g.token))
	token, serving := g.limited("shop", object{"calls": 1}), g.limited("calc", object{})
	provider := g.native(t)
	provider.send("consume topic=calc id=1 window=10 token=" + serving)
	eventually(t, "the provider is there", func() bool { return len(g.admin.get("/sessions?topic=calc", as(g.token)).list("sessions")) == 1 })
	first := make(chan int, 1)
	go func() {
		r, err := g.client(t).try("POST", "/rpc/calc/plus", list{}, as(token))
		if err != nil {
			first <- 0
			return
		}
		first <- r.status
	}()
	_ = provider.SetReadDeadline(time.Now().Add(patience))
	call, err := provider.r.Read()
	if err != nil {
		t.Fatal(err)
	}
	g.admin.do("POST", "/rpc/calc/plus", list{}, as(token), anyway).refused(429, "quota", "1 calls in flight")
	n := g.native(t)
	n.send("rpc topic=calc id=7 token=" + token)
	if status, text := n.answer(t); status != 429 {
		t.Errorf("native: %d %s", status, text)
	}
	provider.send(fmt.Sprintf("route id=%s recver=%s origin_status=200", call.Get("origin_id"), call.Get("sender")))
	if status := <-first; status != 200 {
		t.Errorf("the first: %d", status)
	}
	// The place of each call that is over is free again, however it ended.
	go func() {
		for {
			call, err := provider.r.Read()
			if err != nil {
				return
			}
			provider.send(fmt.Sprintf("route id=%s recver=%s origin_status=200", call.Get("origin_id"), call.Get("sender")))
		}
	}()
	_ = provider.SetReadDeadline(time.Time{})
	for range 3 {
		g.admin.do("POST", "/rpc/calc/plus", list{}, as(token), anyway).want(200)
	}
}

// A consumer whose account may get little gets it in time, and others of its group do not wait
// for it.
func TestDeliveriesOverTheLimitWait(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	g.unchecked.do("POST", "/topics/t/groups", object{"name": "own", "start": "earliest"}, as(g.token))
	slow, fast := g.limited("slow", object{"messages": 4}), g.limited("fast", object{})
	some := list{}
	for range 60 {
		some = append(some, object{"body": "x"})
	}
	g.admin.do("POST", "/topics/t/messages", some, as(g.token), anyway).want(201)
	get := func(n *native, count int) time.Duration {
		t.Helper()
		began := time.Now()
		for range count {
			if status, text := n.answer(t); status != 200 {
				t.Fatalf("%d %s", status, text)
			}
		}
		return time.Since(began)
	}
	a, b := g.native(t), g.native(t)
	a.send("consume topic=t consume_group=own id=1 window=12 token=" + slow)
	if took := get(a, 8); took < 700*time.Millisecond {
		t.Errorf("8 messages came in %v, at 4 a second", took)
	}
	b.send("consume topic=t consume_group=own id=1 window=12 token=" + fast)
	get(b, 12)
}

// A client that keeps publishing although it was refused is slowed down: being refused would take time from others.
func TestWhoDoesNotCareAboutRefusalsIsSlowedDown(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token := g.limited("shop", object{"messages": 1})
	n := g.native(t)
	n.send("ping id=1 token=" + token)
	n.next()
	for what, publish := range map[string]func() int{
		"native": func() int {
			n.send("produce topic=t id=1 content-length=0")
			status, _ := n.answer(t)
			return status
		},
		"command":   func() int { return g.status(t, "/produce/t", token) },
		"operation": func() int { return g.unchecked.do("POST", "/topics/t/messages", object{"body": "x"}, as(token)).status },
	} {
		refused := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			if publish() == 429 {
				refused++
			}
		}
		if refused < 2 || refused > 40 {
			t.Errorf("%s: refused %d times in a second", what, refused)
		}
	}
}

// However many requests of an account ignore refusals, together they are as many as one.
func TestRequestsThatAreRefusedTakeTurns(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token := g.limited("shop", object{"messages": 1})
	many := list{}
	for range 100 {
		many = append(many, object{"body": "x"})
	}
	g.admin.do("POST", "/topics/t/messages", many, as(token)).want(201) // all that comes for 100 seconds
	began := time.Now()
	var all sync.WaitGroup
	var refused atomic.Int64
	for range 12 {
		all.Go(func() {
			r, err := g.unchecked.try("POST", "/topics/t/messages", object{"body": "x"}, as(token))
			if err == nil && r.status == http.StatusTooManyRequests {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); refused.Load() != 12 || took < 600*time.Millisecond {
		t.Errorf("%d of 12 requests are refused in %v", refused.Load(), took)
	}
}

// What comes by requests, or by a WebSocket, after a burst of its account is stored later, and not refused.
func TestRequestsAfterABurstAreSpreadOut(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	many := list{}
	for range 300 {
		many = append(many, object{"body": "x"})
	}
	for what, publish := range map[string]func(token string){
		"request": func(token string) {
			g.unchecked.do("POST", "/topics/t/messages", object{"body": "x"}, as(token)).want(201)
		},
		"transaction": func(token string) {
			g.unchecked.do("POST", "/messages:transaction", object{"messages": list{object{"topic": "t", "body": "x"}}}, as(token)).want(200)
		},
		"WebSocket": func(token string) {
			ws := g.socket(t, token)
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"publish","topic":"t","messages":[{"body":"x"}]}`)); err != nil {
				t.Fatal(err)
			}
			if a := socketAnswer(t, ws); a["type"] != "published" {
				t.Errorf("it was answered with %v", a)
			}
		},
	} {
		token := g.limited("shop-"+strings.ToLower(what), object{"messages": 400})
		began := time.Now()
		g.unchecked.do("POST", "/topics/t/messages", many, as(token)).want(201)
		publish(token)
		if took := time.Since(began); took < 300*time.Millisecond { // at two and a half times the limit
			t.Errorf("a %s after a burst is done after %v", what, took)
		}
	}
}

// A connection of which nothing was published is not slowed down by what others of its account have published at
// a stretch: acks, answers and heartbeats are not read later for it.
func TestWhoPublishesNothingDoesNotWaitForThoseOfItsAccountWhoDo(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token := g.limited("shop", object{"bytes": 8 << 10})
	n := g.native(t)
	n.send("ping id=1 token=" + token)
	n.next()
	// For three seconds that is more than may come at a stretch.
	g.admin.do("POST", "/topics/t/messages", object{"body": strings.Repeat("x", 200<<10)}, as(token)).want(201)
	began := time.Now()
	for range 50 { // turns are 50 ms apart
		n.send("ping id=1")
		n.next()
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("50 requests take %v", took)
	}
}

// status is that of a publish by URL.
func (g *guarded) status(t *testing.T, path, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+g.addr+path, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
