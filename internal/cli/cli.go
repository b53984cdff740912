// Package cli is the command line for those who use a broker: one command for each
// noun or verb, in a file of its own.
//
// Producing, consuming and calls speak the native protocol, with the Go client that
// everyone has. All that looks at the broker or changes it goes over the HTTP API,
// with the client that is generated from its contract. Both are on one port, so one
// address is enough (connect.go), and both report failures as the errors of package
// zbus, so one table of exit codes is enough, too.
//
// Standard output has the result and nothing else: a table for people, or with --json
// the objects of the API, a list as one object a line. What is said besides
// (progress, questions, summaries) goes to standard error. A command that destroys
// something says first what that is, in numbers, and asks, or wants --yes.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Groups of commands in the help of the root.
const (
	groupMessages = "messages"
	groupManage   = "manage"
	groupAccess   = "access"
	GroupBroker   = "broker" // of the commands that are not here
)

// AddTo adds the commands to the one at the root, for one invocation. offline opens the
// directories of brokers that are stopped.
func AddTo(root *cobra.Command, offline Offline) {
	a := new(app)
	a.directory.open = offline
	root.AddGroup(&cobra.Group{ID: groupMessages, Title: "Messages and calls:"},
		&cobra.Group{ID: groupManage, Title: "Look and change:"}, &cobra.Group{ID: groupAccess, Title: "Who may do what:"}, &cobra.Group{ID: GroupBroker, Title: "The broker:"})
	for group, commands := range map[string][]*cobra.Command{
		groupMessages: {a.produceCommand(), a.consumeCommand(), a.callCommand(), a.serveRPCCommand(), a.proxyCommand()},
		groupManage: {
			a.topicCommand(), a.groupCommand(), a.relocateCommand(), a.messageCommand(), a.deadCommand(), a.serverCommand(), a.clusterCommand(), a.pingCommand(), a.contextCommand(),
		},
		groupAccess: {
			a.loginCommand(), a.logoutCommand(), a.whoamiCommand(), a.canCommand(), a.accountCommand(), a.roleCommand(), a.tokenCommand(),
		},
		GroupBroker: {a.backupCommand(), a.restoreCommand(), a.recoverCommand()},
	} {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(exitCodesTopic(), serversTopic())
}

// app has the flags that the commands share.
type app struct {
	servers   Servers
	directory directory
	json      bool
	utc       bool
	yes       bool
	raw       bool
}

// invocation is one run of a command.
type invocation struct {
	*app
	args []string
	in   io.Reader
	out  *output
	err  io.Writer // for what is said besides the result
}

// run returns a function of the kind that cobra wants. Inlined, it would add 1 KB to the
// binary for each command.
//
//go:noinline
func (a *app) run(f func(ctx context.Context, i *invocation) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		// A reader that has seen enough, such as head, must not kill us before
		// acks have arrived. The write fails instead, which ends the command.
		signal.Ignore(syscall.SIGPIPE)
		i := &invocation{app: a, args: args, in: cmd.InOrStdin(), out: &output{w: cmd.OutOrStdout()}, err: cmd.ErrOrStderr()}
		i.out.visible = isTerminal(i.out.w) && !a.raw
		err := f(cmd.Context(), i)
		switch {
		case i.out.gone():
			return nil
		case err == nil:
			err = i.out.err
		}
		if err != nil && cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
			return ErrInterrupted
		}
		return plain(err)
	}
}

// output is standard output. It keeps the first error, so that those who print
// tables need not look at every line.
type output struct {
	w       io.Writer
	visible bool // it is a terminal: see Visible
	err     error
}

// Write writes all of p, or nothing more after an error.
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if o.visible {
		_, o.err = o.w.Write(Visible(p))
		return len(p), o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// steer sends the terminal what it is to obey.
func (o *output) steer(sequence string) {
	if o.err == nil {
		_, o.err = io.WriteString(o.w, sequence)
	}
}

// gone reports whether the reader has gone away: it has seen enough.
func (o *output) gone() bool { return errors.Is(o.err, syscall.EPIPE) }

// isTerminal reports whether a person is at the other end.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// connected gives a command, and those below it, the flags that say which server.
func (a *app) connected(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().SortFlags = false
	cmd.Flags().SortFlags = false
	a.servers.Register(cmd.PersistentFlags())
	_ = cmd.RegisterFlagCompletionFunc("context", a.completeContexts)
	return cmd
}

// shows gives a command the flags of what is shown.
func (a *app) shows(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print the JSON of the API; of a list one object a line")
	cmd.PersistentFlags().BoolVar(&a.utc, "utc", false, "print times in UTC and not in local time")
	a.rawFlag(cmd.PersistentFlags())
	return cmd
}

// rawFlag adds the flag for those who trust what others have sent.
func (a *app) rawFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.raw, "raw", false, "to a terminal, too, print control characters as they are and not as \\x1b")
}

// asks gives a command the flag that answers its question.
func (a *app) asks(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "do it without asking")
	return cmd
}

// parent creates a command of those below it.
func parent(use, short, long string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long}
	cmd.AddCommand(children...)
	return cmd
}

// ptr returns a pointer to v, for members of requests that may be left out.
func ptr[T any](v T) *T { return &v }

// given returns a pointer to v when a flag was given, else nil.
func given[T any](cmd *cobra.Command, flag string, v T) *T {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return &v
}
