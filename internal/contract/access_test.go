package contract

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
)

// guarded is a broker with access on, and its administrator.
type guarded struct {
	*instance
	t     testing.TB
	admin *client
	token string // the administrator's

	unchecked *client // for what is asked often; other tests check it
}

func startGuarded(t testing.TB, set ...func(*config.Config)) *guarded {
	t.Helper()
	return guard(t, start(t, append(set, func(c *config.Config) { c.Auth = config.AuthOn })...))
}

// guard sets the administrator of a broker.
func guard(t testing.TB, b *instance) *guarded {
	t.Helper()
	g := &guarded{instance: b, t: t, admin: b.client(t), unchecked: &client{t, &http.Client{Timeout: patience}, b.addr}}
	if b.setup == "" {
		t.Fatal("there is no secret to set the first administrator with")
	}
	r := g.admin.post("/setup", object{"secret": b.setup, "account": "root", "password": "a good password"}).want(200)
	cookie := strings.Split(r.header.Get("Set-Cookie"), ";")[0]
	r = g.admin.post("/tokens", object{"account": "root"}, header{"Cookie", cookie}, anyway).want(201)
	g.token = r.str("token")
	return g
}

// as is the header that says who asks.
func as(token string) header { return header{"Authorization", "Bearer " + token} }

// account adds an account with a token.
func (g *guarded) account(name string, roles []string, grants ...string) (token, id string) {
	g.t.Helper()
	g.admin.post("/accounts", object{"name": name, "roles": listOf(roles), "grants": listOf(grants)}, as(g.token)).want(201)
	r := g.admin.post("/tokens", object{"account": name}, as(g.token)).want(201)
	return r.str("token"), r.str("id")
}

func listOf(texts []string) list {
	l := list{}
	for _, s := range texts {
		l = append(l, s)
	}
	return l
}

// subject is an account of the matrix, with what it may do: written down here once more,
// so that it is not the broker that says what is right.
type subject struct {
	name   string
	roles  []string
	grants []string
	may    map[string]bool // verb, "verb t", "verb t/g"
	sees   bool            // topic t
}

var topicVerbs = []string{"publish", "consume", "browse", "manage", "move", "call", "serve"}

func may(things ...string) map[string]bool {
	m := map[string]bool{}
	for _, x := range things {
		m[x] = true
	}
	return m
}

func everything() map[string]bool {
	m := may("observe", "sessions", "access", "admin", "join")
	for _, v := range topicVerbs {
		m[v+" t"], m[v+" t/g"] = true, true
	}
	return m
}

var subjects = []subject{
	{"v", []string{"viewer"}, nil, may("observe", "browse t"), true},
	{"p", []string{"publisher"}, nil, may("publish t", "call t"), true},
	{"c", []string{"consumer"}, nil, may("consume t", "consume t/g", "serve t", "serve t/g"), true},
	{"o", []string{"operator"}, nil, may("observe", "sessions", "browse t", "manage t", "manage t/g", "move t", "move t/g"), true},
	{"a", []string{"admin"}, nil, everything(), true},
	{"publish-t", nil, []string{"publish:t"}, may("publish t"), true},
	{"consume-g", nil, []string{"consume:t/g"}, may("consume t/g"), true},
	{"consume-h", nil, []string{"consume:t/h"}, may(), true},
	{"manage-t", nil, []string{"manage:T"}, may("manage t", "manage t/g"), true},
	{"move-g", nil, []string{"move:#/g"}, may("move t/g"), true},
	{"other", nil, []string{"publish,consume,browse,manage,move:other.#"}, may(), false},
	{"access", nil, []string{"access"}, may("access"), false},
	{"nothing", nil, nil, may(), false},
}

// allows says what the matrix says. need is "verb", "verb t" or "verb t/g"; "see t" and "see"
// are for who sees the topic, and who has said who it is.
func (s *subject) allows(need string) bool {
	if either, or, ok := strings.Cut(need, "|"); ok {
		return s.allows(either) || s.allows(or)
	}
	switch need {
	case "nothing", "see":
		return true
	case "see t", "see t/g":
		return s.sees
	}
	return s.may[need]
}

// fixture is what the requests of the matrix are about.
func (g *guarded) fixture() (plan, entry string) {
	root := as(g.token)
	g.unchecked.do("POST", "/topics", object{"name": "t"}, root)
	g.unchecked.do("POST", "/topics/t/groups", object{"name": "g", "settle": "explicit"}, root)
	entry = g.unchecked.get("/topics/t/groups/g/journal", root).str("entries.0.id")
	return g.unchecked.post("/topics/t/groups/g/plans", object{"to": "earliest"}, root).want(201).str("id"), entry
}

// asked is a request that is right, and what it takes, by operation.
type asked struct {
	need   string
	method string
	path   string
	body   any
}

func requests() map[string]asked {
	group := "/topics/t/groups/g"
	return map[string]asked{
		"getServer": {"see", "GET", "/server", nil}, "confirmClock": {"admin", "POST", "/server:confirm-clock", nil}, "listServers": {"see", "GET", "/servers", nil}, "getCluster": {"observe", "GET", "/cluster", nil},
		"drainServer": {"admin", "POST", "/servers/10.1.2.3:1:drain", nil}, "undrainServer": {"admin", "POST", "/servers/10.1.2.3:1:undrain", nil},
		"getStats": {"observe", "GET", "/stats", nil}, "getTopicStats": {"see", "GET", "/stats/topics", nil}, "getAttention": {"observe", "GET", "/attention", nil},
		"listTopics": {"see", "GET", "/topics", nil}, "createTopic": {"manage t", "POST", "/topics", object{"name": "t"}}, "getTopic": {"see t", "GET", "/topics/t", nil},
		"updateTopic": {"manage t", "PATCH", "/topics/t", object{"retention": object{"maxCount": "1000"}}}, "deleteTopic": {"move t", "DELETE", "/topics/t", nil},
		"putTopic": {"manage t", "PUT", "/topics/t", object{"retention": object{"maxCount": "1000"}}}, "putGroup": {"consume t/g|manage t/g", "PUT", group, object{"settle": "explicit"}},
		"emptyTopic": {"move t", "POST", "/topics/t:empty", nil}, "pauseTopic": {"manage t", "POST", "/topics/t:pause", nil}, "resumeTopic": {"manage t", "POST", "/topics/t:resume", nil},
		"acceptTopic": {"move t", "POST", "/topics/t:accept", nil}, "publish": {"publish t", "POST", "/topics/t/messages", object{"body": "x"}},
		"browseMessages": {"browse t", "GET", "/topics/t/messages", nil}, "getMessage": {"browse t", "GET", "/topics/t/messages/0", nil},
		"getHistogram": {"browse t", "GET", "/topics/t/histogram", nil}, "getTags": {"browse t", "GET", "/topics/t/tags", nil},
		"getTopicHistory": {"see t", "GET", "/topics/t/stats", nil}, "getGroupHistory": {"see t", "GET", group + "/stats", nil},
		"listDeadLetters": {"browse t", "GET", "/topics/t/dead-letters", nil}, "redriveMessages": {"move t", "POST", "/topics/t/messages:redrive", object{}},
		"testFilter":   {"browse t", "POST", "/topics/t/filters:test", object{"filter": "a"}},
		"streamEvents": {"consume t", "GET", "/topics/t/events", nil}, // it does not end: see opened
		"listServices": {"see", "GET", "/rpc", nil}, "getService": {"see t", "GET", "/rpc/t", nil}, "callService": {"call t", "POST", "/rpc/t", object{}}, "callMethod": {"call t", "POST", "/rpc/t/m", list{}},
		"listGroups": {"see t", "GET", "/topics/t/groups", nil}, "createGroup": {"consume t/g|manage t/g", "POST", "/topics/t/groups", object{"name": "g", "settle": "explicit"}},
		"getGroup": {"see t", "GET", group, nil}, "updateGroup": {"manage t/g", "PATCH", group, object{"filter": "a"}}, "deleteGroup": {"move t/g", "DELETE", group, nil},
		"pull": {"consume t/g", "POST", group + ":pull", object{"max": 1}}, "ack": {"consume t/g", "POST", group + ":ack", object{"handles": list{"0.x"}}},
		"nack": {"consume t/g", "POST", group + ":nack", object{"handles": list{"0.x"}}}, "extend": {"consume t/g", "POST", group + ":extend", object{"handles": list{"0.x"}}},
		"planRelocation": {"move t/g", "POST", group + "/plans", object{"to": "earliest"}}, "getPlan": {"move t/g", "GET", "/plans/PLAN", nil},
		"applyPlan": {"move t/g", "POST", "/plans/PLAN:apply", nil}, "listJournal": {"see t", "GET", group + "/journal", nil}, "revert": {"move t/g", "POST", "/journal/ENTRY:revert", nil},
		"transact":     {"publish t", "POST", "/messages:transaction", object{"messages": list{object{"topic": "t", "body": "x"}}}},
		"listSessions": {"sessions", "GET", "/sessions", nil}, "closeSessions": {"sessions", "DELETE", "/sessions?topic=nothing", nil}, "closeSession": {"sessions", "DELETE", "/sessions/none", nil},
		"listAudit": {"sessions", "GET", "/audit", nil}, "exportDefinitions": {"observe", "GET", "/definitions", nil},
		"importDefinitions": {"admin", "POST", "/definitions?dryRun=true", object{"topics": list{}}}, "getBackup": {"admin", "GET", "/backup", nil},
		"whoami": {"nothing", "GET", "/whoami", nil}, "login": {"nothing", "POST", "/login", object{"account": "root", "password": "a good password"}},
		"createTicket": {"see", "POST", "/tickets", nil}, "beginSignOn": {"nothing", "POST", "/sign-on", nil}, "finishSignOn": {"nothing", "PUT", "/sign-on", object{"code": "x", "state": "y"}},
		"setup": {"nothing", "POST", "/setup", object{"secret": 1}}, "logout": {"nothing", "DELETE", "/login", nil},
		"checkAccess":  {"access", "POST", "/access:check", object{"account": "root", "verb": "admin"}},
		"listAccounts": {"access", "GET", "/accounts", nil}, "createAccount": {"access", "POST", "/accounts", object{"name": "root"}}, "getAccount": {"access", "GET", "/accounts/none", nil},
		"updateAccount": {"access", "PATCH", "/accounts/none", object{}}, "deleteAccount": {"access", "DELETE", "/accounts/none", nil},
		"setPassword": {"access", "PUT", "/accounts/none/password", object{"password": "a good password"}},
		"listRoles":   {"access", "GET", "/roles", nil}, "putRole": {"access", "PUT", "/roles/viewer", object{"grants": list{}}}, "deleteRole": {"access", "DELETE", "/roles/none", nil},
		"listTokens": {"see", "GET", "/tokens", nil}, "createToken": {"access", "POST", "/tokens", object{"account": "none"}},
		"revokeToken": {"access", "DELETE", "/tokens/none", nil}, "rotateToken": {"access", "POST", "/tokens/none:rotate", nil},
	}
}

// judge checks a status against what the matrix says of a subject and a need. missing is
// the grant that a refusal names.
func (s *subject) judge(t *testing.T, what, need string, status int, missing string) {
	t.Helper()
	ofTopic := strings.Contains(need, " ")
	creates := strings.HasPrefix(what, "createTopic") || strings.HasSuffix(what, "declare") // says the same whether there is one or not
	switch {
	case s.allows(need):
		if status == 401 || status == 403 {
			t.Errorf("%s by %s: refused with %d, it takes %s", what, s.name, status, need)
		}
	case ofTopic && !s.sees && !creates:
		if status != 404 {
			t.Errorf("%s by %s: %d, although it may not see the topic", what, s.name, status)
		}
	case status != 403:
		t.Errorf("%s by %s: %d, it takes %s", what, s.name, status, need)
	case missing != "" && !strings.Contains(need, "|") && missing != strings.Replace(need, " ", ":", 1) && missing != strings.Replace(strings.TrimSuffix(need, "/g"), " ", ":", 1):
		t.Errorf("%s by %s: %q is said to be missing, not %s", what, s.name, missing, need)
	}
}

// Each operation is for who has what the document says that it takes, and for nobody else.
func TestOperationsTakeTheirPermission(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	table := requests()
	tokens := map[string]string{}
	for _, s := range subjects {
		tokens[s.name], _ = g.account(s.name, s.roles, s.grants...)
	}
	bad := g.badTokens()
	c := g.client(t)
	for _, op := range theContract().operations {
		x, ok := table[op.id]
		if !ok {
			t.Errorf("%s is not in the matrix", op.id)
			continue
		}
		ask := func(who ...any) *reply {
			plan, entry := g.fixture()
			path := strings.NewReplacer("PLAN", plan, "ENTRY", entry).Replace(x.path)
			if x.body != nil {
				who = append(who, x.body)
			}
			if op.id == "streamEvents" {
				return c.opened(x.method, path, who...)
			}
			return c.do(x.method, path, append(who, anyway)...)
		}
		for name, token := range bad {
			if r := ask(as(token)); r.status != 401 && r.status != 429 {
				t.Errorf("%s with a token that is %s: %d %s", op.id, name, r.status, r.raw)
			}
		}
		if r := ask(); (r.status == 401) != (x.need != "nothing") {
			t.Errorf("%s without a token: %d %s", op.id, r.status, r.raw)
		}
		for _, s := range subjects {
			r := ask(as(tokens[s.name]))
			problem, _ := r.value.(object)
			missing, _ := problem["missing"].(string)
			missing, _, _ = strings.Cut(missing, "/~") // a group of the stream's own
			s.judge(t, op.id, x.need, r.status, missing)
		}
	}
}

// opened asks for what does not end, and reads only what comes instead.
func (c *client) opened(method, path string, args ...any) *reply {
	c.t.Helper()
	req, err := c.request(method, base+path, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	r := &reply{t: c.t, status: resp.StatusCode, header: resp.Header}
	if r.status == http.StatusOK {
		return r
	}
	if r.raw, err = io.ReadAll(resp.Body); err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(r.raw, &r.value); err != nil {
		c.t.Fatalf("%s: %s", err, r.raw)
	}
	return r
}

// badTokens are tokens of an administrator that are no longer good, or never were.
func (g *guarded) badTokens() map[string]string {
	root := as(g.token)
	revoked, id := g.account("gone", []string{"admin"})
	g.admin.do("DELETE", "/tokens/"+id, root).want(204)
	soon := time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)
	expired := g.admin.post("/tokens", object{"account": "gone", "expires": soon}, root).want(201).str("token")
	eventually(g.t, "the token expires", func() bool { return g.admin.do("GET", "/whoami", as(expired)).status == 401 })
	disabled, _ := g.account("disabled", []string{"admin"})
	g.admin.do("PATCH", "/accounts/disabled", object{"disabled": true}, root).want(200)
	return map[string]string{
		"revoked": revoked, "expired": expired, "of a disabled account": disabled,
		"unknown": "zb_aaaaaaaa_" + strings.Repeat("b", 52), "wrong": revoked[:12] + strings.Repeat("c", 52), "none at all": "hello",
	}
}

// commands are the commands of the native protocol, with what they take. Each is of the
// topic t, and most of its group g.
var commands = map[string]struct{ need, args string }{
	"produce": {"publish t", ""}, "rpc": {"publish t", ""}, "consume": {"consume t/g", "consume_group=g timeout=1"}, "unconsume": {"see t", "consume_group=g"},
	"route": {"", ""}, "heartbeat": {"", ""}, // have no answer
	"describe": {"serve t", ""}, "ack": {"consume t/g", "consume_group=g offset=0 handle=x"}, "nack": {"consume t/g", "consume_group=g offset=0 handle=x"},
	"extend": {"consume t/g", "consume_group=g offset=0 handle=x"}, "declare": {"see t", ""}, "query": {"see t", "consume_group=g"},
	"remove": {"move t/g", "consume_group=g"}, "empty": {"move t/g", "consume_group=g"}, "relocate": {"move t/g", "consume_group=g to=earliest"},
	"tracker": {"see", ""}, "server": {"see", ""}, "track_sub": {"see", ""}, "track_pub": {"join", ""}, "track_probe": {"nothing", ""}, "ssl": {"nothing", ""}, "ping": {"nothing", ""},
}

// ask sends one command on a connection of its own, and gives the status and text of its
// answer.
func (g *guarded) ask(t *testing.T, cmd, args, token string) (int, string) {
	t.Helper()
	n := g.native(t)
	defer func() { _ = n.Close() }()
	if token != "" {
		args += " token=" + token
	}
	n.send(cmd + " topic=t id=1 " + args)
	return n.answer(t)
}

// answer is the next frame, whatever its status is.
func (n *native) answer(t *testing.T) (int, string) {
	t.Helper()
	_ = n.SetReadDeadline(time.Now().Add(patience))
	m, err := n.r.Read()
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return m.Status, string(m.Body)
}

// So is each command of the native protocol, by frames and by URL.
func TestCommandsTakeTheirPermission(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	bad := g.badTokens()
	tokens := map[string]string{}
	for _, s := range subjects {
		tokens[s.name], _ = g.account(s.name, s.roles, s.grants...)
	}
	for cmd, x := range commands {
		if x.need == "" {
			continue
		}
		for name, token := range bad {
			if status, text := g.ask(t, cmd, x.args, token); status != 401 && status != 429 {
				t.Errorf("%s with a token that is %s: %d %s", cmd, name, status, text)
			}
			if status := g.got(t, "/"+cmd+"/t?"+strings.Join(strings.Fields(x.args), "&"), token); status != 401 && status != 429 {
				t.Errorf("/%s with a token that is %s: %d", cmd, name, status)
			}
		}
		if status, text := g.ask(t, cmd, x.args, ""); (status == 401) != (x.need != "nothing") {
			t.Errorf("%s without a token: %d %s", cmd, status, text)
		}
		for _, s := range subjects {
			g.fixture()
			status, _ := g.ask(t, cmd, x.args, tokens[s.name])
			s.judge(t, cmd, x.need, status, "")
			if cmd == "rpc" {
				continue // by URL it is a call, which a log refuses
			}
			g.fixture()
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr+"/"+cmd+"/t?"+strings.Join(strings.Fields(x.args), "&"), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+tokens[s.name])
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			s.judge(t, "/"+cmd, x.need, resp.StatusCode, "")
		}
	}
}

// socket connects as a page does, which can't set headers.
func (g *guarded) socket(t *testing.T, token string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/api/v1/ws", &websocket.DialOptions{Subprotocols: []string{"zbus", "zbus.token." + token}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if ws.Subprotocol() != "zbus" {
		t.Errorf("the subprotocol is %q", ws.Subprotocol())
	}
	return ws
}

// socketAnswer is the next frame that is no figures and no delivery.
func socketAnswer(t *testing.T, ws *websocket.Conn) object {
	t.Helper()
	for {
		_, data, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var m object
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains([]any{"figures", "tail", "message"}, m["type"]) {
			return m
		}
	}
}

// What begins while its credential is revoked does not outlive that: it is refused, or ended.
func TestNothingBeginsBesideARevocation(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	root := as(g.token)
	_, first := g.account("c", []string{"consumer", "viewer"})
	g.admin.do("DELETE", "/tokens/"+first, root).want(204)
	var pulls sync.WaitGroup
	for range 30 {
		made := g.admin.post("/tokens", object{"account": "c"}, root).want(201)
		token, id := made.str("token"), made.str("id")
		n := g.native(t)
		ws := g.socket(t, token)
		var begun sync.WaitGroup
		begun.Go(func() { n.send("consume topic=t consume_group=g id=1 token=" + token) })
		begun.Go(func() {
			_ = ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"subscribe","topic":"t","group":"g"}`))
		})
		pulls.Go(func() { // or it ends after a minute
			_, _ = g.client(t).try("POST", "/topics/t/groups/g:pull", object{"timeout": 60_000}, as(token))
		})
		g.admin.do("DELETE", "/tokens/"+id, root).want(204)
		begun.Wait()
	}
	began := time.Now()
	pulls.Wait()
	if took := time.Since(began); took > promptly {
		t.Errorf("pulls waited on for %v", took)
	}
	eventually(t, "nothing consumes", func() bool { return len(g.admin.get("/sessions?topic=t", root).list("sessions")) == 0 })
}

func endOf(err error) error {
	if strings.Contains(err.Error(), "timeout") {
		return err
	}
	return nil
}

// A connection stays when its account may do less, and what it may no longer do ends.
func TestALostGrantEndsASubscriptionAndKeepsTheConnection(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token, _ := g.account("c", nil, "consume,publish:t")
	n := g.native(t)
	n.send("consume topic=t consume_group=g id=1 token=" + token)
	eventually(t, "it consumes", func() bool { return len(g.admin.get("/sessions?topic=t", as(g.token)).list("sessions")) == 1 })
	g.admin.do("PATCH", "/accounts/c", object{"grants": list{"publish:t"}}, as(g.token)).want(200)
	if status, text := n.answer(t); status != 403 || !strings.Contains(text, "consume:t/g") {
		t.Errorf("the consume that waited: %d %s", status, text)
	}
	n.send("produce topic=t id=2") // the token holds for the connection
	if status, text := n.answer(t); status != 200 {
		t.Errorf("a publish on the same connection: %d %s", status, text)
	}
	n.send("consume topic=t consume_group=g id=3")
	if status, _ := n.answer(t); status != 403 {
		t.Errorf("another consume: %d", status)
	}
	if got := len(g.admin.get("/sessions?topic=t", as(g.token)).list("sessions")); got != 0 {
		t.Errorf("%d sessions consume", got)
	}
}

// A message may have another token than the connection.
func TestATokenHoldsForItsMessage(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	a, _ := g.account("a", nil, "publish:t")
	b, _ := g.account("b", nil, "observe")
	n := g.native(t)
	for _, x := range []struct {
		line   string
		status int
	}{
		{"produce topic=t id=1", 401},
		{"produce topic=t id=2 token=" + a, 200},
		{"produce topic=t id=3", 200},
		{"produce topic=t id=4 token=" + b, 403},
		{"produce topic=t id=5", 200},
		{"produce topic=t id=6 token=" + a, 200},
	} {
		n.send(x.line)
		if status, text := n.answer(t); status != x.status {
			t.Errorf("%s: %d %s, want %d", x.line, status, text, x.status)
		}
	}
	n.send("produce topic=t id=7 token=zb_x_y")
	if status, _ := n.answer(t); status != 401 {
		t.Errorf("a bad token: %d", status)
	}
	_ = n.SetReadDeadline(time.Now().Add(patience))
	if m, err := n.r.Read(); err == nil {
		t.Errorf("the connection lives on: %+v", m)
	}
}

// The lists that clients of the original get have what one may see.
func TestTablesHaveWhatOneMaySee(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	g.admin.post("/topics", object{"name": "secret"}, as(g.token)).want(201)
	some, _ := g.account("some", nil, "publish:t")
	all, _ := g.account("all", []string{"viewer"})
	for token, sees := range map[string]bool{some: false, all: true} {
		for _, cmd := range []string{"tracker", "server", "track_sub", "query"} {
			n := g.native(t)
			n.send(cmd + " id=1 token=" + token)
			status, text := n.answer(t)
			if status != 200 || !strings.Contains(text, `"t"`) || strings.Contains(text, `"secret"`) != sees {
				t.Errorf("%s: %d, sees the secret: %t", cmd, status, strings.Contains(text, `"secret"`))
			}
		}
		names := g.admin.get("/topics", as(token)).list("topics")
		if len(names) != map[bool]int{false: 1, true: 2}[sees] {
			t.Errorf("%d topics are listed", len(names))
		}
	}
	for _, url := range []string{"/secret", "/query/secret", "/produce/secret"} {
		unseen := g.curl(t, url, some)
		if none := g.curl(t, strings.Replace(url, "secret", "nowhere", 1), some); unseen != strings.ReplaceAll(none, "nowhere", "secret") {
			t.Errorf("%s: %q, and %q for what does not exist", url, unseen, none)
		}
	}
}

// curl is what a program without a browser's headers gets.
func (g *guarded) curl(t *testing.T, url, token string) string {
	t.Helper()
	n := g.native(t)
	if _, err := fmt.Fprintf(n, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nid: 1\r\n\r\n", url, g.addr, token); err != nil {
		t.Fatal(err)
	}
	status, text := n.answer(t)
	return fmt.Sprint(status, " ", text)
}

// The cookie of a login opens the API, and nothing that another site's page could ask for.
func TestACookieIsForTheAPIAlone(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	r := g.admin.post("/login", object{"account": "root", "password": "a good password"}).want(200)
	line := r.header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(line, part) {
			t.Errorf("the cookie %q lacks %s", line, part)
		}
	}
	cookie := header{"Cookie", strings.Split(line, ";")[0]}
	if r := g.admin.get("/whoami", cookie, anyway); r.str("account") != "root" {
		t.Errorf("%s", r.raw)
	}
	if r := g.admin.do("POST", "/topics/t:empty", cookie, anyway, header{"Origin", "http://evil.example"}, header{"Sec-Fetch-Site", "cross-site"}); r.status != 403 {
		t.Errorf("a page of another site empties a topic: %d", r.status)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr+"/produce/t", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", cookie.value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("a command with the cookie: %d", resp.StatusCode)
	}
	g.admin.do("DELETE", "/login", cookie, anyway).want(204)
	if r := g.admin.get("/whoami", cookie, anyway); r.value.(object)["account"] != nil {
		t.Errorf("after the logout: %s", r.raw)
	}
}

// What is done is on record under the account's name.
func TestAuditNamesTheAccount(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	token, id := g.account("o", []string{"operator"})
	g.admin.post("/topics/t:empty", as(token)).want(200)
	r := g.admin.get("/audit?action=topic.empty", as(g.token))
	if r.str("entries.0.actor") != "o" || r.str("entries.0.token") != id || !strings.HasPrefix(r.str("entries.0.address"), "127.0.0.1:") {
		t.Errorf("%s", r.raw)
	}
	g.admin.get("/audit?action=account.add&target=o", as(g.token))
	if r.str("entries.0.actor") == "" {
		t.Errorf("%s", r.raw)
	}
}

// A secret is in no file, log line, figure, list, backup or delivery, however it is given.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	var lines syncBuffer
	cfg := config.Default()
	cfg.Listen, cfg.Data, cfg.Auth, cfg.LogLevel = []string{"127.0.0.1:0"}, t.TempDir(), config.AuthOn, slog.LevelDebug
	g := guard(t, runLogged(t, cfg, slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	g.fixture()
	token, _ := g.account("c", []string{"consumer", "publisher", "viewer"})
	const password = "correct-horse-battery"
	g.admin.post("/accounts", object{"name": "person", "password": password, "roles": list{"admin"}}, as(g.token)).want(201)
	g.admin.post("/login", object{"account": "person", "password": password + "?"}).want(401)
	login := g.admin.post("/login", object{"account": "person", "password": password}).want(200)
	cookieName, cookie, _ := strings.Cut(strings.Split(login.header.Get("Set-Cookie"), ";")[0], "=")

	n := g.native(t)
	n.send("produce topic=t id=1 tag=a token=" + token)
	n.next()
	g.curl(t, "/produce/t?token="+token+"&body=x", token)
	basic := base64.StdEncoding.EncodeToString([]byte("person:" + password))
	for _, head := range []header{{"Authorization", "Basic " + basic}, {"Token", token}, {"Cookie", cookieName + "=" + cookie}} {
		g.admin.do("POST", "/topics/t/messages", object{"body": "x"}, head, anyway).want(201)
	}
	ws := g.socket(t, token)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"publish","topic":"t","messages":[{"body":"x"}]}`)); err != nil {
		t.Fatal(err)
	}
	socketAnswer(t, ws)
	var shown strings.Builder
	for _, path := range []string{"/sessions", "/audit", "/accounts", "/tokens", "/roles", "/definitions", "/topics/t/messages", "/whoami", "/server"} {
		shown.Write(g.admin.get(path, as(g.token)).raw)
	}
	shown.Write(g.admin.get("/backup", as(g.token), anyway).raw)
	n.send("consume topic=t consume_group=g window=10 id=2")
	for range 6 {
		m := n.next()
		for _, f := range m.Fields {
			shown.WriteString(f.Name + ": " + f.Value + "\n")
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+g.addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	figures, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(figures)
	g.stop(t)
	places := map[string]string{"what is shown": shown.String(), "the log": lines.String()}
	files, err := filepath.Glob(filepath.Join(g.cfg.Data, "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v %v", files, err)
	}
	for _, path := range files {
		if content, err := os.ReadFile(path); err == nil {
			places[path] = string(content)
		}
	}
	for place, content := range places {
		for name, secret := range map[string]string{
			"token": strings.SplitN(token, "_", 3)[2], "password": password, "basic": basic, "login": cookie, "setup": g.setup,
		} {
			if strings.Contains(content, secret) {
				t.Errorf("%s has the %s", place, name)
			}
		}
	}
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Accounts, roles and tokens come, change and go; what makes no sense is refused.
func TestAccountsRolesAndTokens(t *testing.T) {
	g := startGuarded(t)
	root, c := as(g.token), g.admin
	nobody, _ := g.account("nobody", nil)
	c.post("/setup", object{"secret": "x", "account": "eve", "password": "a good password"}).refused(401, "unauthorized", "link")
	c.post("/login", object{"account": "root", "password": "a bad password"}).refused(401, "unauthorized", "wrong")

	c.do("PUT", "/roles/shop", object{"grants": list{"publish:shop.#"}, "note": "sells"}, root).want(200)
	c.do("PUT", "/roles/viewer", object{"grants": list{}}, root).refused(409, "conflict", "built in")
	c.do("PUT", "/roles/shop", object{"grants": list{"sell:#"}}, root).refused(400, "invalid", "none of the verbs")

	r := c.post("/accounts", object{"name": "Ann", "password": "a good password", "roles": list{"shop"}}, root).want(201)
	if r.str("name") != "ann" || r.str("kind") != "person" || r.at("password") != true {
		t.Errorf("%s", r.raw)
	}
	c.post("/accounts", object{"name": "ann"}, root).refused(409, "exists", "ann")
	c.post("/accounts", object{"name": "bob", "roles": list{"none"}}, root).refused(404, "not_found", "role")
	c.get("/accounts/ANN", root)
	c.do("GET", "/accounts/none", root).refused(404, "not_found", "account")
	c.do("DELETE", "/roles/shop", root).refused(409, "conflict", "ann has it")
	c.do("PATCH", "/accounts/ann", object{"roles": list{}, "grants": list{"browse:#"}}, root).want(200)
	c.do("PATCH", "/accounts/none", object{}, root).refused(404, "not_found", "account")
	c.do("PATCH", "/accounts/root", object{"disabled": true}, root).refused(409, "conflict", "no account")
	c.do("DELETE", "/roles/shop", root).want(204)
	c.do("DELETE", "/roles/shop", root).refused(404, "not_found", "role")
	c.do("PUT", "/accounts/ann/password", object{"password": "short"}, root).refused(400, "invalid", "8 to 512")
	c.do("PUT", "/accounts/ann/password", object{"password": "another password"}, root).want(204)
	c.post("/login", object{"account": "ann", "password": "another password"}).want(200)

	c.post("/tokens", object{"account": "none"}, root).refused(404, "not_found", "account")
	id := c.post("/tokens", object{"account": "ann", "note": "n", "grants": list{"browse:a"}}, root).want(201).str("id")
	if got := len(c.get("/tokens?account=ann", root).list("tokens")); got != 1 {
		t.Errorf("%d tokens", got)
	}
	c.do("GET", "/tokens?account=none", root).refused(404, "not_found", "account")
	c.do("GET", "/tokens?account=ann", as(nobody)).refused(403, "forbidden", "access")
	c.post("/tokens/"+id+":rotate", root).want(200)
	c.post("/tokens/none:rotate", root).refused(404, "not_found", "token")
	c.do("DELETE", "/tokens/"+id, root).want(204)
	c.do("DELETE", "/tokens/"+id, root).refused(404, "not_found", "token")

	answer := c.post("/access:check", object{"account": "ann", "verb": "browse", "topic": "t"}, root).want(200)
	if answer.at("allowed") != true || answer.str("by") != "browse:#" {
		t.Errorf("%s", answer.raw)
	}
	c.post("/access:check", object{"account": "ann", "verb": "fly"}, root).refused(400, "invalid", "must be one of")
	c.do("DELETE", "/accounts/ann", root).want(204)
	c.do("DELETE", "/accounts/ann", root).refused(404, "not_found", "account")
}

// Over TLS the cookie of a login is one that no other host, port or plain page can set.
func TestALoginWorksOverTLS(t *testing.T) {
	certificates := httptest.NewTLSServer(nil) // for its certificate
	defer certificates.Close()
	cert, key := certtest.Write(t, t.TempDir(), &certificates.TLS.Certificates[0])
	b := start(t, func(c *config.Config) {
		c.Auth, c.TLSCert, c.TLSKey = config.AuthOn, cert, key
	})
	web := certificates.Client()
	ask := func(method, path, body, cookie string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+b.addr+base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Cookie", cookie)
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	line := ask("POST", "/setup", `{"secret":"`+b.setup+`","account":"root","password":"a good password"}`, "").Header.Get("Set-Cookie")
	if !strings.HasPrefix(line, "__Host-") || !strings.Contains(line, "Secure") {
		t.Errorf("the cookie is %q", line)
	}
	if resp := ask("GET", "/accounts", "", strings.Split(line, ";")[0]); resp.StatusCode != 200 {
		t.Errorf("with the cookie: %d", resp.StatusCode)
	}
	if resp := ask("GET", "/accounts", "", strings.TrimPrefix(strings.Split(line, ";")[0], "__Host-")); resp.StatusCode != 401 {
		t.Errorf("with the cookie of a plain page: %d", resp.StatusCode)
	}
}

// One has tokens of one's own account without any grant, and never with more than one has.
func TestOnesOwnTokens(t *testing.T) {
	g := startGuarded(t)
	g.fixture()
	c, root := g.admin, as(g.token)
	wide, wideID := g.account("shop", nil, "publish,consume:t")
	_, rootID := g.account("other", []string{"admin"})
	create := func(with string, spec object) *reply { return c.post("/tokens", spec, as(with)) }

	made := create(wide, object{"note": "mine"}).want(201)
	if made.str("account") != "shop" {
		t.Errorf("%s", made.raw)
	}
	create(wide, object{"account": "SHOP", "grants": list{"publish:#", "admin"}}).want(201) // it narrows what the account may
	for id, want := range map[string]int{rootID: 403, "none": 403, made.str("id"): 204} {
		if r := c.do("POST", "/tokens/"+id+":rotate", as(wide)); want == 403 && r.status != 403 {
			t.Errorf("rotate %s: %s", id, r.raw)
		}
		if r := c.do("DELETE", "/tokens/"+id, as(wide)); r.status != want {
			t.Errorf("revoke %s: %d %s", id, r.status, r.raw)
		}
	}
	create(wide, object{"account": "other"}).refused(403, "forbidden", "access")
	create(wide, object{"account": "none"}).refused(403, "forbidden", "access")
	c.do("GET", "/tokens?account=other", as(wide)).refused(403, "forbidden", "access")
	for _, path := range []string{"/tokens", "/tokens?account=shop"} {
		for _, x := range c.get(path, as(wide)).list("tokens") {
			if x.(object)["account"] != "shop" {
				t.Errorf("%s: %v", path, x)
			}
		}
	}

	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	narrow := create(wide, object{"grants": list{"publish:t"}, "expires": soon.Format(time.RFC3339Nano)}).want(201)
	token := narrow.str("token")
	create(token, object{"grants": list{"publish:#"}}).refused(403, "forbidden", "publish:#")
	create(token, object{"grants": list{"publish:t", "consume:t"}}).refused(403, "forbidden", "consume:t")
	create(token, object{"expires": soon.Add(time.Minute).Format(time.RFC3339Nano)}).refused(409, "conflict", "expires before")
	child := create(token, object{}).want(201)
	if child.at("grants").(list)[0] != "publish:t" || child.str("expires") != narrow.str("expires") {
		t.Errorf("a token of a narrow one: %s", child.raw)
	}
	c.post("/tokens/"+wideID+":rotate", as(token)).refused(409, "conflict", "good for longer")
	c.do("DELETE", "/tokens/"+wideID, as(token)).refused(409, "conflict", "good for longer")
	forever := create(wide, object{"grants": list{"publish:t"}}).want(201)
	create(forever.str("token"), object{"grants": list{"consume:t"}}).refused(403, "forbidden", "consume:t")
	c.post("/tokens/"+wideID+":rotate", as(forever.str("token"))).refused(403, "forbidden", "access")
	c.do("GET", "/topics/t/messages", as(child.str("token"))).refused(403, "forbidden", "browse:t")

	// What was created with a token ends with it, and is on record.
	grandchild := create(child.str("token"), object{}).want(201).str("token")
	r := c.get("/audit?action=token.create", root)
	if r.str("entries.0.actor") != "shop" || r.str("entries.0.token") != child.str("id") {
		t.Errorf("%s", r.raw)
	}
	c.do("DELETE", "/tokens/"+narrow.str("id"), root).want(204)
	for _, gone := range []string{token, child.str("token"), grandchild} {
		if r := c.do("GET", "/whoami", as(gone)); r.status != 401 {
			t.Errorf("it is still good: %s", r.raw)
		}
	}
	c.get("/whoami", as(forever.str("token")))

	// A person by its login; no longer when that is over.
	c.post("/accounts", object{"name": "ann", "password": "a good password"}, root).want(201)
	cookie := header{"Cookie", strings.Split(c.post("/login", object{"account": "ann", "password": "a good password"}).want(200).header.Get("Set-Cookie"), ";")[0]}
	if r := c.post("/tokens", object{}, cookie, anyway).want(201); r.str("account") != "ann" {
		t.Errorf("%s", r.raw)
	}
	c.do("DELETE", "/login", cookie, anyway).want(204)
	if r := c.post("/tokens", object{}, cookie, anyway); r.status != 401 {
		t.Errorf("after the logout: %s", r.raw)
	}
	create("", object{}).want(401)
	for range 98 {
		if r := create(wide, object{}); r.status != 201 {
			r.refused(400, "invalid", "100 tokens")
			return
		}
	}
	t.Error("there is no end to the tokens of an account")
}
