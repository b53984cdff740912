package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
)

// serveCommand is the verb that runs the broker, under the given name.
func serveCommand(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: "Run the broker (what zbus does without a command)",
		Long: "Run the broker until it is interrupted.\n\n" +
			"Each flag is also a variable, --sync-interval is ZBUS_SYNC_INTERVAL, and a key in\n" +
			"the file that --config names. Flags are stronger than variables, variables than\n" +
			"the file.",
		Args: noArguments,
		RunE: serve,
	}
	cmd.Flags().SortFlags = false
	config.Register(cmd.Flags())
	return cmd
}

func serve(cmd *cobra.Command, _ []string) error {
	cfg, err := config.Load(cmd.Flags(), os.Environ())
	if err != nil {
		return usageError{err}
	}
	if cfg.TLS() {
		// The broker loads them too. Here a wrong file is still a wrong setting.
		if _, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return usageError{fmt.Errorf("tls-cert %q with tls-key %q: %w", cfg.TLSCert, cfg.TLSKey, err)}
		}
	}
	log := newLogger(cmd.ErrOrStderr(), &cfg)
	return daemon.Run(cmd.Context(), cfg, daemon.Version(version()), log, func(r daemon.Ready) {
		writeScreen(cmd.OutOrStdout(), &cfg, r.Addrs)
	})
}

func newLogger(w io.Writer, cfg *config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
