package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/rushmore/zbus-go/zbus"
)

// manCommand writes the manual pages, one for each command.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a directory", Args: wants("DIR"),
		Long:    "Write the manual pages into a directory: zbus.1, and one for each command, such as\nzbus-topic-create.1.",
		Example: "  zbus man ~/.local/share/man/man1 && man zbus-produce",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the same pages whenever they are made
			header := &doc.GenManHeader{Title: "ZBUS", Section: "1", Source: "zbus", Manual: "zbus manual"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return err
			}
			for _, topic := range root.Commands() { // which the tree leaves out
				if topic.IsAdditionalHelpTopicCommand() {
					if err := writePage(topic, header, args[0]); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
}

// writePage writes the page of one command.
func writePage(cmd *cobra.Command, header *doc.GenManHeader, dir string) error {
	own := *header // its title becomes the page's
	own.Title = ""
	f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
	if err != nil {
		return err
	}
	return errors.Join(doc.GenMan(cmd, &own, f), f.Close())
}

// ExitCode is one row of the table of exit codes, for those that errors of this
// package and of package zbus have.
type ExitCode struct {
	Code  int
	Kinds []error
	Means string
}

// ExitCodes is the table. The first row that knows an error decides.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{130, []error{ErrInterrupted}, "interrupted before the command's own end"},
		{64, []error{ErrUsage, zbus.ErrInvalid, zbus.ErrTooLarge}, "wrong command line, or the broker says that the request can never be right"},
		{65, []error{ErrData}, "the input is not what it should be"},
		{66, []error{ErrNoInput, zbus.ErrNotFound}, "no such file, topic, group, message, session or context"},
		{75, []error{ErrIncomplete, zbus.ErrTimeout}, "not in time, or less than was asked for"},
		{76, []error{zbus.ErrUnknownOutcome}, "no answer came, or the broker says that the outcome is unknown: it may be done or not"},
		{69, []error{zbus.ErrUnavailable, zbus.ErrClosed}, "the broker can't be reached or can't do it now; nothing was done"},
		{73, []error{zbus.ErrExists, zbus.ErrConflict}, "it is there already, or is not any more what it was"},
		{74, []error{zbus.ErrFull}, "the broker's disk is full; nothing was stored"},
		{77, []error{zbus.ErrUnauthorized, zbus.ErrForbidden, zbus.ErrQuota}, "not allowed, or over a quota"},
		{1, []error{ErrAnswer, ErrDeclined}, "the answer is no: of a service to a call, or yours to a question"},
	}
}
