package main

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rushmore/zbus-go/internal/closest"
)

// refuseUnknown makes cobra's own verbs refuse what they do not know. They would
// print their help and succeed.
func refuseUnknown(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Args = func(_ *cobra.Command, topic []string) error {
				found, rest, err := root.Find(topic)
				if err != nil {
					return err
				}
				return noArguments(found, rest)
			}
		}
		if !cmd.Runnable() && cmd.HasSubCommands() {
			cmd.Args = noArguments
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// noArguments refuses words behind a verb, most of them misspelt verbs.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := elsewhere(cmd, args[0])
	if name := foreign(args[0]); name != "" && cmd == cmd.Root() {
		hint = " (did you mean zbus " + name + "?)"
	}
	switch {
	case cmd.Name() != "message": // single messages can't be deleted: docs/adr/0050-deleting-messages.md
	case args[0] == "delete", args[0] == "remove", args[0] == "rm":
		hint = " (messages go with the retention of their topic, see zbus topic set, or all with zbus topic empty; a group skips some with zbus relocate)"
	}
	if hint == "" {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(append(names, c.Name()), c.Aliases...)
			}
		}
		hint = closest.Hint(args[0], "%s", names)
	}
	return fmt.Errorf("unknown command %q%s", args[0], hint)
}

// foreign is what the command is called here that other brokers have by another name.
func foreign(name string) string {
	switch name {
	case "pub", "publish", "send":
		return "produce"
	case "sub", "subscribe", "receive":
		return "consume"
	case "request", "req":
		return "call"
	case "reply":
		return "serve-rpc"
	case "status":
		return "server info"
	}
	return ""
}

// elsewhere says where the commands of a name are that is known, but not below cmd.
func elsewhere(cmd *cobra.Command, name string) string {
	if !cmd.HasSubCommands() {
		return "" // it is an argument too many, rather than a command
	}
	var paths []string
	var look func(*cobra.Command)
	look = func(in *cobra.Command) {
		for _, c := range in.Commands() {
			if c.IsAvailableCommand() && (c.Name() == name || c.HasAlias(name)) {
				paths = append(paths, c.CommandPath())
			}
			look(c)
		}
	}
	look(cmd.Root())
	if len(paths) == 0 {
		return ""
	}
	sort.SliceStable(paths, func(i, j int) bool { return strings.Count(paths[i], " ") < strings.Count(paths[j], " ") })
	return " (did you mean " + strings.Join(paths, " or ") + "?)"
}

// flagError says what is wrong with a flag in words of ours. Those of pflag name no
// flag that is like an unknown one, and end in those of package strconv.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			return noArguments(cmd, words) // the flag may be right for what was meant
		}
		if unknown.GetSpecifiedShortnames() == "" {
			return fmt.Errorf("%w%s", err, closest.Hint(unknown.GetSpecifiedName(), "--%s", flagNames(cmd)))
		}
	case errors.As(err, &value):
		return fmt.Errorf("--%s: %q %s", value.GetFlag().Name, value.GetValue(), complaint(value))
	}
	return err
}

func flagNames(cmd *cobra.Command) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// complaint says what is wrong with the value of a flag, behind it. The flags whose
// values are read here, and not by pflag, say it like this themselves.
func complaint(e *pflag.InvalidValueError) string {
	switch kind := e.GetFlag().Value.Type(); {
	case errors.Is(e, strconv.ErrRange):
		return "is out of range"
	case kind == "bool":
		return "is neither true nor false"
	case strings.HasPrefix(kind, "int"):
		return "is not a whole number"
	case strings.HasPrefix(kind, "float"):
		return "is not a number"
	}
	return errors.Unwrap(e).Error()
}
