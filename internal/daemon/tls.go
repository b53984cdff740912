package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/config"
)

// certificateWatch is how often the files of the certificate are read.
const certificateWatch = 3 * time.Second

// tlsCondition is what the board calls a certificate that can't be used.
const tlsCondition = "tls"

// certificates is the certificate that new connections get, and the authorities of those that
// clients show. Its methods may be called by any goroutine, but run, which is for one.
type certificates struct {
	cert, key string // paths
	clientCA  string // path; "": clients are not asked for certificates
	log       *slog.Logger
	board     *condition.Board
	hangup    chan os.Signal

	current atomic.Pointer[keyPair] // set by run after the start
}

// keyPair is a certificate with its key and the authorities of clients, and the text of the files.
// It does not change.
type keyPair struct {
	certPEM, keyPEM, caPEM []byte
	pair                   tls.Certificate
	clients                *x509.CertPool
}

// loadTLS reads the certificate and key; nil, if TLS is not configured.
func loadTLS(cfg config.Config, log *slog.Logger) (*certificates, error) {
	if !cfg.TLS() {
		return nil, nil
	}
	c := &certificates{cert: cfg.TLSCert, key: cfg.TLSKey, clientCA: cfg.TLSClientCA, log: log, hangup: make(chan os.Signal, 1)}
	text, err := c.read()
	if err == nil {
		err = c.use(text)
	}
	return c, err
}

// config is what a server listens with; nil without certificates.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	base := &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.current.Load().pair, nil },
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // for clients that insist on choosing
	}
	if c.clientCA == "" {
		return base
	}
	// Each connection shows its certificate, and is checked against the authorities of that moment.
	base.ClientAuth, base.SessionTicketsDisabled = tls.VerifyClientCertIfGiven, true
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		one := base.Clone()
		one.ClientCAs = c.current.Load().clients
		return one, nil
	}
	return base
}

// show is what this server shows to the trackers that it joins: its certificate, if that names an account.
func (c *certificates) show(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair := &c.current.Load().pair
	names := slices.ContainsFunc(pair.Leaf.URIs, func(u *url.URL) bool { return strings.HasPrefix(u.String(), access.CertificatePrefix) })
	if !names || asked.SupportsCertificate(pair) != nil {
		return new(tls.Certificate), nil
	}
	return pair, nil
}

// text is the PEM text that clients pin; "" without certificates.
func (c *certificates) text() string {
	if c == nil {
		return ""
	}
	return string(c.current.Load().certPEM)
}

func (c *certificates) read() (k keyPair, err error) {
	if k.certPEM, err = os.ReadFile(c.cert); err != nil {
		return k, fmt.Errorf("tls-cert: %w", err)
	}
	if k.keyPEM, err = os.ReadFile(c.key); err != nil {
		return k, fmt.Errorf("tls-key: %w", err)
	}
	if c.clientCA == "" {
		return k, nil
	}
	if k.caPEM, err = os.ReadFile(c.clientCA); err != nil {
		return k, fmt.Errorf("tls-client-ca: %w", err)
	}
	return k, nil
}

// use has new connections get a certificate, if it goes with its key.
func (c *certificates) use(k keyPair) (err error) {
	if k.pair, err = tls.X509KeyPair(k.certPEM, k.keyPEM); err != nil {
		return fmt.Errorf("tls-cert %q with tls-key %q: %w", c.cert, c.key, err)
	}
	if c.clientCA != "" {
		if k.clients = x509.NewCertPool(); !k.clients.AppendCertsFromPEM(k.caPEM) {
			return fmt.Errorf("tls-client-ca %q: has no certificate in PEM", c.clientCA)
		}
	}
	c.current.Store(&k)
	return nil
}

// notice has SIGHUP noticed, which ends a process without TLS, until stop is called.
func (c *certificates) notice() (stop func()) {
	if c == nil {
		return func() {}
	}
	signal.Notify(c.hangup, syscall.SIGHUP)
	return func() { signal.Stop(c.hangup) }
}

// run takes up certificates that are renewed, when their files change and when the process
// is told to look (SIGHUP). Without certificates it does nothing.
func (c *certificates) run(ctx context.Context) error {
	if c == nil {
		return nil
	}
	tick := time.NewTicker(certificateWatch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.hangup:
			c.renew(true)
		case <-tick.C:
			c.renew(false)
		}
	}
}

// renew uses what the files have now. What can't be used leaves the old certificate in
// use: the files may be in the middle of being written, and are read again.
func (c *certificates) renew(asked bool) {
	now := c.current.Load()
	k, err := c.read()
	same := err == nil && bytes.Equal(k.certPEM, now.certPEM) && bytes.Equal(k.keyPEM, now.keyPEM) && bytes.Equal(k.caPEM, now.caPEM)
	if err == nil && !same {
		err = c.use(k)
	}
	if err != nil {
		c.board.Raise(condition.Condition{
			Kind: tlsCondition, Subject: c.cert, Severity: condition.Warning,
			Text: "the certificate can't be renewed, and the one before it stays in use: " + err.Error(),
		})
		return
	}
	c.board.Clear(tlsCondition, c.cert)
	if !same || asked {
		c.log.Info("the certificate was read again", "tls-cert", c.cert, "changed", !same)
	}
}
