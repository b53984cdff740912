package contract

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// frames is a WebSocket of the API.
type frames struct {
	t  testing.TB
	ws *websocket.Conn
}

func (b *instance) frames(t *testing.T, protocols ...string) *frames {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+b.addr+"/api/v1/ws", &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &frames{t, ws}
}

func (f *frames) send(format string, args ...any) {
	f.t.Helper()
	if err := f.ws.Write(f.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		f.t.Fatal(err)
	}
}

// next is the next frame, which has to be of a type.
func (f *frames) next(kind string) object {
	f.t.Helper()
	_, data, err := f.ws.Read(f.t.Context())
	if err != nil {
		f.t.Fatalf("no %s: %v", kind, err)
	}
	var m object
	if err := json.Unmarshal(data, &m); err != nil || m["type"] != kind {
		f.t.Fatalf("got %s, want %s", data, kind)
	}
	return m
}

// want checks members of a frame.
func want(t testing.TB, m object, pairs ...any) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		got, _ := json.Marshal(m[pairs[i].(string)])
		if wanted, _ := json.Marshal(pairs[i+1]); string(got) != string(wanted) {
			t.Errorf("%s is %s, want %s, in %v", pairs[i], got, wanted, m)
		}
	}
}

// Providers and callers on WebSockets, over HTTP and in the native protocol have each other's
// words.
func TestSocketsCallAndServe(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	p, q := b.frames(t), b.frames(t)
	p.send(`{"op":"serve","ref":"s","topic":"calc","window":2}`)
	want(t, p.next("serving"), "ref", "s", "sub", "1", "topic", "calc", "group", "calc")
	c.get("/rpc/calc").is("providers.0.inFlight", 0)

	q.send(`{"op":"call","ref":"a","topic":"calc","method":"add","module":"m","params":[1,2]}`)
	r := p.next("request")
	want(t, r, "sub", "1", "method", "add", "module", "m", "params", []int{1, 2}, "credit", "1")
	p.send(`{"op":"answer","ref":"ok","sub":"1","call":%q,"result":{"sum":3}}`, r["call"])
	want(t, p.next("ok"), "ref", "ok")
	want(t, q.next("result"), "ref", "a", "result", map[string]int{"sum": 3})
	p.send(`{"op":"answer","call":%q,"result":4}`, r["call"]) // once
	want(t, p.next("problem"), "code", "not_found")

	q.send(`{"op":"call","ref":"b","topic":"calc","method":"buy","params":{"item":"tea"}}`)
	r = p.next("request")
	want(t, r, "params", []map[string]string{{"item": "tea"}}, "credit", "0")
	p.send(`{"op":"answer","call":%q,"error":{"message":"sold out","status":409,"code":"sold_out","data":{"left":0}}}`, r["call"])
	want(t, q.next("problem"), "ref", "b", "code", "call_failed", "detail", "sold out", "status", 409,
		"error", object{"message": "sold out", "code": "sold_out", "data": object{"left": 0}})

	// Without credit a call waits; over HTTP and natively it is the same service.
	p.send(`{"op":"credit","sub":"1","credit":10}`)
	done := make(chan *reply, 1)
	go func() {
		r, err := b.client(t).try("POST", "/rpc/calc/half", list{8})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	r = p.next("request")
	p.send(`{"op":"answer","call":%q,"result":4}`, r["call"])
	if got := strings.TrimSpace(string((<-done).want(200).raw)); got != "4" {
		t.Errorf("over HTTP the result is %s", got)
	}
	n := b.native(t)
	body := `{"method":"half","params":[6]}`
	if _, err := fmt.Fprintf(n, "GET / HTTP/1.1\r\ncmd: produce\r\nack: false\r\ntopic: calc\r\nid: 77\r\ncontent-length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	r = p.next("request")
	p.send(`{"op":"answer","call":%q,"error":{"message":"odd"}}`, r["call"])
	m := n.next()
	if m.Get("id") != "77" || m.Get("error_status") != "500" || string(m.Body) != `{"error":"odd","status":500}` || m.Get("sender") == "" {
		t.Errorf("natively the answer is %+v", m)
	}
	if _, err := n.Write([]byte("GET / HTTP/1.1\r\ncmd: produce\r\nack: false\r\ntopic: calc\r\nid: 78\r\ncontent-length: 3\r\n\r\nno!")); err != nil {
		t.Fatal(err)
	}
	if m := n.next(); m.Get("id") != "78" || m.Get("error_status") != "400" {
		t.Errorf("what is no call is answered with %+v", m)
	}
}

func TestACallOfASocketHasOneOutcome(t *testing.T) {
	b := start(t)
	c := b.client(t)
	c.post("/topics", object{"name": "calc", "kind": "rpc"}).want(201)
	c.post("/topics", object{"name": "log"}).want(201)
	q := b.frames(t)
	for frame, code := range map[string]string{
		`{"op":"call","ref":"r","topic":"none","method":"m"}`:                         "not_found",
		`{"op":"call","ref":"r","topic":"log","method":"m"}`:                          "invalid",
		`{"op":"call","topic":"calc","method":"m"}`:                                   "invalid",
		`{"op":"call","ref":"r","topic":"calc"}`:                                      "invalid",
		`{"op":"call","ref":"r","topic":"calc","method":"m","params":1}`:              "invalid",
		`{"op":"call","ref":"r","topic":"calc","method":"m","timeout":0}`:             "invalid",
		`{"op":"serve","topic":"log"}`:                                                "invalid",
		`{"op":"serve","topic":"calc","window":10001}`:                                "invalid",
		`{"op":"answer","call":"x:y","result":1}`:                                     "not_found",
		`{"op":"answer","call":"x","result":1}`:                                       "not_found",
		`{"op":"answer","call":"x:y","result":1,"error":{"message":"no"}}`:            "invalid",
		`{"op":"answer","call":"x:y","error":{"message":"no","status":200}}`:          "invalid",
		`{"op":"subscribe","topic":"calc","group":"calc"}`:                            "not_found",
		`{"op":"call","ref":"r","topic":"calc","method":"m","body":"not of this op"}`: "invalid",
	} {
		q.send("%s", frame)
		if m := q.next("problem"); m["code"] != code {
			t.Errorf("%s: %v, want %s", frame, m, code)
		}
	}
	eventually(t, "a call without a provider is refused", func() bool { // a young topic waits for one
		q.send(`{"op":"call","ref":"r","topic":"calc","method":"m","timeout":30000}`)
		return q.next("problem")["code"] == "unavailable"
	})

	p := b.frames(t)
	p.send(`{"op":"serve","topic":"calc","window":10}`)
	p.next("serving")
	q.send(`{"op":"call","ref":"slow","topic":"calc","method":"m","timeout":50}`)
	late := p.next("request")
	want(t, q.next("problem"), "ref", "slow", "code", "timeout")
	p.send(`{"op":"answer","call":%q,"result":1}`, late["call"])
	want(t, p.next("problem"), "code", "not_found")

	// What another socket was given nobody else can answer.
	q.send(`{"op":"call","ref":"one","topic":"calc","method":"m"}`)
	mine := p.next("request")
	q.send(`{"op":"answer","call":%q,"result":"forged"}`, mine["call"])
	want(t, q.next("problem"), "code", "not_found")

	// A provider that goes has its callers told; what it says before that counts.
	p.send(`{"op":"unsubscribe","ref":"u","sub":"1"}`)
	p.next("ok")
	p.send(`{"op":"answer","call":%q,"result":1}`, mine["call"])
	want(t, q.next("result"), "ref", "one", "result", 1)
	q.send(`{"op":"call","ref":"after","topic":"calc","method":"m"}`)
	want(t, q.next("problem"), "ref", "after", "code", "unavailable")
	p.send(`{"op":"serve","topic":"calc","window":10}`)
	p.next("serving")
	q.send(`{"op":"call","ref":"gone","topic":"calc","method":"m"}`)
	p.next("request")
	_ = p.ws.CloseNow()
	want(t, q.next("problem"), "ref", "gone", "code", "provider_gone")
}

// What a provider and a caller may do is asked when they begin, and holds until it is taken
// away.
func TestGrantsOfSocketsThatCallAndServe(t *testing.T) {
	g := startGuarded(t)
	root := as(g.token)
	g.admin.post("/topics", object{"name": "calc", "kind": "rpc"}, root).want(201)
	g.admin.post("/topics/calc/groups", object{"name": "calc"}, root).want(201)
	serves, providerID := g.account("provider", nil, "serve:calc")
	calls, callerID := g.account("caller", nil, "call:calc")
	p, q := g.frames(t, "zbus", "zbus.token."+serves), g.frames(t, "zbus", "zbus.token."+calls)

	p.send(`{"op":"call","ref":"1","topic":"calc","method":"m"}`)
	want(t, p.next("problem"), "code", "forbidden", "missing", "call:calc")
	q.send(`{"op":"serve","topic":"calc"}`)
	want(t, q.next("problem"), "code", "forbidden", "missing", "serve:calc")
	p.send(`{"op":"serve","topic":"calc","window":10}`)
	p.next("serving")
	q.send(`{"op":"call","ref":"2","topic":"calc","method":"m"}`)
	first := p.next("request")

	// The grant goes: nothing more is given, and what was can be answered.
	g.admin.do("PATCH", "/accounts/provider", object{"grants": list{"call:other"}}, root).want(200)
	want(t, p.next("ended"), "sub", "1", "code", "forbidden")
	p.send(`{"op":"answer","call":%q,"result":"still"}`, first["call"])
	want(t, q.next("result"), "ref", "2", "result", "still")
	q.send(`{"op":"call","ref":"3","topic":"calc","method":"m"}`)
	want(t, q.next("problem"), "ref", "3", "code", "unavailable")

	// The credential goes, with a call in flight.
	g.admin.do("PATCH", "/accounts/provider", object{"grants": list{"serve:calc"}}, root).want(200)
	p.send(`{"op":"serve","topic":"calc","window":10}`)
	p.next("serving")
	q.send(`{"op":"call","ref":"4","topic":"calc","method":"m"}`)
	p.next("request")
	began := time.Now()
	g.admin.do("DELETE", "/tokens/"+providerID, root).want(204)
	want(t, q.next("problem"), "ref", "4", "code", "provider_gone")
	if took := time.Since(began); took > promptly {
		t.Errorf("that took %v", took)
	}
	g.admin.do("DELETE", "/tokens/"+callerID, root).want(204)
	if _, _, err := q.ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the caller's socket ended with %v", err)
	}
}
