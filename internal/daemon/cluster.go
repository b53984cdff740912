package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/cluster"
	"github.com/rushmore/zbus-go/internal/config"
)

// openCluster makes what knows the other servers. It is called before the server is made.
func (p *parts) openCluster(cfg config.Config, version Version, bytes int64) (*cluster.Cluster, error) {
	info := p.info(cfg, version)
	opts := cluster.Options{
		Self:    cluster.Address{Address: cfg.Advertised(p.listeners[0].Addr()), SSLEnabled: cfg.TLS()},
		Version: string(version), TrackerOnly: cfg.TrackerOnly, TokenFile: cfg.TrackerTokenFile, TableBytes: bytes,
		Figures:    func() cluster.Figures { return api.FiguresOf(info(), p.broker, p.stats) },
		Changed:    func() { p.server.Joined() },
		Conditions: p.board, Log: p.log,
	}
	for _, text := range cfg.Trackers {
		a, err := cluster.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("tracker %q: %w", text, err)
		}
		opts.Trackers = append(opts.Trackers, a)
	}
	if p.certificates != nil {
		opts.Certificate = p.certificates.text
	}
	var err error
	if opts.Secrets, err = others(cfg.TrackerCA, p.certificates.text()); err != nil {
		return nil, err
	}
	if p.certificates != nil {
		opts.Secrets.GetClientCertificate = p.certificates.show
	}
	return cluster.New(opts)
}

// others is what connections to trackers go by: what the system trusts, the authorities in a
// file, and the certificate of this server, which all may share.
func others(authorities, own string) (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(own))
	if authorities != "" {
		text, err := os.ReadFile(authorities)
		if err != nil {
			return nil, fmt.Errorf("tracker-ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tracker-ca %q: has no certificate in PEM", authorities)
		}
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
