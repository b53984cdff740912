package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
)

// certificate writes one for 127.0.0.1, and its key.
func certificate(t *testing.T) (cert, key string, text []byte) {
	t.Helper()
	cert, key = certtest.Own(t, t.TempDir(), 1)
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, text
}

func TestServersWithTLSJoinAndTellTheirCertificates(t *testing.T) {
	t.Parallel()
	cert, key, text := certificate(t)
	all := set(t, 2, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key })
	keys := []string{"[SSL]" + all[0].Addr, "[SSL]" + all[1].Addr}
	for _, b := range all {
		b.Configure(func(c *config.Config) { c.Trackers = keys })
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	conn, err := tls.Dial("tcp", all[0].Addr, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	s := &subscriber{client: &client{t: t, conn: conn, r: wire.NewReader(conn, wire.Limits{Head: 64 << 10, Fields: 100, Body: 64 << 20})}}
	s.send("track_sub", nil)
	s.next()
	s.until(keys...)
	if info := s.latest.ServerTable[keys[1]]; !info.ServerAddress.SSLEnabled || info.ServerAddress.Address != all[1].Addr {
		t.Errorf("%+v", info)
	}
	// Clients of the original ask for the certificate of a server, and pin it.
	if m := s.ask("ssl", nil, "server", all[1].Addr); m.Status != 200 || !slices.Equal(m.Body, text) {
		t.Errorf("its certificate: %d %s", m.Status, m.Body)
	}
	if m := s.ask("ssl", nil, "server", "127.0.0.1:1"); m.Status != 404 {
		t.Errorf("the certificate of another: %d %s", m.Status, m.Body)
	}
}
