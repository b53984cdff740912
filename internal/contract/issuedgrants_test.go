package contract

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// granting has a broker believe the grants in tokens of an issuer.
func granting(c *config.Config) { c.SSOGrantsClaim = []string{"zbus.grants"} }

func claimed(grants any) object { return object{"zbus": object{"grants": grants}, "groups": nil} }

// A program without an account may do what the grants in its token say, by each protocol.
func TestGrantsInATokenOfTheIssuerHold(t *testing.T) {
	g, i := startTrusting(t, granting)
	g.fixture()
	g.admin.post("/topics/t/groups", object{"name": "shop"}, as(g.token)).want(201)
	for what, grants := range map[string]any{
		"a list": list{"publish:t", "consume:t/{account}"}, "a text": "publish:t  consume:t/shop", "with more verbs": list{"call,publish:t", "consume:t/sho+;shop"},
	} {
		token := i.program(claimed(grants))
		r := g.admin.get("/whoami", as(token))
		if r.str("account") != "shop" || len(r.list("roles")) != 0 || len(r.list("grants")) != 2 {
			t.Errorf("%s: %s", what, r.raw)
		}
		g.admin.post("/topics/t/messages", object{"body": "x"}, as(token)).want(201)
		g.admin.do("GET", "/topics/t/messages", as(token), anyway).refused(403, "forbidden", "browse:t")
		for line, want := range map[string]int{"produce": 200, "consume consume_group=g": 403, "empty": 403} {
			cmd, args, _ := strings.Cut(line, " ")
			if status, text := g.ask(t, cmd, args, token); status != want {
				t.Errorf("%s: %s: %d %s", what, line, status, text)
			}
		}
		ws := g.socket(t, token)
		for frame, want := range map[string]string{
			`{"op":"subscribe","topic":"t","group":"shop"}`: "subscribed", `{"op":"subscribe","topic":"t","group":"g"}`: "problem",
		} {
			if err := ws.Write(t.Context(), 1, []byte(frame)); err != nil {
				t.Fatal(err)
			}
			if m := socketAnswer(t, ws); m["type"] != want {
				t.Errorf("%s: %s: %v", what, frame, m)
			}
		}
		_ = ws.CloseNow()
	}
	// With groups it is both.
	r := g.admin.get("/whoami", as(i.program(object{"zbus": object{"grants": list{"publish:t"}}, "groups": "runners"})))
	if got := fmt.Sprint(r.list("roles")); got != "[operator]" || len(r.list("grants")) != 3 {
		t.Errorf("%s", r.raw)
	}
}

// An account that is stored counts, and the grants in a token leave a part of what it may do, for the tokens that are
// created with it as well.
func TestGrantsInATokenOfTheIssuerNarrowAnAccount(t *testing.T) {
	g, i := startTrusting(t, granting)
	g.fixture()
	before := i.program(claimed(list{"publish:t", "move:t"}))
	ws := g.socket(t, before)
	g.admin.post("/accounts", object{"name": "shop", "kind": "sso", "grants": list{"publish,browse:#"}}, as(g.token)).want(201)
	token := i.program(claimed(list{"publish:t", "consume:t"}))
	for _, may := range []string{token, before} {
		g.admin.post("/topics/t/messages", object{"body": "x"}, as(may)).want(201)
		g.admin.do("GET", "/topics/t/messages", as(may), anyway).refused(403, "forbidden", "browse:t")
		g.admin.post("/topics/t:empty", as(may), anyway).refused(403, "forbidden", "move:t")
		g.admin.post("/topics/t/groups/g:pull", object{"max": 1}, as(may), anyway).refused(403, "forbidden", "consume:t/g")
	}
	if err := ws.Write(t.Context(), 1, []byte(`{"op":"watch","channel":"tail","topic":"t"}`)); err != nil {
		t.Fatal(err)
	}
	if m := socketAnswer(t, ws); m["code"] != "forbidden" {
		t.Errorf("a socket that was open before: %v", m)
	}
	g.admin.get("/topics/t/messages", as(i.program(object{"groups": nil}))) // without the claim nothing is left out
	g.admin.post("/tokens", object{"grants": list{"browse:t"}}, as(token), anyway).refused(403, "forbidden", "browse:t")
	own := g.admin.post("/tokens", object{}, as(token)).want(201)
	if own.str("grants.0") != "publish:t" || own.str("expires") == "" {
		t.Errorf("a token that was created with it: %s", own.raw)
	}
	g.admin.do("GET", "/topics/t/messages", as(own.str("token")), anyway).refused(403, "forbidden", "browse:t")
}

// A claim of which any part can't be read, or which grants what no token can, lets nobody in, and the log says why.
func TestATokenOfTheIssuerWithWrongGrantsIsRefused(t *testing.T) {
	var lines syncBuffer
	i := newIssuer(t)
	cfg := config.Default()
	cfg.Listen, cfg.Data, cfg.Auth = []string{"127.0.0.1:0"}, t.TempDir(), config.AuthOn
	i.trusting(&cfg)
	granting(&cfg)
	cfg.SSORoles = append(cfg.SSORoles, "chiefs=boss")
	g := guard(t, runLogged(t, cfg, slog.New(slog.NewTextHandler(&lines, nil))))
	g.fixture()
	eventually(t, "the issuer is known", func() bool { return g.unchecked.do("POST", "/sign-on").status == 200 })
	g.admin.do("PUT", "/roles/boss", object{"grants": list{"admin"}}, as(g.token)).want(200)
	many := list{}
	for n := range 201 {
		many = append(many, fmt.Sprintf("publish:t%d", n))
	}
	for what, x := range map[string]struct {
		grants any
		why    string
	}{
		"an unknown verb":  {list{"publish:t", "pubish:t"}, "pubish"},
		"no topic":         {list{"publish"}, "the topic is missing"},
		"no pattern":       {list{"publish:"}, "a pattern is missing"},
		"a wrong pattern":  {list{"publish:t", "consume:{someone}"}, "a pattern has"},
		"a group too many": {"publish:t/g", "no group"},
		"admin":            {list{"publish:t", "admin"}, "can't grant admin"},
		"access":           {"access", "can't grant access"},
		"join":             {list{"observe,join"}, "can't grant join"},
		"scopes":           {"openid publish:t", "openid"},
		"a number":         {7, "no grants"},
		"a list of more":   {list{"publish:t", 7}, "no grants"},
		"an object":        {object{"publish": "t"}, "no grants"},
		"an empty list":    {list{}, "no grants"},
		"an empty text":    {" ", "no grants"},
		"too many":         {many, "201 grants"},
		"too long":         {"publish:" + strings.Repeat("t", 1000), "1008 bytes"},
	} {
		c := claimed(x.grants)
		c["groups"], c["sub"] = "chiefs", strings.ReplaceAll(what, " ", "-") // who may do everything without it
		token := i.program(c)
		g.admin.do("GET", "/topics", as(token), anyway).refused(401, "unauthorized", x.why)
		if status, text := g.ask(t, "query", "", token); status != 401 || !strings.Contains(text, x.why) {
			t.Errorf("%s, native: %d %s", what, status, text)
		}
		if log := lines.String(); !strings.Contains(log, "refused for its grants") || !strings.Contains(log, "subject="+c["sub"].(string)) || !strings.Contains(log, x.why) {
			t.Errorf("%s: the log does not say so", what)
		}
	}
	g.admin.get("/accounts", as(i.program(object{"groups": "chiefs"}))) // the mapping may give it
}

// Unless it is asked for, and for people, the claim is nothing.
func TestGrantsInATokenCountOnlyWhereTheyAreAskedFor(t *testing.T) {
	g, i := startTrusting(t)
	g.fixture()
	g.admin.do("GET", "/topics", as(i.program(claimed(list{"publish:t"}))), anyway).refused(401, "unauthorized", "none of the groups")
	g, i = startTrusting(t, granting)
	i.person = object{"sub": "ann", "groups": list{"runners"}, "zbus": object{"grants": list{"publish:t"}}}
	b := g.browser()
	r := b.finish(b.visit(b.begin())).want(200)
	if len(r.list("grants")) != 2 {
		t.Errorf("a person: %s", r.raw)
	}
}
