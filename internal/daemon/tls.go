package daemon

import (
	"crypto/tls"
	"fmt"
	"os"

	"github.com/rushmore/zbus-go/internal/config"
)

// loadTLS reads the certificate and key, if TLS is configured. The PEM text is
// what clients pin.
func loadTLS(cfg config.Config) (*tls.Config, string, error) {
	if !cfg.TLS() {
		return nil, "", nil
	}
	text, err := os.ReadFile(cfg.TLSCert)
	if err != nil {
		return nil, "", fmt.Errorf("tls-cert: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return nil, "", fmt.Errorf("tls-cert %q with tls-key %q: %w", cfg.TLSCert, cfg.TLSKey, err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"}, // for clients that insist on choosing
	}, string(text), nil
}
