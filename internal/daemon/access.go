package daemon

import (
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

// openAccess creates the registry of who may do what.
func openAccess(cfg config.Config, b *broker.Broker, issuers sso.Issuers, log *slog.Logger) (*access.Registry, error) {
	opts := access.Options{
		Mode: access.Mode(cfg.Auth), Beyond: !cfg.Local() && !cfg.Insecure,
		Documents: b.TakeDocuments(), Save: b.PutDocuments, Log: log,
	}
	if len(issuers) == 0 {
		return access.New(opts)
	}
	opts.Issuer = issuers
	r, err := access.New(opts)
	if err != nil {
		return nil, err
	}
	for _, name := range issuers.Roles() {
		if !slices.ContainsFunc(r.Roles(), func(x access.Role) bool { return x.Name == name }) {
			log.Warn("sso-roles has a role that is not there: it gives nothing until it is added", "role", name)
		}
	}
	return r, nil
}

// newIssuers makes those that people and programs sign on with.
func newIssuers(cfg *config.Config, board *condition.Board, log *slog.Logger) (all sso.Issuers) {
	given := cfg.Issuers()
	var names []string
	for _, i := range given {
		if i.Name != "" {
			names = append(names, i.Name)
		}
	}
	for _, i := range given {
		opts := sso.Options{
			URL: i.URL, Name: i.Name, Others: names, ClientID: i.ClientID, Scopes: i.Scopes, Audiences: i.Audience,
			NameClaim: i.NameClaim, GroupsClaim: i.GroupsClaim, GrantsClaim: i.GrantsClaim, Roles: i.Roles,
			Conditions: board, Log: log, Now: time.Now,
		}
		if i.SecretFile != "" {
			opts.Secret = func() (string, error) { return readSecret(i.SecretFile) }
		}
		all = append(all, sso.New(opts))
	}
	return all
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
