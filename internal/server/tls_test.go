package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t testing.TB) (cert, key string) {
	t.Helper()
	return certtest.Own(t, t.TempDir(), 1)
}

// served is the number of the certificate that a new connection gets.
func (b *instance) served(t testing.TB) int64 {
	t.Helper()
	conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A pair that is renewed is taken up when its files change and at SIGHUP. One that is
// broken is said to be, and the old one stays.
func TestACertificateIsRenewedWithoutARestart(t *testing.T) {
	cert, key := selfSigned(t)
	b := start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	before, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	old := newClient(t, before)
	web := &http.Client{} // one connection, however often it is asked
	defer web.CloseIdleConnections()
	ready := func() string {
		resp, err := web.Get("http://" + b.addr + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return pageOf(t, resp)
	}
	for i, tell := range []func(){
		func() {}, // the files are looked at
		func() {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Signal(syscall.SIGHUP)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		serial := int64(2 + i)
		if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
			t.Fatal(err)
		}
		tell()
		eventually(t, "the broken key is told", func() bool { return strings.Contains(ready(), "warning tls "+cert) })
		if got := b.served(t); got != serial-1 || !strings.HasPrefix(ready(), "ok\n") {
			t.Errorf("with a broken key, certificate %d is served, and %q", got, ready())
		}
		certtest.Own(t, filepath.Dir(cert), serial)
		tell()
		eventually(t, "the new certificate is served", func() bool { return b.served(t) == serial })
		eventually(t, "nothing is wrong", func() bool { return ready() == "ok\n" })
		text, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		b.dial(t).ok("ssl").want(t, 200, string(text))
	}
	old.ok("ping") // a connection stays
}

// outer is an address of this machine that is not loopback.
func outer(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("NOT TESTED: this machine has no address but loopback")
	return ""
}

func TestPlainConnectionsFromBeyondLoopbackAreRefusedWithTLS(t *testing.T) {
	t.Parallel()
	address := outer(t)
	cert, key := selfSigned(t)
	for _, allowed := range []bool{false, true} {
		b := start(t, func(c *config.Config) {
			c.Listen, c.TLSCert, c.TLSKey, c.AllowPlain = []string{"0.0.0.0:0"}, cert, key, allowed
		})
		_, port, err := net.SplitHostPort(b.addr)
		if err != nil {
			t.Fatal(err)
		}
		want := 403
		if allowed {
			want = 200
		}
		b.addr = net.JoinHostPort(address, port)
		c := b.dial(t)
		c.send("ping id=1")
		if a, err := c.next(); err != nil || a.Status != want {
			t.Errorf("allowed %t: native: %v, %v", allowed, a.Message, err)
		}
		if !allowed {
			c.closed()
		}
		resp := b.web(t, "GET", "/healthz", "", "")
		if resp.StatusCode != want || !allowed && (!strings.Contains(pageOf(t, resp), "--allow-plain") || resp.Header.Get("Location") != "") {
			t.Errorf("allowed %t: HTTP: %d", allowed, resp.StatusCode)
		}
		if b.served(t) != 1 {
			t.Error("no TLS")
		}
		b.addr = net.JoinHostPort("127.0.0.1", port)
		b.dial(t).ok("ping")
	}
}

func TestOnePortServesPlainAndTLSOfEveryKind(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	b := start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	plain := b.dial(t)

	// Clients ask for the certificate and pin it.
	text := plain.ok("ssl server="+b.addr).without(t, "content-type").Body
	if file, err := os.ReadFile(cert); err != nil || string(file) != string(text) {
		t.Errorf("ssl: %q (%v)", text, err)
	}
	if a := plain.call("ssl server=elsewhere:1"); a.Status != 404 {
		t.Errorf("ssl of another server: %d", a.Status)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	pinned := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}

	conn, err := tls.Dial("tcp", b.addr, pinned)
	if err != nil {
		t.Fatal(err)
	}
	secure := newClient(t, conn)
	a := secure.ok("tracker")
	if want := fmt.Sprintf(`"serverTable":{"[SSL]%s":{"serverAddress":{"address":%q,"sslEnabled":true}`, b.addr, b.addr); !strings.Contains(string(a.Body), want) {
		t.Errorf("tracker: %s", a.Body)
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: pinned}
	defer transport.CloseIdleConnections()
	ws, _, err := websocket.Dial(ctx, "wss://"+b.addr, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	socket := &socket{t, ctx, ws}

	// One broker behind all of them.
	plain.ok("declare topic=T")
	secure.send("consume topic=T id=c")
	secure.quiet()
	socket.write(websocket.MessageBinary, request("produce topic=T id=p", "over wss"))
	socket.recv().header(t, "id", "p")
	secure.recv().want(t, 200, "over wss")
}

func TestABadTLSHandshakeEndsOnlyItsConnection(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	b := start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	good, bad := b.dial(t), b.dial(t)
	good.ok("ping")
	bad.write("\x16\x03\x01\x00\x05hello this is no handshake")
	for {
		if _, err := bad.conn.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	good.ok("ping")

	noTLS := start(t)
	c := noTLS.dial(t)
	c.write("\x16\x03\x01\x00\x05hello\r\n\r\n")
	if a := c.recv(); a.Status != 400 {
		t.Errorf("TLS to a broker without it: %d %q", a.Status, a.Body)
	}
}
