// Command zbus is the broker and its command line in one binary. Without a verb
// it serves. The verbs of those who use a broker are in internal/cli.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"modernc.org/sqlite"

	"github.com/rushmore/zbus-go/internal/cli"
	"github.com/rushmore/zbus-go/internal/daemon"
)

func main() {
	// Before anything can open a database: otherwise a process that opens and closes
	// the file somewhere in this process drops SQLite's locks on it.
	if _, err := sqlite.OFDLocking(true); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Warn("database locks are less safe", "err", err)
	}
	keepFilesPrivate()

	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // the two that count
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go stopOnSignal(signals, cancel, os.Exit)

	if err := execute(ctx, os.Args[1:]); err != nil {
		report(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

// stopOnSignal asks for an orderly stop at the first signal and does not wait
// for it at the second.
func stopOnSignal(signals <-chan os.Signal, stop func(), exit func(int)) {
	<-signals
	stop()
	<-signals
	exit(exitInterrupted)
}

// execute runs the command line in args.
func execute(ctx context.Context, args []string) error {
	root := serveCommand("zbus")
	root.Short = "Message queue and RPC broker: one binary, one port, SQLite"
	root.Long = "A message queue and RPC broker, and its command line. Without a command it runs the\n" +
		"broker: the flags are those of zbus serve."
	root.Version = version()
	root.SilenceErrors, root.SilenceUsage = true, true
	cli.AddTo(root, func(ctx context.Context, data string, create bool) (http.Handler, func() error, error) {
		return daemon.Administer(ctx, data, create, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	})
	for _, cmd := range []*cobra.Command{serveCommand("serve"), verifyCommand(), storeCommand(), benchCommand(), versionCommand()} {
		cmd.GroupID = cli.GroupBroker
		root.AddCommand(cmd)
	}
	root.AddCommand(builderCommands()...)
	root.InitDefaultCompletionCmd(args...)
	root.InitDefaultHelpCmd()
	refuseUnknown(root)
	root.SetFlagErrorFunc(flagError)
	// The first thing called once the command line itself is in order.
	accepted := false
	root.PersistentPreRun = func(*cobra.Command, []string) { accepted = true }

	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !accepted {
		err = usageError{fmt.Errorf("%w; see %s --help", err, called(root, args))}
	}
	if flag := cmd.Flags().Lookup("json"); err != nil && flag != nil && flag.Value.String() == "true" {
		return jsonError{err}
	}
	return err
}

// called is the command that the words in args lead to, as far as they do.
func called(root *cobra.Command, args []string) string {
	cmd, _, err := root.Find(args)
	if err != nil {
		return root.CommandPath()
	}
	return cmd.CommandPath()
}
