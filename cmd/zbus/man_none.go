//go:build !man

package main

import "github.com/spf13/cobra"

// builderCommands are none: the manual pages are written by a program with the tag man, since what
// writes them weighs more than they do.
func builderCommands() []*cobra.Command { return nil }
