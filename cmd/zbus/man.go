//go:build man

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// builderCommands are those of a program that is built for a release, and is none itself: zbus man
// writes the manual pages, zbus.1 and one for each command, such as zbus-topic-create.1.
func builderCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use: "man DIR", Short: "Write the manual pages into a directory", Args: cobra.ExactArgs(1), Hidden: true,
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
	}}
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
