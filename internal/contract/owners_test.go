package contract

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// owner is an account with limits that may create topics, and one that owns nothing.
func (g *guarded) owner(limits object) (token, other string) {
	g.t.Helper()
	token, _ = g.account("shop", []string{"publisher", "consumer", "operator"})
	other, _ = g.account("other", []string{"publisher"})
	g.limit("shop", limits)
	return token, other
}

func TestPublishingOverWhatTheOwnerMayStoreIsRefusedEverywhere(t *testing.T) {
	g := startGuarded(t)
	token, other := g.owner(object{"stored": 1000})
	g.admin.post("/topics", object{"name": "t", "retention": object{"maxCount": "1000"}}, as(token)).want(201)
	if got := g.admin.get("/topics/t", as(token)).str("owner"); got != "shop" {
		t.Errorf("the topic is owned by %q", got)
	}
	g.admin.post("/topics/t/groups", object{"name": "g", "settle": "explicit"}, as(token)).want(201)
	body := strings.Repeat("x", 900)
	publish := func(token string) *reply {
		return g.admin.do("POST", "/topics/t/messages", object{"body": body}, as(token), anyway)
	}
	publish(token).want(201)
	for name, who := range map[string]string{"the owner": token, "another": other} { // it is the topic that counts
		r := publish(who)
		r.refused(429, "quota", "account shop owns Topic(t)")
		r.refused(429, "quota", "raise the limit stored")
		if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 1 || wait > 10 {
			t.Errorf("%s: Retry-After: %q", name, r.header.Get("Retry-After"))
		}
	}
	n := g.native(t)
	n.send("produce topic=t id=1 token=" + other + " content-length=900")
	if _, err := n.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	_ = n.SetReadDeadline(time.Now().Add(patience))
	if m, err := n.r.Read(); err != nil || m.Status != 429 || m.Get("retry-after") == "" || !strings.Contains(string(m.Body), "account shop owns") {
		t.Errorf("native: %+v %v", m, err)
	}
	if got := g.curl(t, "/produce/t?body="+body, other); got[:3] != "429" {
		t.Errorf("by URL: %s", got)
	}
	g.admin.do("POST", "/messages:transaction", object{"messages": list{object{"topic": "t", "body": body}}}, as(other), anyway).refused(429, "quota", "account shop owns")
	ws := g.socket(t, other)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"publish","ref":"1","topic":"t","messages":[{"body":"`+body+`"}]}`)); err != nil {
		t.Fatal(err)
	}
	if a := socketAnswer(t, ws); a["code"] != "quota" {
		t.Errorf("WebSocket: %v", a)
	}
	g.refusals("shop", 6)
	g.refusals("other", 0)
	g.stillWorksWhenFull(token)
	publish(other).want(201)
}

// refusals are those in the metrics for a limit of an account, whichever client was refused.
func (g *guarded) refusals(account string, want int) {
	g.t.Helper()
	if line := fmt.Sprintf("\nzbus_account_refused_total{account=%q} %d\n", account, want); !strings.Contains(g.metrics(), line) && want > 0 {
		g.t.Errorf("the metrics do not say %q", line)
	} else if none := fmt.Sprintf("zbus_account_refused_total{account=%q} ", account); want == 0 && strings.Contains(g.metrics(), none) && !strings.Contains(g.metrics(), none+"0\n") {
		g.t.Errorf("%s was refused something by a limit of its own", account)
	}
}

// stillWorksWhenFull does what a limit of stored bytes must not hold up, and makes room.
func (g *guarded) stillWorksWhenFull(token string) {
	t := g.t
	t.Helper()
	u := g.admin.get("/accounts/shop", as(g.token))
	if stored := u.num("usage.stored"); stored < 900 || stored > 1000 || u.num("usage.topics") != 1 {
		t.Errorf("shop uses %s", u.raw)
	}
	if own := g.admin.get("/whoami", as(token)); own.num("usage.stored") != u.num("usage.stored") {
		t.Errorf("whoami says %s", own.raw)
	}
	pulled := g.admin.post("/topics/t/groups/g:pull", object{}, as(token)).want(200)
	g.admin.post("/topics/t/groups/g:ack", object{"handles": list{pulled.str("deliveries.0.handle")}}, as(token), anyway).want(200)
	plan := g.admin.post("/topics/t/groups/g/plans", object{"to": "earliest"}, as(token)).want(201).str("id")
	g.admin.post("/plans/"+plan+":apply", object{}, as(token), anyway).want(200)
	g.admin.do("PATCH", "/topics/t", object{"retention": object{"maxBytes": "1"}}, as(token)).want(200)
	eventually(t, "retention makes room", func() bool { return g.admin.get("/accounts/shop", as(g.token)).num("usage.stored") == 0 })
}

func TestTopicsOverTheLimitAreNotCreated(t *testing.T) {
	g := startGuarded(t)
	token, other := g.owner(object{"topics": 1})
	g.admin.post("/topics", object{"name": "a"}, as(token)).want(201)
	r := g.admin.do("POST", "/topics", object{"name": "b"}, as(token), anyway)
	r.refused(429, "quota", "account shop owns 1 topics, and may own 1: nothing was created")
	if r.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	if status, text := g.ask(t, "declare", "topic=b", token); status != 429 || !strings.Contains(text, "may own 1") {
		t.Errorf("declare: %d %s", status, text)
	}
	g.admin.do("PATCH", "/topics/a", object{"owner": ""}, as(token), anyway).refused(403, "forbidden", "admin")
	g.admin.do("PATCH", "/topics/a", object{"owner": "nobody"}, as(token), anyway).refused(403, "forbidden", "admin")
	g.admin.do("PATCH", "/topics/a", object{"owner": "nobody"}, as(g.token), anyway).refused(400, "invalid", "there is no such account")
	g.admin.do("PATCH", "/topics/a", object{"owner": "Other"}, as(g.token)).want(200)
	if got := g.admin.get("/topics/a", as(g.token)).str("owner"); got != "other" {
		t.Errorf("the topic is owned by %q", got)
	}
	g.admin.post("/topics", object{"name": "b"}, as(token)).want(201)
	g.admin.do("POST", "/topics", object{"name": "c"}, as(token), anyway).refused(429, "quota", "may own 1")
	g.admin.do("DELETE", "/topics/b", as(token), anyway).want(http.StatusNoContent)
	g.admin.post("/topics", object{"name": "c"}, as(token)).want(201)
	g.refusals("shop", 3)
	_ = other
}
