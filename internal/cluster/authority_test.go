package cluster_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
)

// authority signs the certificates of servers.
type authority struct {
	t    *testing.T
	cert *tls.Certificate
	file string // its certificate in PEM
	last int64  // serial number
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, last: 1, cert: certtest.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, nil)}
	a.file, _ = certtest.Write(t, t.TempDir(), a.cert)
	return a
}

// server has a broker use a certificate of its own, and trust the trackers of the authority.
func (a *authority) server(c *config.Config) { a.named(c) }

// named is server with a certificate that names accounts.
func (a *authority) named(c *config.Config, accounts ...string) {
	a.last++
	var uris []*url.URL
	for _, name := range accounts {
		u, err := url.Parse(access.CertificatePrefix + name)
		if err != nil {
			a.t.Fatal(err)
		}
		uris = append(uris, u)
	}
	c.TrackerCA = a.file
	c.TLSCert, c.TLSKey = certtest.Write(a.t, a.t.TempDir(), certtest.Sign(a.t, &x509.Certificate{
		SerialNumber: big.NewInt(a.last), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: uris,
	}, a.cert))
}

// trusting is what a client goes by that trusts the authority.
func (a *authority) trusting() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert.Leaf)
	return &tls.Config{RootCAs: pool}
}

func (a *authority) connect(addr string) *client {
	a.t.Helper()
	conn, err := tls.Dial("tcp", addr, a.trusting())
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: a.t, conn: conn, r: wire.NewReader(conn, wire.Limits{Head: 64 << 10, Fields: 100, Body: 64 << 20})}
}

// request makes a request of the API of a server, or of what begins with / and is not of it.
func (a *authority) request(addr, method, path, body string, header ...string) (status int, by string, v map[string]any) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, "https://"+addr+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	web := http.Client{Transport: &http.Transport{TLSClientConfig: a.trusting(), DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	v = map[string]any{}
	_ = json.Unmarshal(text, &v) // of /rpc/ it may be anything
	return resp.StatusCode, resp.Header.Get("Zbus-Served-By"), v
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// guarded starts servers with TLS and accounts, of which the first is the tracker of all. Each has
// an account shop with all grants for messages and calls.
func guarded(t *testing.T, a *authority, n int) (all []*zbustest.Broker) {
	t.Helper()
	tokens := filepath.Join(t.TempDir(), "tokens")
	for range n {
		b := zbustest.Start(t, a.server)
		all = append(all, b)
		for _, body := range []string{
			`{"name":"boss","password":"a good password","roles":["admin"]}`,
			`{"name":"servers","grants":["join"]}`,
			`{"name":"shop","password":"another good one","grants":["publish:#","consume:#","call:#","serve:#"]}`,
		} {
			if status, _, v := a.request(b.Addr, "POST", "/api/v1/accounts", body, "Authorization", basic("boss", "a good password")); status != 201 {
				t.Fatal(status, v)
			}
		}
	}
	_, _, v := a.request(all[0].Addr, "POST", "/api/v1/tokens", `{"account":"servers"}`, "Authorization", basic("boss", "a good password"))
	token, _ := v["token"].(string)
	if err := os.WriteFile(tokens, []byte(token), 0o600); err != nil || token == "" {
		t.Fatal(err, v)
	}
	for _, b := range all {
		b.Configure(tracked("[SSL]"+all[0].Addr), func(c *config.Config) { c.TrackerTokenFile = tokens })
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Three servers have certificates of an authority, and accounts. What one of them does not have is
// passed on to the tracker, and to a server that only the tracker knows.
func TestServersWithAnAuthorityPassOn(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	all := guarded(t, ca, 3)
	boss, shop := basic("boss", "a good password"), basic("shop", "another good one")
	for _, owner := range all[:2] {
		c := ca.connect(owner.Addr)
		c.ok("declare", "topic", "orders", "authorization", boss)
		c.ok("declare", "topic", "orders", "consume_group", "g", "group_mask", "64", "group_ack_timeout", "600000")
		c.ok("declare", "topic", "sums", "topic_mask", "2")
		passesOn(t, ca, owner.Addr, all[2].Addr, shop)
		if status, _, v := ca.request(all[2].Addr, "GET", "/api/v1/topics/orders", ""); status != 401 {
			t.Errorf("without a credential: %d %v", status, v)
		}
		// The certificates of all are there for clients that pin them, which ask before they say who they are.
		for _, b := range all {
			text := ca.connect(b.Addr).ask("ssl", nil)
			got := ca.connect(all[0].Addr).ask("ssl", nil, "server", b.Addr)
			if got.Status != 200 || len(got.Body) == 0 || !bytes.Equal(got.Body, text.Body) {
				t.Errorf("the certificate of %s: %d %s", b.Addr, got.Status, got.Body)
			}
		}
		c.ok("remove", "topic", "orders")
		c.ok("remove", "topic", "sums")
	}
}

// passesOn publishes, consumes and calls at a server that has none of the topics.
func passesOn(t *testing.T, ca *authority, owner, other, who string) {
	t.Helper()
	c := ca.connect(other)
	eventually(t, "the other server knows the topics", func() bool {
		return c.ask("query", nil, "topic", "sums", "authorization", who).Status == 200
	})
	served(t, c.ask("produce", []byte("one"), "topic", "orders"), owner, 200, "")
	c.send("consume", nil, "topic", "orders", "consume_group", "g")
	m := c.receive()
	served(t, m, owner, 200, "one")
	served(t, c.ask("ack", nil, "topic", "orders", "consume_group", "g", "offset", m.Get("offset"), "handle", m.Get("handle")), owner, 200, "")
	served(t, c.ask("unconsume", nil, "topic", "orders", "consume_group", "g"), owner, 200, "")

	rest := func(method, path, body string, status int) map[string]any {
		t.Helper()
		got, by, v := ca.request(other, method, path, body, "Authorization", who)
		if got != status || by != owner {
			t.Fatalf("%s %s: %d %v, by %s", method, path, got, v, by)
		}
		return v
	}
	rest("POST", "/api/v1/topics/orders/messages", `{"body":"two"}`, 201)
	pulled := rest("POST", "/api/v1/topics/orders/groups/g:pull", `{"timeout":10000}`, 200)["deliveries"].([]any)
	delivery := pulled[0].(map[string]any)
	if delivery["body"] != "two" {
		t.Errorf("%v", pulled)
	}
	rest("POST", "/api/v1/topics/orders/groups/g:ack", `{"handles":["`+delivery["handle"].(string)+`"]}`, 200)

	provider := ca.connect(other)
	provider.send("consume", nil, "topic", "sums", "window", "10", "authorization", who)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for range 2 {
			call, err := provider.r.Read()
			if err != nil {
				return
			}
			provider.send("route", []byte(`{"result":2}`), "recver", call.Get("sender"), "id", call.Get("origin_id"), "origin_status", "200", "content-type", "application/json", "ack", "0")
		}
	}()
	eventually(t, "the provider is there", func() bool {
		m = c.ask("rpc", []byte(`{"method":"add","params":[1,1]}`), "topic", "sums")
		return m.Status != 503
	})
	served(t, m, owner, 200, `{"result":2}`)
	rest("POST", "/rpc/sums/add", `{"params":[1,1]}`, 200)
	<-answered
}

// A tracker whose certificate another authority has signed is not joined, and the server says why.
func TestAnAuthorityThatIsNotTrustedIsRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	tracker := zbustest.Start(t, ours.server)
	server := zbustest.Start(t, theirs.server, tracked("[SSL]"+tracker.Addr))
	eventually(t, "the server says why it has not joined", func() bool {
		_, _, v := theirs.request(server.Addr, "GET", "/api/v1/server", "")
		for _, c := range v["conditions"].([]any) {
			text := c.(map[string]any)["text"].(string)
			if strings.Contains(text, "is not of an authority that is trusted here, give that with --tracker-ca") {
				return true
			}
		}
		return false
	})
	var unknown x509.UnknownAuthorityError
	if _, err := tls.Dial("tcp", tracker.Addr, theirs.trusting()); !errors.As(err, &unknown) {
		t.Errorf("a client: %v", err)
	}
	// It is joined once its authority is trusted, by a server without TLS of its own, too.
	plain := zbustest.Start(t, tracked("[SSL]"+tracker.Addr), func(c *config.Config) { c.TrackerCA = ours.file })
	s := &subscriber{client: ours.connect(tracker.Addr)}
	s.send("track_sub", nil)
	s.next()
	s.until("[SSL]"+tracker.Addr, plain.Addr)
	for text, file := range map[string]string{"no such file": filepath.Join(t.TempDir(), "none"), "no certificate in PEM": os.DevNull} {
		_, err := zbustest.Open(t.TempDir(), func(c *config.Config) { c.TrackerCA = file })
		if err == nil || !strings.Contains(err.Error(), "tracker-ca") || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A server whose certificate names an account with the grant join needs no token. One whose certificate names
// nobody, or an account without the grant, is refused.
func TestACertificateThatNamesAnAccountJoins(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	tracker := zbustest.Start(t, ca.server, func(c *config.Config) { c.TLSClientCA = ca.file })
	for _, body := range []string{
		`{"name":"boss","password":"a good password","roles":["admin"]}`,
		`{"name":"servers","grants":["join"]}`, `{"name":"shop","grants":["publish:#"]}`,
	} {
		if status, _, v := ca.request(tracker.Addr, "POST", "/api/v1/accounts", body, "Authorization", basic("boss", "a good password")); status != 201 {
			t.Fatal(status, v)
		}
	}
	join := func(accounts ...string) *zbustest.Broker {
		return zbustest.Start(t, func(c *config.Config) { ca.named(c, accounts...) }, tracked("[SSL]"+tracker.Addr))
	}
	listed := func(b *zbustest.Broker) bool {
		_, _, v := ca.request(tracker.Addr, "GET", "/api/v1/servers", "", "Authorization", basic("boss", "a good password"))
		all, _ := v["servers"].([]any)
		return slices.ContainsFunc(all, func(s any) bool {
			s1, _ := s.(map[string]any)
			return s1["address"] == b.Addr && s1["state"] == "up"
		})
	}
	named := join("servers")
	eventually(t, "the server is listed", func() bool { return listed(named) })
	for _, b := range []*zbustest.Broker{join(), join("shop")} {
		eventually(t, "the server says that it is refused", func() bool {
			_, _, v := ca.request(b.Addr, "GET", "/api/v1/server", "")
			conditions, _ := v["conditions"].([]any)
			return len(conditions) > 0
		})
		if listed(b) {
			t.Error("a server without the grant is listed")
		}
	}
}
