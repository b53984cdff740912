package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/sso"
)

// openAccess makes the registry of who may do what. issuer may be nil.
func openAccess(cfg config.Config, b *broker.Broker, issuer *sso.Issuer, log *slog.Logger) (*access.Registry, error) {
	opts := access.Options{
		Mode: access.Mode(cfg.Auth), Beyond: !cfg.Local() && !cfg.Insecure,
		Documents: b.TakeDocuments(), Save: b.PutDocuments, Log: log,
	}
	if issuer == nil {
		return access.New(opts)
	}
	opts.Issuer = issuer
	r, err := access.New(opts)
	if err != nil {
		return nil, err
	}
	for _, name := range issuer.Roles() {
		if !slices.ContainsFunc(r.Roles(), func(x access.Role) bool { return x.Name == name }) {
			log.Warn("sso-roles has a role that is not there: it gives nothing until it is added", "role", name)
		}
	}
	return r, nil
}

// newIssuer makes the issuer that people and programs sign on with; nil, if there is none.
func newIssuer(cfg config.Config, board *condition.Board, log *slog.Logger) *sso.Issuer {
	if cfg.SSOIssuer == "" {
		return nil
	}
	opts := sso.Options{
		URL: cfg.SSOIssuer, ClientID: cfg.SSOClientID, Scopes: cfg.SSOScopes, Audiences: cfg.SSOAudience,
		NameClaim: cfg.SSONameClaim, GroupsClaim: cfg.SSOGroupsClaim, GrantsClaim: cfg.SSOGrantsClaim, Roles: cfg.RolesOfGroups(),
		Conditions: board, Log: log, Now: time.Now,
	}
	if path := cfg.SSOSecretFile; path != "" {
		opts.Secret = func() (string, error) { return readSecret(path) }
	}
	return sso.New(opts)
}

// maxSecret is how large the file of a secret may be.
const maxSecret = 4096

// readSecret reads the first line of a file. It is read when it is needed, so that another secret needs no
// restart.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s has no secret in its first line", path)
	}
	return line, nil
}

// runIssuer keeps what the issuer says fresh until ctx ends.
func runIssuer(i *sso.Issuer) func(ctx context.Context) error {
	if i == nil {
		return func(context.Context) error { return nil }
	}
	return i.Run
}
