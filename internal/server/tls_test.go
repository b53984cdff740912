package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rushmore/zbus-go/internal/config"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der},
		key:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
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
