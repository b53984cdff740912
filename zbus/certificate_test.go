package zbus_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/zbus"
)

// signed is a certificate for an account, by whose certificate is in two files.
func signed(t testing.TB, certFile, keyFile, account string) tls.Certificate {
	t.Helper()
	by, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return *certtest.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "zbus", Opaque: "account/" + account}},
	}, &by)
}

// A certificate in Options.TLS says who the client is, over TCP and WebSocket, and a token wins over it.
func TestAClientCertificateSaysWhoOneIs(t *testing.T) {
	t.Parallel()
	cert, key, trust := certificate(t)
	b := startClosedWith(t, func(cfg *config.Config) { cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = cert, key, cert }, "publish,consume,manage:log")
	b.ask("POST", "/accounts", map[string]any{"name": "other", "grants": []string{"publish:none"}})
	_, token := b.token()
	for _, scheme := range []string{"zbuss://", "wss://"} {
		as := func(account, token string) zbus.Options {
			cfg := trust.Clone()
			if account != "" {
				cfg.Certificates = []tls.Certificate{signed(t, cert, key, account)}
			}
			return zbus.Options{TLS: cfg, Token: token}
		}
		c := dial(t, scheme+b.Addr, as("app", ""))
		declare(t, c, "log")
		publish(t, c, "log", 3)
		n := 0
		for _, err := range c.Messages(within(t), "log", "", zbus.SubscribeOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
		publish(t, dial(t, scheme+b.Addr, as("other", token)), "log", 3)
		for account, want := range map[string]error{"other": zbus.ErrNotFound, "": zbus.ErrUnauthorized, "nobody": zbus.ErrUnauthorized} {
			c, err := zbus.Dial(within(t), scheme+b.Addr, as(account, ""))
			if err == nil {
				_, err = c.Publish(within(t), "log", zbus.Message{})
				_ = c.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("%s as %q: %v, want %v", scheme, account, err, want)
			}
		}
	}
}
