package daemon

import (
	"log/slog"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/config"
)

// openAccess makes the registry of who may do what.
func openAccess(cfg config.Config, b *broker.Broker, log *slog.Logger) (*access.Registry, error) {
	return access.New(access.Options{
		Mode: access.Mode(cfg.Auth), Beyond: !cfg.Local() && !cfg.Insecure,
		Documents: b.TakeDocuments(), Save: b.PutDocuments, Log: log,
	})
}
