package cluster_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// pair starts two servers that know each other. The first has the topics.
func pair(t *testing.T, topics ...string) (owner, other *zbustest.Broker) {
	t.Helper()
	all := set(t, 2)
	c := connect(t, all[0].Addr)
	for _, topic := range topics {
		name, mask, _ := strings.Cut(topic, " ")
		fields := []string{"topic", name}
		if mask != "" {
			fields = append(fields, "topic_mask", mask)
		}
		c.ok("declare", fields...)
	}
	knows(t, all[1], all[0], topics...)
	return all[0], all[1]
}

// knows waits until a server knows that another has topics.
func knows(t *testing.T, b, owner *zbustest.Broker, topics ...string) {
	t.Helper()
	s := subscribe(t, b.Addr)
	for _, topic := range topics {
		name, _, _ := strings.Cut(topic, " ")
		for s.latest.ServerTable[owner.Addr].TopicTable[name].TopicName == "" {
			s.next()
		}
	}
}

// served checks an answer that another server has given.
func served(t *testing.T, m *wire.Message, by string, status int, body string) {
	t.Helper()
	if m.Status != status || body != "" && string(m.Body) != body || m.Get("zbus-served-by") != by {
		t.Fatalf("%d %q, served by %q: want %d %q by %s", m.Status, m.Body, m.Get("zbus-served-by"), status, body, by)
	}
}

func TestAnyServerServesATopic(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "orders", "Capital")
	c := connect(t, other.Addr)
	for i := range 20 {
		served(t, c.ask("produce", []byte(fmt.Sprint(i)), "topic", "orders", "tag", "x", "colour", "red"), owner.Addr, 200, "")
	}
	served(t, c.ask("produce", nil, "topic", "capital"), owner.Addr, 200, "") // as here, without regard to case
	// Explicit acks: the handles are those of the other server.
	served(t, c.ask("declare", nil, "topic", "orders", "consume_group", "g", "group_mask", "64", "group_ack_timeout", "600000"), owner.Addr, 200, "")
	id := c.send("consume", nil, "topic", "orders", "consume_group", "g", "window", "20")
	var got []*wire.Message
	for i := range 20 {
		m := c.receive()
		served(t, m, owner.Addr, 200, fmt.Sprint(i))
		if m.Get("id") != id || m.Get("tag") != "x" || m.Get("colour") != "red" || m.Get("offset") != fmt.Sprint(i) {
			t.Fatalf("%+v", m.Fields)
		}
		got = append(got, m)
	}
	for _, m := range got {
		served(t, c.ask("ack", nil, "topic", "orders", "consume_group", "g", "offset", m.Get("offset"), "handle", m.Get("handle")), owner.Addr, 200, "")
	}
	served(t, c.ask("query", nil, "topic", "orders", "consume_group", "g"), owner.Addr, 200, "")
	served(t, c.ask("unconsume", nil, "topic", "orders", "consume_group", "g"), owner.Addr, 200, "")
	served(t, c.ask("relocate", nil, "topic", "orders", "consume_group", "g", "to", "earliest"), owner.Addr, 200, "")
	served(t, c.ask("empty", nil, "topic", "orders"), owner.Addr, 200, "")
	served(t, c.ask("remove", nil, "topic", "orders", "consume_group", "g"), owner.Addr, 200, "")
	served(t, c.ask("query", nil, "topic", "orders", "consume_group", "g"), owner.Addr, 404, "ConsumeGroup(g) not found")
	served(t, c.ask("remove", nil, "topic", "orders"), owner.Addr, 200, "")
	if m := connect(t, owner.Addr).ask("query", nil, "topic", "orders"); m.Status != 404 {
		t.Errorf("%d: the topic is still there", m.Status)
	}
	// What no server has is not found, and a topic is declared here.
	served(t, c.ask("produce", nil, "topic", "nowhere"), "", 404, "Topic(nowhere) not found")
	served(t, c.ask("declare", nil, "topic", "capital"), "", 200, "")
	served(t, c.ask("produce", nil, "topic", "capital"), "", 200, "")
}

func TestRequestIsPassedOnOnce(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "orders")
	c := connect(t, other.Addr)
	if m := c.ask("produce", nil, "topic", "orders", "zbus-hop", "127.0.0.1:1"); m.Status != 404 {
		t.Errorf("%d %s", m.Status, m.Body)
	}
	// What passed on is not stored with the message, and neither is who passed it on.
	served(t, c.ask("produce", []byte("x"), "topic", "orders"), owner.Addr, 200, "")
	m := connect(t, owner.Addr).ask("consume", nil, "topic", "orders")
	if slices.ContainsFunc(m.Fields, func(f wire.Field) bool { return strings.HasPrefix(f.Name, "zbus-") }) {
		t.Errorf("%+v", m.Fields)
	}
}

// provided waits until a provider answers calls of a topic.
func provided(t *testing.T, c *client, topic string) {
	t.Helper()
	eventually(t, topic+" has a provider", func() bool {
		return strings.Contains(string(c.ask("query", nil, "topic", topic).Body), `"consumerCount":1`)
	})
}

func TestCallsGoToAnyServer(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "sums 2")
	for _, at := range []struct{ provider, caller string }{{owner.Addr, other.Addr}, {other.Addr, owner.Addr}, {other.Addr, other.Addr}} {
		p, c := connect(t, at.provider), connect(t, at.caller)
		p.send("consume", nil, "topic", "sums", "window", "10")
		provided(t, c, "sums") // by another connection, and maybe another server
		for range 3 {
			id := c.send("rpc", []byte("1+1"), "topic", "sums", "rpc_method", "add")
			call := p.receive()
			if string(call.Body) != "1+1" || call.Get("origin_id") == "" {
				t.Fatalf("%+v %q", call.Fields, call.Body)
			}
			p.send("route", []byte("2"), "recver", call.Get("sender"), "id", call.Get("origin_id"), "origin_status", "200", "ack", "0")
			answer := c.receive()
			if answer.Get("id") != id || answer.Status != 200 || string(answer.Body) != "2" {
				t.Fatalf("%v: %d %+v %q", at, answer.Status, answer.Fields, answer.Body)
			}
		}
		p.ok("unconsume", "topic", "sums")
	}
}

func TestCommandsOverHTTPGoToAnyServer(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "orders")
	get := func(path, body string) (http.Header, string) {
		t.Helper()
		req, err := http.NewRequest("POST", "http://"+other.Addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/html")
		req.Header.Set("X-Evil", "1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Zbus-Served-By") != owner.Addr {
			t.Fatalf("%s: %d %s %v: %v", path, resp.StatusCode, text, resp.Header, err)
		}
		return resp.Header, string(text)
	}
	get("/produce/orders", "<script>")
	h, body := get("/consume/orders", "")
	if body != "<script>" || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Evil") != "" ||
		h.Get("Zbus-Header-X-Evil") != "1" || h.Get("Content-Security-Policy") == "" || h.Get("Offset") != "0" {
		t.Errorf("%q %v", body, h)
	}
}

// passed makes a request to the API that another server has to answer.
func passed(t *testing.T, at, by *zbustest.Broker, method, path, body string, want int) map[string]any {
	t.Helper()
	resp, v := ask(t, at.Addr, method, path, body)
	if resp.StatusCode != want || resp.Header.Get("Zbus-Served-By") != by.Addr || len(resp.Header.Values("Cache-Control")) > 1 {
		t.Fatalf("%s %s: %s %v %v, want %d by %s", method, path, resp.Status, resp.Header, v, want, by.Addr)
	}
	return v
}

func TestTheAPIOfAnyServerServesATopic(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "a:b")
	at := "/topics/a%3Ab"
	for i := range 3 {
		passed(t, other, owner, "POST", at+"/messages", fmt.Sprintf(`{"body":"%d","tag":"x"}`, i), 201)
	}
	passed(t, other, owner, "POST", at+"/groups", `{"name":"g","settle":"explicit","ackTimeout":600000}`, 201)
	pulled := passed(t, other, owner, "POST", at+"/groups/g:pull", `{"max":2}`, 200)["deliveries"].([]any)
	if len(pulled) != 2 {
		t.Fatal(pulled)
	}
	handle := pulled[0].(map[string]any)["handle"].(string)
	passed(t, other, owner, "POST", at+"/groups/g:ack", `{"handles":["`+handle+`"]}`, 200)
	if browsed := passed(t, other, owner, "GET", at+"/messages?limit=10", "", 200)["messages"].([]any); len(browsed) != 3 {
		t.Error(browsed)
	}
	passed(t, other, owner, "GET", at+"/groups/nobody", "", 404)
	passed(t, other, owner, "POST", at+"/messages", `{"nonsense":1}`, 400)
	// A stream comes piece by piece.
	resp, err := http.Get("http://" + other.Addr + "/api/v1" + at + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatal(resp.Status, string(text))
	}
	in := bufio.NewReader(resp.Body)
	for range 3 {
		passed(t, other, owner, "POST", at+"/messages", `{"body":"x"}`, 201)
	}
	for seen := 0; seen < 3; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "data: {") {
			seen++
		}
	}
	// What passed through once, and a topic that nobody has, is answered here.
	if resp, v := ask(t, other.Addr, "GET", at, "", "Zbus-Hop", "x"); resp.StatusCode != 404 {
		t.Error(resp.Status, v)
	}
	if resp, v := ask(t, other.Addr, "GET", "/topics/none", ""); resp.StatusCode != 404 || resp.Header.Get("Zbus-Served-By") != "" {
		t.Error(resp.Status, v)
	}
}

func TestCallsOverHTTPGoToAnyServer(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "sums 2", "site 4")
	p := connect(t, owner.Addr)
	p.send("consume", nil, "topic", "sums", "window", "10")
	p.send("consume", nil, "topic", "site", "window", "10")
	for _, topic := range []string{"sums", "site"} {
		provided(t, connect(t, owner.Addr), topic)
	}
	go func() {
		for {
			call, err := p.r.Read()
			if err != nil {
				return
			}
			dst := wire.AppendRequestLine(nil, "GET", "/")
			kind, body := "application/json", `{"result":{"sum":2}}`
			if call.Get("topic") == "site" {
				kind, body = "message/http", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"
			}
			for _, f := range [][2]string{{"cmd", "route"}, {"recver", call.Get("sender")}, {"id", call.Get("origin_id")}, {"origin_status", "200"}, {"content-type", kind}} {
				dst = wire.AppendField(dst, f[0], f[1])
			}
			if _, err := p.conn.Write(wire.AppendBody(dst, []byte(body))); err != nil {
				return
			}
		}
	}()
	passed(t, other, owner, "POST", "/rpc/sums/add", `{"params":[1,1]}`, 200)
	resp, err := http.Get("http://" + other.Addr + "/proxy/site/index.html")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "page" || resp.Header.Get("Zbus-Served-By") != owner.Addr {
		t.Errorf("%s %q %v %v", resp.Status, body, resp.Header, err)
	}
}

// A login of the console counts at its own server.
func TestALoginIsNotPassedOn(t *testing.T) {
	t.Parallel()
	_, other := pair(t, "orders")
	request(t, other.Addr, "POST", "/accounts", `{"name":"boss","password":"a good password","roles":["admin"]}`, false)
	resp, v := ask(t, other.Addr, "POST", "/login", `{"account":"boss","password":"a good password"}`)
	cookie, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if resp.StatusCode != 200 || cookie == "" {
		t.Fatal(resp.Status, v)
	}
	// The one with the topic is no longer listed, as it has no token. It is known as a tracker, when it has told its table.
	eventually(t, "the login is refused for a topic of the other", func() bool {
		resp, v := ask(t, other.Addr, "GET", "/topics/orders", "", "Cookie", cookie)
		if resp.StatusCode != 421 && resp.StatusCode != 404 {
			t.Fatal(resp.Status, v)
		}
		return resp.StatusCode == 421
	})
}

// A client whose topics are on a server that is killed learns what it can: what it waits for is
// unknown, so its connection ends; what it asks for next is refused.
func TestServerWithTheTopicIsKilled(t *testing.T) {
	t.Parallel()
	other := zbustest.Start(t)
	owner := launch(t, t.TempDir(), "127.0.0.1:0", other.Addr)
	connect(t, owner.addr).ok("declare", "topic", "orders")
	s := subscribe(t, other.Addr)
	for s.latest.ServerTable[owner.addr].TopicTable["orders"].TopicName == "" {
		s.next()
	}
	waiting, idle := connect(t, other.Addr), connect(t, other.Addr)
	served(t, idle.ask("produce", nil, "topic", "orders"), owner.addr, 200, "")
	waiting.send("consume", nil, "topic", "orders", "window", "5")
	served(t, waiting.receive(), owner.addr, 200, "")
	owner.kill()
	if m, err := waiting.r.Read(); err == nil {
		t.Errorf("%d %s after the server was killed", m.Status, m.Body)
	}
	s.until(other.Addr)
	if m := idle.ask("produce", nil, "topic", "orders"); m.Status != 404 {
		t.Errorf("%d %s", m.Status, m.Body)
	}
}

// A server knows those that its tracker lists, also when these have not joined it.
func TestServersLearnOfEachOtherFromTheirTracker(t *testing.T) {
	t.Parallel()
	tracker := zbustest.Start(t)
	one := launch(t, t.TempDir(), "127.0.0.1:0", tracker.Addr)
	two := launch(t, t.TempDir(), "127.0.0.1:0", tracker.Addr)
	connect(t, two.addr).ok("declare", "topic", "orders")
	c := connect(t, one.addr)
	eventually(t, "the server knows the other's topic", func() bool { return c.ask("produce", nil, "topic", "orders").Status == 200 })
	served(t, c.ask("produce", nil, "topic", "orders"), two.addr, 200, "")
	if s := servers(t, one.addr); len(s) != 3 || s[two.addr]["state"] != "up" || s[two.addr]["topics"] != 1.0 {
		t.Errorf("%v", s)
	}
	two.kill()
	eventually(t, "the server no longer knows the other", func() bool { return servers(t, one.addr)[two.addr] == nil })
}

// The credential of the client goes with what it asks for, and counts at both servers.
func TestBothServersAskWhatOneMayDo(t *testing.T) {
	t.Parallel()
	owner, other := zbustest.Start(t), zbustest.Start(t)
	var tokens string
	for _, x := range []struct {
		b     *zbustest.Broker
		grant string
	}{{owner, "publish:open.a"}, {other, "publish:open.#"}} {
		tokens += x.b.Addr + " " + guard(t, x.b, "servers", "join", true) + "\n"
		request(t, x.b.Addr, "POST", "/accounts", `{"name":"shop","password":"another good one","grants":["`+x.grant+`"]}`, true)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	boss := "Basic " + base64.StdEncoding.EncodeToString([]byte("boss:a good password"))
	for _, b := range []*zbustest.Broker{owner, other} {
		b.Configure(func(c *config.Config) { c.Trackers, c.TrackerTokenFile = []string{owner.Addr, other.Addr}, file })
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"open.a", "open.b", "secret"} {
		connect(t, owner.Addr).ok("declare", "topic", topic, "authorization", boss)
	}
	eventually(t, "the other server knows the topics", func() bool {
		m := connect(t, other.Addr).ask("tracker", nil, "authorization", boss)
		return len(table(t, m).ServerTable[owner.Addr].TopicTable) == 3
	})
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("shop:another good one"))
	ws, _, err := websocket.Dial(t.Context(), "ws://"+other.Addr+"/", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {basic}}}) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	overWebSocket := func(topic string) *wire.Message {
		dst := wire.AppendField(wire.AppendField(wire.AppendField(wire.AppendRequestLine(nil, "GET", "/"), "cmd", "produce"), "id", "1"), "topic", topic)
		if err := ws.Write(t.Context(), websocket.MessageBinary, wire.AppendBody(dst, []byte("x"))); err != nil {
			t.Fatal(err)
		}
		_, frame, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.NewReader(bytes.NewReader(frame), wire.Limits{}).Read()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	c := connect(t, other.Addr)
	served(t, c.ask("produce", nil, "topic", "open.a"), "", 401, "")
	c = connect(t, other.Addr)
	served(t, c.ask("produce", nil, "topic", "open.a", "authorization", basic), owner.Addr, 200, "")
	for _, ask := range []func(topic string) *wire.Message{overWebSocket, func(topic string) *wire.Message { return c.ask("produce", nil, "topic", topic) }} {
		served(t, ask("open.a"), owner.Addr, 200, "")
		served(t, ask("open.b"), owner.Addr, 404, "") // may not at the other
		served(t, ask("secret"), "", 404, "")         // may not here
	}
	served(t, c.ask("consume", nil, "topic", "open.a"), "", 403, "")
	served(t, c.ask("unconsume", nil, "topic", "secret"), "", 404, "") // nothing says that it is there
	m := connect(t, owner.Addr).ask("consume", nil, "topic", "open.a", "authorization", boss)
	if m.Status != 200 || m.Get("authorization") != "" {
		t.Errorf("%d %+v", m.Status, m.Fields)
	}
}

// The API's WebSocket serves the topics of all servers, too.
func TestTheWebSocketOfAnyServerServesATopic(t *testing.T) {
	t.Parallel()
	owner, other := pair(t, "orders")
	connect(t, other.Addr).ok("declare", "topic", "here")
	ws, _, err := websocket.Dial(t.Context(), "ws://"+other.Addr+"/api/v1/ws", nil) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	say := func(format string, args ...any) {
		t.Helper()
		if err := ws.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(kind string) (v map[string]any) {
		t.Helper()
		_, frame, err := ws.Read(t.Context())
		if err == nil {
			err = json.Unmarshal(frame, &v)
		}
		if err != nil || v["type"] != kind {
			t.Fatalf("%s, %v: want %s", frame, err, kind)
		}
		return v
	}
	names := map[string]string{}
	for _, topic := range []string{"here", "orders"} {
		say(`{"op":"subscribe","ref":"a","topic":%q,"settle":"explicit","window":5}`, topic)
		names[topic] = hear("subscribed")["sub"].(string)
	}
	if names["here"] == names["orders"] {
		t.Errorf("%v", names)
	}
	for i, topic := range []string{"here", "orders", "here", "orders"} {
		say(`{"op":"publish","ref":"p","topic":%q,"messages":[{"body":"%d"}]}`, topic, i)
		var m map[string]any
		for n, published := 0, false; n < 2; n++ { // in either order
			_, frame, err := ws.Read(t.Context())
			var v map[string]any
			if err != nil || json.Unmarshal(frame, &v) != nil {
				t.Fatal(err)
			}
			if v["type"] == "published" && !published {
				published = true
			} else if m = v; v["type"] == "problem" {
				t.Fatalf("%s", frame)
			}
		}
		message, _ := m["message"].(map[string]any)
		if m["sub"] != names[topic] || message["body"] != fmt.Sprint(i) {
			t.Fatalf("%v", m)
		}
		say(`{"op":"ack","ref":"k","sub":%q,"handles":[%q]}`, names[topic], message["handle"])
		hear("ok")
	}
	say(`{"op":"unsubscribe","ref":"u","sub":%q}`, names["orders"])
	hear("ok")
	say(`{"op":"unsubscribe","ref":"u","sub":%q}`, names["orders"])
	hear("problem")
	say(`{"op":"unsubscribe","ref":"u","sub":"s7:1"}`)
	hear("problem")
	say(`{"op":"publish","ref":"n","topic":"nowhere","messages":[{"body":""}]}`)
	if p := hear("problem"); p["code"] != "not_found" {
		t.Errorf("%v", p)
	}
	if err := owner.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, frame, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("%s, %v after the server with the topic has stopped", frame, err)
	}
	if err := owner.Restart(); err != nil {
		t.Fatal(err)
	}
}

// Where access is off any server may join, so credentials stay where they were sent.
func TestCredentialsStayWhereAccessIsOff(t *testing.T) {
	t.Parallel()
	owner, other := zbustest.Start(t), zbustest.Start(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(guard(t, owner, "servers", "join", true)), 0o600); err != nil {
		t.Fatal(err)
	}
	other.Configure(func(c *config.Config) { c.Trackers, c.TrackerTokenFile = []string{owner.Addr}, file })
	if err := other.Restart(); err != nil {
		t.Fatal(err)
	}
	boss := "Basic " + base64.StdEncoding.EncodeToString([]byte("boss:a good password"))
	connect(t, owner.Addr).ok("declare", "topic", "orders", "authorization", boss)
	eventually(t, "the other server knows the topic", func() bool {
		return connect(t, other.Addr).ask("produce", nil, "topic", "orders").Status == 401
	})
	served(t, connect(t, other.Addr).ask("produce", nil, "topic", "orders", "authorization", boss), owner.Addr, 401, "")
	resp, v := ask(t, other.Addr, "GET", "/topics/orders", "", "Authorization", boss)
	if resp.StatusCode != 401 || resp.Header.Get("Zbus-Served-By") != owner.Addr {
		t.Errorf("%s %v", resp.Status, v)
	}
	for path, frame := range map[string]string{
		"/api/v1/ws": `{"op":"publish","topic":"orders","messages":[{"body":"x"}]}`,
		"/":          "GET / HTTP/1.1\r\ncmd: produce\r\ntopic: orders\r\nid: 1\r\ncontent-length: 0\r\n\r\n",
	} {
		ws, _, err := websocket.Dial(t.Context(), "ws://"+other.Addr+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {boss}}}) //nolint:bodyclose // there is none
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(answer), "401") {
			t.Errorf("%s: %s, %v", path, answer, err)
		}
	}
}
