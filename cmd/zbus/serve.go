package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/logs"
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
	if err := cfg.CheckStore(); err != nil {
		return usageError{err}
	}
	if cfg.TLS() {
		// The broker loads them too. Here a wrong file is still a wrong setting.
		if _, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return usageError{fmt.Errorf("tls-cert %q with tls-key %q: %w", cfg.TLSCert, cfg.TLSKey, err)}
		}
		if err := checkAuthorities(cfg.TLSClientCA); err != nil {
			return usageError{err}
		}
	}
	// A reader of the screen or the log that goes away costs what it would have read.
	signal.Ignore(syscall.SIGPIPE)
	log, closeLog, err := newLog(cmd.ErrOrStderr(), &cfg)
	if err != nil {
		return usageError{err}
	}
	defer closeLog()
	for _, name := range config.Ignored(os.Environ()) {
		log.Warn("a variable is no setting: it looks like one that an orchestrator sets for a service", "variable", name)
	}
	daemon.LimitHeap(&cfg)
	return daemon.Run(cmd.Context(), cfg, daemon.Version(version()), log, func(r daemon.Ready) {
		writeScreen(cmd.OutOrStdout(), &cfg, r)
	})
}

// newLog opens the log: standard error, or a directory, of whose failures standard error is
// told. Nothing that is logged waits for either.
func newLog(stderr io.Writer, cfg *config.Config) (log *slog.Logger, closeLog func(), err error) {
	handler := func(w io.Writer) slog.Handler { return newHandler(w, cfg) }
	screen, onScreen := logs.Open(stderr, handler, func(error) {}) // there is no other place to say so
	if cfg.LogDir == "" {
		return screen, func() { onScreen.Close() }, nil
	}
	file, err := logs.File(cfg.LogDir, cfg.LogSize, cfg.LogKeep)
	if err != nil {
		onScreen.Close()
		return nil, nil, fmt.Errorf("log-dir %q: must be a directory that can be written: %w", cfg.LogDir, err)
	}
	log, inFile := logs.Open(file, handler, func(err error) {
		screen.Warn("the log can't be written; its lines are lost until it can", "dir", cfg.LogDir, "err", err)
	})
	return log, func() {
		if inFile.Close() {
			_ = file.Close()
		}
		onScreen.Close()
	}, nil
}

func newHandler(w io.Writer, cfg *config.Config) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// checkAuthorities reports what is wrong with the file of who signs the certificates of clients.
func checkAuthorities(path string) error {
	if path == "" {
		return nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("tls-client-ca: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("tls-client-ca %q: has no certificate in PEM", path)
	}
	return nil
}
