package contract

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// trusting has a broker trust an issuer.
func (i *issuer) trusting(c *config.Config) {
	path := filepath.Join(i.t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("a client's secret\n"), 0o600); err != nil {
		i.t.Fatal(err)
	}
	c.SSOIssuer, c.SSOClientID, c.SSOSecretFile, c.SSOAudience = []string{i.web.URL}, []string{"console"}, []string{path}, []string{"zbus"}
	c.SSORoles = []string{"consumers=consumer", "consumers=viewer", "runners=operator"}
}

func startTrusting(t testing.TB, set ...func(*config.Config)) (*guarded, *issuer) {
	t.Helper()
	i := newIssuer(t)
	g := startGuarded(t, append([]func(*config.Config){i.trusting}, set...)...)
	eventually(t, "the issuer is known", func() bool {
		return g.unchecked.do("POST", "/sign-on").status == 200
	})
	return g, i
}

// A token of the issuer lets a program in wherever one of the broker does.
func TestATokenOfTheIssuerIsATokenEverywhere(t *testing.T) {
	g, i := startTrusting(t)
	g.fixture()
	token := i.program(nil)
	r := g.admin.get("/whoami", as(token))
	r.is("account", "shop", "signedOn.issuer", i.web.URL, "signedOn.subject", "shop")
	if got := fmt.Sprint(r.list("roles")); got != "[consumer viewer]" {
		t.Errorf("roles %q", got)
	}
	if status, text := g.ask(t, "consume", "consume_group=g timeout=1", token); status != 204 && status != 200 && status != 408 {
		t.Errorf("native: %d %s", status, text)
	}
	if status, text := g.ask(t, "produce", "", token); status != 403 {
		t.Errorf("native, without the grant: %d %s", status, text)
	}
	g.socket(t, token)
	ws, _, err := websocket.Dial(t.Context(), "ws://"+g.addr+base+"/ws", &websocket.DialOptions{Subprotocols: []string{"zbus", "zbus.token." + token}})
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.CloseNow()
	g.admin.post("/topics/t:empty", as(i.program(object{"sub": "Runner", "groups": "runners"}))).want(200)
	r = g.admin.get("/audit?action=topic.empty", as(g.token))
	r.is("entries.0.actor", "runner", "entries.0.token", "sso:Runner")
}

// What is not the issuer's word, for this broker and now, lets nobody in.
func TestOnlyAGoodTokenOfTheIssuerCounts(t *testing.T) {
	g, i := startTrusting(t)
	other := newIssuer(t)
	now := time.Now()
	key, kid := i.key("first"), object{"kid": "first"}
	i.newKey("curve") // not fetched
	weak := i.claims(nil)
	for what, token := range map[string]string{
		"of another issuer":             other.program(nil),
		"that names another issuer":     i.program(object{"iss": other.web.URL}),
		"for another audience":          i.program(object{"aud": "other"}),
		"for the console":               i.program(object{"aud": "console"}),
		"for nobody":                    i.program(object{"aud": nil}),
		"expired":                       i.program(object{"exp": now.Add(-time.Second).Unix()}),
		"that never expires":            i.program(object{"exp": nil}),
		"not good yet":                  i.program(object{"nbf": now.Add(2 * time.Minute).Unix()}),
		"with a strange beginning":      i.program(object{"nbf": "soon"}),
		"issued tomorrow":               i.program(object{"iat": now.Add(24 * time.Hour).Unix()}),
		"without a subject":             i.program(object{"sub": nil}),
		"whose name is no account's":    i.program(object{"sub": "shop/../root"}),
		"bound to a key":                i.program(object{"cnf": object{"jkt": "x"}}),
		"without groups":                i.program(object{"groups": nil}),
		"with groups that give none":    i.program(object{"groups": list{"staff", 7, nil}}),
		"of an account with a password": i.program(object{"sub": "root"}),
		"not signed":                    i.signed(nil, object{"alg": "none"}, weak),
		"not signed, with a key":        i.signed(nil, object{"alg": "none", "kid": "first"}, weak),
		"signed with the public key":    i.withPublicKey(weak),
		"with another algorithm":        i.signed(key, object{"alg": "PS256", "kid": "first"}, weak),
		"with a key of its own":         other.signed(other.key("first"), object{"kid": "mine", "jwk": other.published()[2], "jku": other.web.URL + "/keys"}, weak),
		"with another's key":            other.signed(other.key("first"), kid, weak),
		"that is critical":              i.signed(key, object{"kid": "first", "crit": list{"b64"}, "b64": false}, weak),
		"that is large":                 i.program(object{"x": strings.Repeat("x", 20_000)}),
		"in JSON":                       `{"payload":"..","signatures":[]}`,
		"of dots":                       "..",
		"that was changed":              i.program(nil) + "A",
	} {
		if r := g.admin.do("GET", "/topics", as(token), anyway); r.status != 401 {
			t.Errorf("a token %s: %d %s", what, r.status, r.raw)
		}
		if strings.ContainsAny(token, " {") || len(token) > 16_000 {
			continue
		}
		if status, text := g.ask(t, "query", "", token); status != 401 {
			t.Errorf("native, a token %s: %d %s", what, status, text)
		}
	}
	g.admin.get("/topics", as(i.program(object{"nbf": now.Add(30 * time.Second).Unix()}))) // clocks differ
	if n := i.fetched.Load(); n > 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// Tokens that name keys which nobody knows have the issuer asked now and then, and not each time; a new
// key is found by that, and a key that is gone is gone.
func TestKeysOfTheIssuerChange(t *testing.T) {
	t.Parallel()
	g, i := startTrusting(t)
	before := i.fetched.Load()
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for x := range 50 {
				token := i.signed(i.key("first"), object{"kid": fmt.Sprintf("%d-%d", n, x)}, i.claims(nil))
				if r, err := g.unchecked.try("GET", "/whoami", as(token)); err != nil || r.status != 401 {
					t.Errorf("a key that nobody knows: %v %v", r, err)
				}
			}
		})
	}
	all.Wait()
	if n := i.fetched.Load() - before; n > 2 {
		t.Errorf("400 tokens had the keys fetched %d times", n)
	}
	old := i.program(nil)
	i.newKey("curve")
	i.drop("first")
	token := i.signed(i.key("curve"), object{"kid": "curve"}, i.claims(nil))
	end := time.Now().Add(2 * patience)
	for g.unchecked.do("GET", "/whoami", as(token)).status != 200 {
		if time.Now().After(end) {
			t.Fatal("the new key is never found")
		}
	}
	if r := g.unchecked.do("GET", "/whoami", as(old)); r.status != 401 {
		t.Errorf("the key that is gone: %d", r.status)
	}
}

// What is open ends when the token of the issuer expires, and when the account is changed.
func TestWhatASignedOnProgramHasOpenEnds(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(g *guarded){
		"the token expires": nil,
		"the account is disabled": func(g *guarded) {
			g.unchecked.do("PATCH", "/accounts/shop", object{"disabled": true}, as(g.token)).want(200)
		},
		"the account is removed": func(g *guarded) { g.unchecked.do("DELETE", "/accounts/shop", as(g.token)).want(204) },
		"the account has no role": func(g *guarded) {
			g.unchecked.do("PATCH", "/accounts/shop", object{"roles": list{}}, as(g.token)).want(200)
		},
	} {
		t.Run(what, func(t *testing.T) {
			g, i := startTrusting(t)
			g.fixture()
			expires := time.Now().Add(time.Hour)
			if end == nil {
				expires = time.Now().Add(4 * time.Second).Truncate(time.Second)
			} else {
				g.unchecked.post("/accounts", object{"name": "shop", "kind": "sso", "roles": list{"consumer"}}, as(g.token)).want(201)
			}
			token := i.program(object{"exp": expires.Unix()})
			n := g.native(t)
			n.send("consume topic=t consume_group=g id=1 token=" + token)
			ws := g.socket(t, token)
			eventually(t, "both are there", func() bool { return len(g.admin.get("/sessions?topic=t", as(g.token)).list("sessions")) == 1 })
			if end != nil {
				end(g)
				expires = time.Now()
			}
			ended := make(chan time.Time, 1)
			go func() {
				defer func() { ended <- time.Now() }()
				for {
					if _, _, err := ws.Read(t.Context()); err != nil {
						return
					}
				}
			}()
			_ = n.SetReadDeadline(time.Now().Add(patience))
			m, err := n.r.Read()
			if what == "the account has no role" {
				if err != nil || m.Status != 403 && m.Status != 404 {
					t.Errorf("the consumer got %v %v", m, err)
				}
			} else if err := endOf(err); err != nil {
				t.Error(err)
			}
			took := time.Since(expires)
			if what != "the account has no role" {
				took = max(took, (<-ended).Sub(expires))
			}
			if t.Logf("it took %v", took); took < 0 || took > promptly {
				t.Error("that is too early or too late")
			}
		})
	}
}

// An account for single sign-on has what it says here, whatever the groups are. Nobody takes over an account
// that is not for that.
func TestAnAccountForSingleSignOn(t *testing.T) {
	g, i := startTrusting(t)
	g.fixture()
	root := as(g.token)
	g.admin.post("/accounts", object{"name": "shop", "kind": "sso", "password": "a good password"}, root).refused(400, "invalid", "no password")
	g.admin.post("/accounts", object{"name": "shop", "kind": "sso", "roles": list{"operator"}, "limits": object{"messages": 7}}, root).want(201)
	token := i.program(nil)
	r := g.admin.get("/whoami", as(token))
	r.is("account", "shop", "roles.0", "operator", "limits.messages", 7)
	g.admin.post("/topics/t/messages", object{"body": "x"}, as(token)).refused(403, "forbidden")
	r = g.admin.post("/tokens", object{"expires": time.Now().Add(2 * time.Hour)}, as(token), anyway)
	r.refused(409, "conflict", "expires before that")
	own := g.admin.post("/tokens", object{}, as(token)).want(201)
	if own.str("expires") == "" {
		t.Error("its own token lasts longer than that of the issuer")
	}
	g.admin.do("PATCH", "/accounts/shop", object{"disabled": true}, root).want(200)
	g.admin.do("GET", "/whoami", as(token), anyway).refused(401, "unauthorized")
	g.admin.do("DELETE", "/accounts/shop", root).want(204)
	g.admin.get("/whoami", as(token)).is("roles.0", "consumer")
	g.admin.post("/accounts", object{"name": "shop"}, root).want(201)
	g.admin.do("GET", "/whoami", as(token), anyway).refused(401, "unauthorized", "not for single sign-on")
}

// The limits of a role hold for those whom a group gives it.
func TestRolesOfGroupsHaveLimits(t *testing.T) {
	g, i := startTrusting(t, func(c *config.Config) { c.SSORoles = []string{"staff=small"} })
	g.fixture()
	g.admin.do("PUT", "/roles/small", object{"grants": list{"publish:#"}, "limits": object{"messages": 1}}, as(g.token)).want(200)
	g.admin.get("/whoami", as(i.program(nil))).is("limits.messages", 1)
	g.admin.post("/topics/t/messages", object{"body": "x"}, as(i.program(nil))).want(201)
	g.admin.post("/topics/t/messages", object{"body": "x"}, as(i.program(nil)), anyway).refused(429, "quota")
	g.admin.post("/topics/t/messages", object{"body": "x"}, as(i.program(object{"sub": "another"}))).want(201)
}

// A broker whose issuer does not answer starts and works, and says so to who signs on.
func TestABrokerWorksWithoutItsIssuer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t)
	address := i.web.Listener.Addr().String()
	_ = ln.Close()
	g := startGuarded(t, i.trusting, func(c *config.Config) { c.SSOIssuer = []string{"http://" + ln.Addr().String()} })
	g.admin.get("/topics", as(g.token))
	r := g.admin.do("GET", "/topics", as(i.program(nil)), anyway)
	r.refused(503, "unavailable", "does not answer")
	if status, _ := g.ask(t, "query", "", i.program(nil)); status != 503 {
		t.Errorf("native: %d", status)
	}
	g.admin.post("/sign-on").refused(503, "unavailable", "does not answer")
	// It begins to answer, as what the broker asks for.
	late, err := net.Listen("tcp", ln.Addr().String())
	if err != nil {
		t.Skip("NOT TESTED: an issuer that comes back: its port is taken")
	}
	i.web.URL = "http://" + ln.Addr().String()
	go func() {
		for {
			conn, err := late.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, conn); _ = to.Close() }()
			go func() { _, _ = io.Copy(conn, to); _ = conn.Close() }()
		}
	}()
	t.Cleanup(func() { _ = late.Close() })
	eventually(t, "the issuer is asked again", func() bool { return g.unchecked.do("GET", "/whoami", as(i.program(nil))).status == 200 })
}
