package contract

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
)

// startWithTwo starts a broker that trusts an issuer, and a partner's.
func startWithTwo(t *testing.T, set ...func(own, partner *issuer, c *config.Config)) (g *guarded, own, partner *issuer) {
	t.Helper()
	own, partner = newIssuer(t), newIssuer(t)
	g = startGuarded(t, own.trusting, func(c *config.Config) {
		c.SSOIssuer = append(c.SSOIssuer, "partner="+partner.web.URL)
		c.SSOClientID = append(c.SSOClientID, "partner=console")
		c.SSOSecretFile = append(c.SSOSecretFile, "partner="+c.SSOSecretFile[0])
		c.SSOAudience = append(c.SSOAudience, "partner=their-zbus")
		c.SSORoles = append(c.SSORoles, "partner=guests=viewer")
		for _, f := range set {
			f(own, partner, c)
		}
	})
	for _, name := range []string{"127.0.0.1", "partner"} {
		eventually(t, name+" is known", func() bool { return g.unchecked.do("POST", "/sign-on", object{"issuer": name}).status == 200 })
	}
	return g, own, partner
}

// A token is checked with the keys, the audiences and the groups of the issuer that it names, and of no other.
func TestATokenIsOfTheIssuerThatItNames(t *testing.T) {
	g, own, partner := startWithTwo(t)
	g.fixture()
	g.admin.get("/whoami", as(own.program(nil))).is("account", "shop", "roles.0", "consumer", "signedOn.issuer", own.web.URL)
	theirs := object{"aud": "their-zbus", "groups": list{"guests", "consumers", "runners"}}
	token := partner.program(theirs)
	r := g.admin.get("/whoami", as(token))
	r.is("account", "shop@partner", "signedOn.issuer", partner.web.URL, "signedOn.subject", "shop")
	if got := fmt.Sprint(r.list("roles")); got != "[viewer]" {
		t.Errorf("roles %s", got)
	}
	if status, text := g.ask(t, "query", "", token); status != 200 {
		t.Errorf("native: %d %s", status, text)
	}
	g.socket(t, token)

	claims := func(i *issuer, changes object) object { return i.claims(changes) }
	for what, token := range map[string]string{
		"of the partner, for this one's audience": partner.program(object{"groups": list{"guests"}}),
		"of this one, for the partner's audience": own.program(object{"aud": "their-zbus"}),
		"of this one, with the partner's groups":  own.program(object{"groups": list{"guests"}}),
		"of the partner, with this one's groups":  partner.program(object{"aud": "their-zbus", "groups": list{"runners"}}),
		"that the partner has signed for the other": partner.signed(partner.key("first"), object{"kid": "first"},
			claims(own, nil)),
		"that this one has signed for the partner": own.signed(own.key("first"), object{"kid": "first"}, claims(partner, theirs)),
		"of nobody":             own.program(object{"iss": nil}),
		"of two":                own.program(object{"iss": list{own.web.URL, partner.web.URL}}),
		"of another":            own.program(object{"iss": "http://127.0.0.1:1"}),
		"with a longer name":    own.program(object{"iss": own.web.URL + "/"}),
		"that takes a name":     own.program(object{"sub": "ann@partner"}),
		"that takes it in caps": own.program(object{"sub": "Ann@PARTNER"}),
	} {
		if r := g.admin.do("GET", "/topics", as(token), anyway); r.status != 401 {
			t.Errorf("a token %s: %d %s", what, r.status, r.raw)
		}
	}

	// An account here is of the one whose name it has.
	g.admin.post("/accounts", object{"name": "shop", "kind": "sso", "roles": list{"admin"}}, as(g.token)).want(201)
	g.admin.get("/whoami", as(token)).is("account", "shop@partner", "roles.0", "viewer", "roles.1", nil)
	g.admin.post("/accounts", object{"name": "shop@partner", "kind": "sso", "roles": list{"operator"}}, as(g.token)).want(201)
	g.admin.post("/topics/t:empty", as(token)).want(200)
	g.admin.get("/audit?action=topic.empty", as(g.token)).is("entries.0.actor", "shop@partner", "entries.0.token", "sso:shop")
}

// People choose whom they sign on with, and come back to the one that they have chosen.
func TestAPersonChoosesTheIssuer(t *testing.T) {
	g, own, partner := startWithTwo(t, func(own, partner *issuer, _ *config.Config) {
		own.more = object{"authorization_response_iss_parameter_supported": true}
	})
	own.person, partner.person = object{"sub": "ann", "groups": list{"runners"}}, object{"sub": "bob", "groups": list{"guests"}}
	b := g.browser()
	b.get("/whoami").is("signOn", "127.0.0.1", "signOnWith.0", "127.0.0.1", "signOnWith.1", "partner")
	b.finish(b.visit(b.begin())).want(200).is("account", "ann", "signedOn.issuer", own.web.URL)
	b.finish(b.visit(b.begin("partner"))).want(200).is("account", "bob@partner", "signedOn.issuer", partner.web.URL)
	b.post("/sign-on", object{"issuer": "nobody"}, b.page()).refused(404, "not_found", "nobody")

	// What one issuer sends back is nothing to another: who says that it is another, or does not say what it always says,
	// could want the code of another person.
	back := b.visit(b.begin("partner"))
	back.Set("iss", own.web.URL)
	b.finish(back).refused(401, "unauthorized", "another issuer")
	back.Del("iss")
	b.finish(back).refused(401, "unauthorized", "used up")
	back = b.visit(b.begin())
	back.Del("iss")
	b.finish(back).refused(401, "unauthorized", "another issuer")
	mine := b.visit(b.begin())
	theirs := b.visit(g.browser().begin("partner"))
	b.finish(url.Values{"code": theirs["code"], "state": mine["state"], "iss": mine["iss"]}).refused(401, "unauthorized", "invalid_grant")
}

// One issuer that does not answer is a condition of its own, and keeps nobody from signing on with another.
func TestAnIssuerThatIsSilentIsNoneOfTheOthers(t *testing.T) {
	own := newIssuer(t)
	g := startGuarded(t, own.trusting, func(c *config.Config) {
		c.SSOIssuer = append(c.SSOIssuer, "partner=http://127.0.0.1:1")
		c.SSOAudience = append(c.SSOAudience, "partner=their-zbus")
	})
	eventually(t, "the issuer is known", func() bool { return g.unchecked.do("POST", "/sign-on").status == 200 })
	g.admin.get("/whoami", as(own.program(nil))).is("account", "shop", "signOn", "127.0.0.1", "signOnWith", nil)
	g.admin.do("GET", "/whoami", as(own.program(object{"iss": "http://127.0.0.1:1"})), anyway).refused(503, "unavailable", "127.0.0.1:1 does not answer")
	eventually(t, "the condition", func() bool {
		for _, c := range g.unchecked.get("/server", as(g.token)).list("conditions") {
			if x := c.(object); x["kind"] == "sso" && x["subject"] == "partner" {
				return true
			}
		}
		return false
	})
}

// A logout leads to the page at which the issuer ends its own login, and from there to the console and nowhere else.
func TestALogoutLeadsToThatOfTheIssuer(t *testing.T) {
	g, own, partner := startWithTwo(t, func(own, partner *issuer, c *config.Config) {
		own.more = object{"end_session_endpoint": own.web.URL + "/logout?realm=a"}
		c.AllowOrigin = []string{"app.example.com"}
	})
	g.fixture()
	own.person, partner.person = object{"sub": "ann", "groups": list{"runners"}}, object{"sub": "bob", "groups": list{"guests"}}
	b := g.browser()
	login := func(issuer ...string) header {
		t.Helper()
		line := b.finish(b.visit(b.begin(issuer...))).want(200).header.Values("Set-Cookie")
		return header{"Cookie", strings.Split(line[len(line)-1], ";")[0]}
	}
	logout := func(args ...any) *reply {
		t.Helper()
		return b.do("DELETE", "/login", append(args, anyway)...)
	}
	cookie := login()
	page, err := url.Parse(logout(cookie, b.page()).want(200).str("url"))
	if err != nil {
		t.Fatal(err)
	}
	q := page.Query()
	if !strings.HasPrefix(page.String(), own.web.URL+"/logout?") || q.Get("realm") != "a" || q.Get("client_id") != "console" || q.Get("post_logout_redirect_uri") != "http://"+g.addr+"/ui/" || len(q) != 3 {
		t.Errorf("sent to %s", page)
	}
	if r := g.admin.do("GET", "/topics", cookie, anyway); r.status != 401 {
		t.Errorf("the login is still good: %d", r.status)
	}
	// No page of another site can log a person out, or be where the issuer leads.
	cookie = login()
	for _, from := range []string{"http://evil.example", "null"} {
		if r := logout(cookie, header{"Origin", from}, header{"Sec-Fetch-Site", "cross-site"}); r.status != 403 {
			t.Errorf("asked by %s: %d %s", from, r.status, r.raw)
		}
	}
	g.admin.get("/topics", cookie, anyway)
	if r := logout(cookie, header{"Origin", "https://app.example.com"}).want(200); strings.Contains(string(r.raw), "post_logout") {
		t.Errorf("a page that may use the broker is led back to: %s", r.raw)
	}

	// Who has nothing to log out of there is sent nowhere: an issuer without such a page, a password, a token, nobody.
	logout(login("partner"), b.page()).want(204)
	line := g.admin.post("/login", object{"account": "root", "password": "a good password"}).want(200).header.Get("Set-Cookie")
	logout(header{"Cookie", strings.Split(line, ";")[0]}, b.page()).want(204)
	logout(as(own.program(nil))).want(204)
	logout().want(204)
}

// What an issuer says is its page for that is no page to be sent to, if it is in the clear or a script.
func TestALogoutLeadsToNoPageThatIsNotSafe(t *testing.T) {
	for _, at := range []string{"http://login.example/logout", "javascript:alert(1)", "//login.example/", "https://u:p@login.example/", "%"} {
		i := newIssuer(t)
		i.more = object{"end_session_endpoint": at}
		i.person = object{"sub": "ann", "groups": list{"runners"}}
		g := startGuarded(t, i.trusting)
		eventually(t, "the issuer is known", func() bool { return g.unchecked.do("POST", "/sign-on").status == 200 })
		b := g.browser()
		lines := b.finish(b.visit(b.begin())).want(200).header.Values("Set-Cookie")
		at := slices.IndexFunc(lines, func(s string) bool { return strings.Contains(s, "login") })
		cookie := header{"Cookie", strings.Split(lines[at], ";")[0]}
		if r := b.do("DELETE", "/login", cookie, b.page(), anyway); r.status != http.StatusNoContent {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
}
