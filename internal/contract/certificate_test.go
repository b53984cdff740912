package contract

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
)

// authority signs the certificates of a test.
type authority struct {
	t    testing.TB
	cert *tls.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	return &authority{t, certtest.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, nil)}
}

// sign signs a certificate for a new key.
func (a *authority) sign(template *x509.Certificate) *tls.Certificate {
	a.t.Helper()
	return certtest.Sign(a.t, template, a.cert)
}

// client is a certificate of a client with some URIs.
func (a *authority) client(until time.Time, uris ...string) *tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"root"}, EmailAddresses: []string{"root"}, // which name nobody
	}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	return a.sign(template)
}

func (a *authority) of(account string) *tls.Certificate {
	return a.client(time.Now().Add(time.Hour), "zbus:account/"+account)
}

// write stores certificates as the files that a broker reads.
func (a *authority) write(path string) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Leaf.Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// certified is a broker with access on that takes the certificates of an authority.
type certified struct {
	*guarded
	authority *authority
	caFile    string
}

func startCertified(t testing.TB, set ...func(*config.Config)) *certified {
	t.Helper()
	a, dir := newAuthority(t), t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	a.write(ca)
	pair := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := startGuarded(t, append(set, func(c *config.Config) { c.TLSCert, c.TLSKey, c.TLSClientCA = cert, key, ca })...)
	g.fixture()
	return &certified{g, a, ca}
}

// with is how a client connects that shows a certificate; nil: none.
func (c *certified) with(cert *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(c.authority.cert.Leaf)
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	if cert != nil { // whatever the server says that it accepts
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return cfg
}

// secure connects in the native protocol.
func (c *certified) secure(t testing.TB, cfg *tls.Config) (*native, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", c.addr, cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &native{conn, t, wire.NewReader(conn, wire.Limits{})}, nil
}

// web asks by HTTPS: "METHOD /path", with headers.
func (c *certified) web(t testing.TB, cfg *tls.Config, line string, headers ...header) (int, string) {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+c.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		req.Header.Set(h.name, h.value)
	}
	transport := &http.Transport{TLSClientConfig: cfg.Clone()}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// webSocket connects by one.
func (c *certified) webSocket(t testing.TB, cfg *tls.Config, path string, headers http.Header) (*websocket.Conn, int) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg.Clone()}
	t.Cleanup(transport.CloseIdleConnections)
	ws, resp, err := websocket.Dial(t.Context(), "wss://"+c.addr+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, HTTPHeader: headers})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, 101
}

// A certificate makes a connection act as the account that it names, however it talks.
func TestACertificateActsAsItsAccount(t *testing.T) {
	c := startCertified(t)
	c.account("shop", nil, "publish:t")
	cfg := c.with(c.authority.of("Shop"))
	n, err := c.secure(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int{"produce topic=t id=1": 200, "consume topic=t id=2": 403, "consume topic=other id=3": 404} {
		n.send(line)
		if status, text := n.answer(t); status != want {
			t.Errorf("%s: %d %s", line, status, text)
		}
	}
	for line, want := range map[string]int{
		"POST /produce/t": 200, "GET /consume/t?timeout=1": 403, "GET " + base + "/topics/t": 200, "GET " + base + "/accounts": 403, "GET /metrics": 403,
	} {
		if status, text := c.web(t, cfg, line); status != want {
			t.Errorf("%s: %d %s", line, status, text)
		}
	}
	if _, text := c.web(t, cfg, "GET "+base+"/whoami"); !strings.Contains(text, `"account":"shop"`) {
		t.Errorf("whoami: %s", text)
	}
	ws, _ := c.webSocket(t, cfg, base+"/ws", nil)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"watch","channel":"sessions"}`)); err != nil {
		t.Fatal(err)
	}
	if a := socketAnswer(t, ws); a["code"] != "forbidden" || a["missing"] != "sessions" {
		t.Errorf("a channel of the WebSocket: %v", a)
	}
	old, _ := c.webSocket(t, cfg, "/", nil)
	for line, want := range map[string]string{"produce topic: t": " 200 ", "consume topic: t": " 403 "} {
		cmd, rest, _ := strings.Cut(line, " ")
		if err := old.Write(t.Context(), websocket.MessageBinary, []byte("GET / HTTP/1.1\r\ncmd: "+cmd+"\r\n"+rest+"\r\nid: 1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := old.Read(t.Context()); err != nil || !strings.Contains(string(data[:20]), want) {
			t.Errorf("%s in a frame: %s %v", line, data, err)
		}
	}
}

// A certificate that names no account that is enabled opens nothing, and one that the authority has
// not signed, or that has expired, ends the handshake.
func TestOnlyAGoodCertificateCounts(t *testing.T) {
	c := startCertified(t)
	c.account("gone", []string{"admin"})
	c.account("off", []string{"admin"})
	c.admin.do("PATCH", "/accounts/off", object{"disabled": true}, as(c.token)).want(200)
	c.admin.do("DELETE", "/accounts/gone", as(c.token)).want(204)
	hour := time.Now().Add(time.Hour)
	for name, cert := range map[string]*tls.Certificate{
		"none": nil, "no URI": c.authority.client(hour), "unknown": c.authority.of("nobody"), "removed": c.authority.of("gone"),
		"disabled": c.authority.of("off"), "two": c.authority.client(hour, "zbus:account/root", "zbus:account/off"),
		"another scheme": c.authority.client(hour, "spiffe://account/root"), "more": c.authority.client(hour, "zbus:account/root/x"), "empty": c.authority.client(hour, "zbus:account/"),
	} {
		n, err := c.secure(t, c.with(cert))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n.send("query topic=t id=1")
		if status, text := n.answer(t); status != 401 {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if status, text := c.web(t, c.with(cert), "GET "+base+"/accounts"); status != 401 {
			t.Errorf("%s by HTTPS: %d %s", name, status, text)
		}
		if _, status := c.webSocket(t, c.with(cert), base+"/ws", nil); status != 401 {
			t.Errorf("%s by WebSocket: %d", name, status)
		}
	}
	for name, cert := range map[string]*tls.Certificate{
		"of another authority": newAuthority(t).of("root"), "expired": c.authority.client(time.Now().Add(-time.Minute), "zbus:account/root"),
		"of a server": c.authority.sign(&x509.Certificate{
			SerialNumber: big.NewInt(4), NotBefore: time.Now().Add(-time.Hour), NotAfter: hour, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			URIs: c.authority.of("root").Leaf.URIs,
		}),
	} {
		if status, text := c.web(t, c.with(cert), "GET "+base+"/whoami"); status != 0 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, _ := c.web(t, c.with(c.authority.client(hour, "https://example.com/x", "zbus:account/root")), "GET "+base+"/accounts"); status != 200 {
		t.Errorf("with another URI beside it: %d", status)
	}
}

// What is given in a request counts instead, and is refused if it is wrong.
func TestAGivenCredentialWinsOverTheCertificate(t *testing.T) {
	c := startCertified(t)
	token, _ := c.account("shop", nil, "publish:t")
	cfg := c.with(c.authority.of("root"))
	n, err := c.secure(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []struct {
		line   string
		status int
	}{
		{"query topic=t consume_group=g", 200},
		{"consume topic=t consume_group=g timeout=1 token=" + token, 403},
		{"consume topic=t consume_group=g timeout=1", 403}, // the token holds for the connection
		{"produce topic=t", 200},
		{"produce topic=t token=zb_aaaaaaaa_b", 401},
	} {
		n.send(fmt.Sprintf("%s id=%d", x.line, i))
		if status, text := n.answer(t); status != x.status {
			t.Errorf("%s: %d %s", x.line, status, text)
		}
	}
	for value, want := range map[string]int{"Bearer " + token: 403, "Bearer wrong": 401, "Basic cm9vdDp3cm9uZw==": 401} {
		if status, text := c.web(t, cfg, "GET "+base+"/accounts", header{"Authorization", value}); status != want {
			t.Errorf("%s: %d %s", value, status, text)
		}
	}
	if status, _ := c.web(t, cfg, "GET "+base+"/accounts", header{"Cookie", "__Host-zbus-login-" + c.addr[strings.LastIndexByte(c.addr, ':')+1:] + "=over"}); status != 401 {
		t.Errorf("with a login that is over: %d", status)
	}
	ws, _ := c.webSocket(t, cfg, base+"/ws", http.Header{"Authorization": {"Bearer " + token}})
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(`{"op":"watch","channel":"sessions"}`)); err != nil {
		t.Fatal(err)
	}
	if a := socketAnswer(t, ws); a["code"] != "forbidden" {
		t.Errorf("a WebSocket: %v", a)
	}
}

// Disabling the account ends what came by its certificate.
func TestDisablingAnAccountEndsItsCertificates(t *testing.T) {
	c := startCertified(t)
	c.account("shop", []string{"consumer", "viewer"})
	cfg := c.with(c.authority.of("shop"))
	n, err := c.secure(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.send("consume topic=t consume_group=g id=1")
	ws, _ := c.webSocket(t, cfg, base+"/ws", nil)
	old, _ := c.webSocket(t, cfg, "/", nil)
	if err := old.Write(t.Context(), websocket.MessageBinary, []byte("GET / HTTP/1.1\r\ncmd: consume\r\ntopic: t\r\nconsume_group: g\r\nid: 1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	pulled := make(chan int, 1)
	go func() {
		status, _ := c.web(t, cfg, "GET /consume/t/g?timeout=60000")
		pulled <- status
	}()
	eventually(t, "all consume", func() bool { return len(c.admin.get("/sessions?topic=t", as(c.token)).list("sessions")) == 3 })
	began := time.Now()
	c.admin.do("PATCH", "/accounts/shop", object{"disabled": true}, as(c.token)).want(200)
	_ = n.SetReadDeadline(time.Now().Add(patience))
	for err == nil {
		_, err = n.r.Read()
	}
	if endOf(err) != nil {
		t.Errorf("the native connection stays: %v", err)
	}
	for what, ws := range map[string]*websocket.Conn{"the WebSocket of the API": ws, "the WebSocket": old} {
		for err = nil; err == nil; {
			_, _, err = ws.Read(t.Context())
		}
		t.Logf("%s: %v", what, err)
	}
	if status := <-pulled; status == 200 || status == 204 {
		t.Errorf("what waited was answered with %d", status)
	}
	if took := time.Since(began); took > promptly {
		t.Errorf("it took %v", took)
	}
	if status, _ := c.web(t, cfg, "GET "+base+"/topics"); status != 401 {
		t.Errorf("afterwards: %d", status)
	}
	c.admin.do("PATCH", "/accounts/shop", object{"disabled": false}, as(c.token)).want(200)
	if status, _ := c.web(t, cfg, "GET "+base+"/topics"); status != 200 {
		t.Errorf("enabled again: %d", status)
	}
}

// A browser shows its certificate whichever page makes it send a request: it counts for this server's
// own pages, below /api/, even where --allow-origin lets others in.
func TestNoForeignPageActsByACertificate(t *testing.T) {
	c := startCertified(t, func(cfg *config.Config) { cfg.AllowOrigin = []string{"*"} })
	cfg := c.with(c.authority.of("root"))
	own, evil := "https://"+c.addr, "https://evil.example"
	agent := header{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	accept := header{"Accept", "*/*"}
	from := func(site string) header { return header{"Sec-Fetch-Site", site} }
	api, command := "POST "+base+"/topics/t:empty", "POST /empty/t/g"
	for _, x := range []struct {
		line    string
		headers []header
		counts  bool
	}{
		{api, nil, true},
		{command, nil, true}, // a program
		{api, []header{agent, accept, from("same-origin"), {"Origin", own}}, true},
		{"GET " + base + "/accounts", []header{agent, accept, from("none")}, true},
		{command, []header{agent, accept, from("same-origin"), {"Origin", own}}, false},
		{command, []header{agent, accept, from("none")}, false},
		{api, []header{agent, accept, from("cross-site"), {"Origin", evil}}, false},
		{api, []header{agent, accept, from("cross-site"), {"Origin", "null"}}, false},
		{api, []header{agent, accept, from("same-site"), {"Origin", "http://" + c.addr}}, false},
		{api, []header{agent, accept, {"Origin", "http://" + c.addr}}, false},
		{api, []header{agent, accept, {"Origin", evil}}, false},
		{api, []header{{"Origin", evil}}, false},
		{api, []header{agent, accept, {"Referer", evil}}, false},
		{api, []header{agent, accept}, false}, // an old browser: who knows which page
		{command, []header{agent, accept}, false},
		{command, []header{agent, accept, from("cross-site")}, false},
		{"GET /empty/t/g", []header{agent, accept, from("cross-site")}, false}, // a picture
		{"GET /empty/t/g", []header{{"Referer", evil}}, false},
		{"GET " + base + "/backup", []header{agent, accept, from("cross-site"), {"Origin", evil}}, false},
	} {
		if status, text := c.web(t, cfg, x.line, x.headers...); (status == 200) != x.counts || !x.counts && status != 401 {
			t.Errorf("%s %v: %d %.200s", x.line, x.headers, status, text)
		}
	}
	for origin, want := range map[string]int{own: 101, "http://" + c.addr: 401, evil: 401, "null": 401} {
		if _, status := c.webSocket(t, cfg, base+"/ws", http.Header{"Origin": {origin}}); status != want {
			t.Errorf("a WebSocket of a page of %s: %d", origin, status)
		}
		ws, _ := c.webSocket(t, cfg, "/", http.Header{"Origin": {origin}})
		if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("GET / HTTP/1.1\r\ncmd: query\r\ntopic: t\r\nid: 1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := ws.Read(t.Context()); err != nil || !strings.HasPrefix(string(data), "HTTP/1.1 401 ") {
			t.Errorf("a frame of a page of %s: %s %v", origin, data, err)
		}
	}
}

// The certificate of a trusted proxy says nothing of its clients.
func TestTheCertificateOfAProxyIsNotItsClients(t *testing.T) {
	c := startCertified(t, func(cfg *config.Config) { cfg.TrustedProxy = []string{"127.0.0.1"} })
	cfg := c.with(c.authority.of("root"))
	if status, text := c.web(t, cfg, "GET "+base+"/accounts", header{"X-Forwarded-For", "10.1.2.3"}); status != 401 {
		t.Errorf("%d %s", status, text)
	}
	n, err := c.secure(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.send("query topic=t id=1")
	if status, text := n.answer(t); status != 401 {
		t.Errorf("native: %d %s", status, text)
	}
}

// Authorities are read again like the certificate; who is no longer one lets nobody in, however
// often its certificates were seen before.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	t.Parallel()
	c := startCertified(t)
	before, after := c.with(c.authority.of("root")), newAuthority(t)
	if status, _ := c.web(t, before, "GET "+base+"/accounts"); status != 200 {
		t.Fatalf("%d", status)
	}
	if err := os.WriteFile(c.caFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool {
		_, text := c.web(t, c.with(nil), "GET /readyz", as(c.token))
		return strings.Contains(text, "tls-client-ca")
	})
	if status, _ := c.web(t, before, "GET "+base+"/accounts"); status != 200 {
		t.Errorf("with a broken file: %d", status)
	}
	after.write(c.caFile)
	eventually(t, "the new authority counts", func() bool {
		status, _ := c.web(t, c.with(after.of("root")), "GET "+base+"/accounts")
		return status == 200
	})
	if status, _ := c.web(t, before, "GET "+base+"/accounts"); status != 0 {
		t.Errorf("the old one: %d", status)
	}
}
