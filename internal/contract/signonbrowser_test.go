package contract

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// browser is one that signs on: it keeps cookies, and goes where it is sent.
type browser struct {
	*client
	g      *guarded
	cookie string
}

func (g *guarded) browser() *browser { return &browser{client: g.client(g.t), g: g} }

func (b *browser) page() header { return header{"Origin", "http://" + b.g.addr} }

// begin presses the button, that of an issuer if there are several, and gives the page of the issuer.
func (b *browser) begin(issuer ...string) string {
	b.t.Helper()
	args := []any{b.page(), header{"Sec-Fetch-Site", "same-origin"}}
	for _, name := range issuer {
		args = append(args, object{"issuer": name})
	}
	r := b.post("/sign-on", args...).want(200)
	b.cookie = strings.Split(r.header.Get("Set-Cookie"), ";")[0]
	return r.str("url")
}

// visit goes to the page of the issuer, and gives what it comes back with.
func (b *browser) visit(page string) url.Values {
	b.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(page)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		text, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("the issuer says %d %s", resp.StatusCode, text)
	}
	if want := "http://" + b.g.addr + "/ui/sso"; !strings.HasPrefix(back.String(), want+"?") {
		b.t.Fatalf("sent back to %s, not to %s", back, want)
	}
	return back.Query()
}

func (b *browser) finish(back url.Values) *reply {
	b.t.Helper()
	answer := object{"code": back.Get("code"), "state": back.Get("state")}
	if back.Has("iss") {
		answer["iss"] = back.Get("iss")
	}
	return b.do("PUT", "/sign-on", answer, header{"Cookie", b.cookie}, b.page(), anyway)
}

func TestAPersonSignsOn(t *testing.T) {
	g, i := startTrusting(t, func(c *config.Config) { c.SSONameClaim = []string{"preferred_username"} })
	g.fixture()
	i.person = object{"sub": "248289761001", "preferred_username": "Ann", "groups": list{"runners"}}
	b := g.browser()
	b.get("/whoami").is("signOn", "127.0.0.1")
	page := b.begin()
	if q, err := url.Parse(page); err != nil || q.Query().Get("scope") != "openid profile email" || !strings.HasPrefix(page, i.web.URL+"/authorize?") {
		t.Errorf("sent to %s", page)
	}
	r := b.finish(b.visit(page)).want(200)
	r.is("account", "ann", "roles.0", "operator", "signedOn.subject", "248289761001")
	line := r.header.Values("Set-Cookie")
	login := header{"Cookie", strings.Split(line[len(line)-1], ";")[0]}
	b.post("/topics/t:empty", login, b.page(), anyway).want(200)
	g.admin.get("/audit?action=topic.empty", as(g.token)).is("entries.0.actor", "ann", "entries.0.token", "sso:248289761001")
	ws, _, err := websocket.Dial(t.Context(), "ws://"+g.addr+base+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {login.value}, "Origin": {b.page().value}}})
	if err != nil {
		t.Fatal(err)
	}
	b.do("DELETE", "/login", login, b.page(), anyway).want(204)
	for err == nil {
		_, _, err = ws.Read(t.Context())
	}
	b.do("GET", "/topics", login, anyway).refused(401, "unauthorized")

	// Who has an account of another kind, or no group that gives a role, is told why.
	i.person = object{"sub": "1", "preferred_username": "root", "groups": list{"runners"}}
	b.finish(b.visit(b.begin())).refused(401, "unauthorized", "not for single sign-on")
	i.person = object{"sub": "1", "preferred_username": "bob", "groups": list{"nobody"}}
	b.finish(b.visit(b.begin())).refused(401, "unauthorized", "none of the groups")
	// Some issuers tell more only when they are asked.
	i.person, i.info = object{"sub": "1", "groups": nil}, object{"sub": "1", "preferred_username": "bob", "groups": list{"runners"}}
	b.finish(b.visit(b.begin())).want(200).is("account", "bob", "roles.0", "operator")
	i.info["sub"] = "2"
	b.finish(b.visit(b.begin())).refused(401, "unauthorized", "preferred_username")
}

// A sign-on is finished once, by the browser that has begun it, with what the issuer has sent it back with.
func TestASignOnIsOfItsBrowser(t *testing.T) {
	g, i := startTrusting(t)
	i.person = object{"sub": "ann", "groups": list{"runners"}}
	b, other := g.browser(), g.browser()

	back := b.visit(b.begin())
	b.finish(back).want(200)
	b.finish(back).refused(401, "unauthorized", "used up")

	used, fresh := b.visit(b.begin()), b.begin()
	b.finish(used).refused(401, "unauthorized", "begun") // another has begun since
	next := b.visit(fresh)
	stolen := url.Values{"code": next["code"], "state": {"AAAA"}}
	b.finish(stolen).refused(401, "unauthorized")
	b.finish(next).want(200) // the attempt has used up nothing

	// A sign-on is finished by another browser than the one that began it.
	trap := b.visit(b.begin())
	other.begin()
	other.finish(trap).refused(401, "unauthorized", "in this browser")
	b.finish(trap).refused(401, "unauthorized")

	// A code of another sign-on does not fit.
	mine, his := b.visit(b.begin()), other.visit(other.begin())
	b.finish(url.Values{"code": his["code"], "state": mine["state"]}).refused(401, "unauthorized", "invalid_grant")

	// Nor does a token with another nonce, audience or signature.
	for what, change := range map[string]object{
		"nonce": {"nonce": "another", "aud": "console"}, "no nonce": {"aud": "console"}, "audience": {"aud": "zbus"},
		"party": {"aud": list{"console", "zbus"}}, "issuer": {"iss": "http://127.0.0.1:1", "aud": "console"}, "time": {"exp": 1, "aud": "console"},
	} {
		i.tokenFor = func(asked url.Values) string {
			c := i.claims(i.person)
			if what != "no nonce" {
				c["nonce"] = asked.Get("nonce")
			}
			for name, v := range change {
				c[name] = v
			}
			return i.signed(i.key("first"), object{"kid": "first"}, c)
		}
		if r := b.finish(b.visit(b.begin())); r.status != 401 {
			t.Errorf("another %s: %d %s", what, r.status, r.raw)
		}
	}
	i.tokenFor = func(asked url.Values) string {
		return i.signed(nil, object{"alg": "none"}, i.claims(object{"sub": "ann", "aud": "console", "nonce": asked.Get("nonce")}))
	}
	b.finish(b.visit(b.begin())).refused(401, "unauthorized")
}

// The issuer sends people back to a public URL or to this machine, and to no place that only a client
// names.
func TestWhereTheIssuerSendsPeopleBack(t *testing.T) {
	g, _ := startTrusting(t, func(c *config.Config) {
		c.PublicURL = []string{"https://mq.example.com/mq/"}
		c.AllowOrigin = []string{"app.example.com"}
		c.Insecure, c.Listen = true, []string{"0.0.0.0:0"} // goes by any name
	})
	to := func(args ...any) string {
		r := g.admin.post("/sign-on", append(args, anyway)...)
		if r.status != 200 {
			return fmt.Sprint(r.status)
		}
		page, err := url.Parse(r.str("url"))
		if err != nil {
			t.Fatal(err)
		}
		return page.Query().Get("redirect_uri")
	}
	port := g.addr[strings.LastIndexByte(g.addr, ':'):]
	for _, x := range []struct{ host, origin, want string }{
		{"mq.example.com", "https://mq.example.com", "https://mq.example.com/mq/ui/sso"},
		{"inside:15555", "https://mq.example.com", "https://mq.example.com/mq/ui/sso"}, // behind a proxy that has its own name for this
		{"127.0.0.1" + port, "", "http://127.0.0.1" + port + "/ui/sso"},
		{"localhost:1", "http://localhost:1", "http://localhost:1/ui/sso"},
		{"evil.example", "", "400"},
		{"evil.example", "http://evil.example", "400"},
		{"mq.example.com", "https://evil.example", "403"},
		{"mq.example.com", "https://app.example.com", "403"},
		{"mq.example.com", "null", "403"},
	} {
		args := []any{header{"Host", x.host}}
		if x.origin != "" {
			args = append(args, header{"Origin", x.origin})
		}
		if got := to(args...); got != x.want {
			t.Errorf("asked as %s by a page of %q: sent back to %s, not to %s", x.host, x.origin, got, x.want)
		}
	}
}

// A code is good once: it does not go out on a connection that the issuer may just have closed for being idle.
func TestASignOnDoesNotFailByAnIdleConnection(t *testing.T) {
	i := newIssuer(t)
	i.once, i.person = true, object{"sub": "ann", "groups": list{"runners"}}
	g := startGuarded(t, i.trusting)
	eventually(t, "the issuer is known", func() bool { return g.unchecked.do("POST", "/sign-on").status == 200 })
	for range 3 {
		b := g.browser()
		b.finish(b.visit(b.begin())).want(200)
	}
}

// Without an issuer there is nothing to sign on with.
func TestNobodySignsOnWithoutAnIssuer(t *testing.T) {
	g := startGuarded(t)
	g.admin.post("/sign-on").refused(404, "not_found", "--sso-issuer")
	g.admin.do("PUT", "/sign-on", object{"code": "x", "state": "y"}).refused(404, "not_found")
	if r := g.admin.get("/whoami"); r.at("signOn") != nil {
		t.Errorf("%s", r.raw)
	}
}
