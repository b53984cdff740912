package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/zbus"
)

// The errors of this package, for errors.Is. What a broker answers is one of those of
// package zbus.
var (
	ErrUsage       = errors.New("wrong usage")            // of the command line
	ErrData        = errors.New("wrong input")            // what was read is not what it should be
	ErrNoInput     = errors.New("no such file")           // that was to be read
	ErrIncomplete  = errors.New("incomplete")             // less was done than was asked for
	ErrInterrupted = errors.New("interrupted")            // before the command's own end
	ErrAnswer      = errors.New("answered with an error") // by the service that was called
	ErrDeclined    = errors.New("answered with no")       // by the person who was asked
)

// failure is an error with a text for people and a kind for the exit code.
type failure struct {
	text string
	kind error
}

// Error returns the text.
func (f *failure) Error() string { return f.text }

// Unwrap returns the kind.
func (f *failure) Unwrap() error { return f.kind }

// fail makes an error of one kind.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func fail(kind error, format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), kind}
}

// usage complains about the command line.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func usage(format string, args ...any) error { return fail(ErrUsage, format, args...) }

// plain takes the name of the client's package from its errors, as the name of the
// program says that already.
func plain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "zbus: ")
	if errors.Is(err, zbus.ErrUnauthorized) && strings.Contains(text, "token") && !strings.HasSuffix(text, sayWho) {
		text += sayWho
	}
	if text == err.Error() {
		return err
	}
	return &failure{text, err}
}

// sayWho is what to do when a broker does not know who asks.
const sayWho = "; say who you are with zbus login, ZBUS_TOKEN or --token-file"

// wants refuses any other number of arguments, and says which are meant. names are
// those of the arguments; a last one with dots takes any number.
func wants(names ...string) cobra.PositionalArgs {
	least, most := len(names), len(names)
	if n := len(names); n > 0 && strings.HasSuffix(names[n-1], "...") {
		least, most = n-1, 1<<30
	}
	for _, name := range slices.Backward(names) {
		if strings.HasPrefix(name, "[") && least > 0 {
			least--
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		if n := slices.Index(args, ""); n >= 0 && n < len(names) && most == len(names) && names[n] != "[FILTER]" {
			return fmt.Errorf("%s: %s is empty", cmd.Name(), strings.Trim(names[n], "[]"))
		}
		switch {
		case len(args) < least:
			return fmt.Errorf("%s: %s is missing; usage: %s", cmd.Name(), names[len(args)], strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		case len(args) > most:
			return fmt.Errorf("%s: %q is too much; usage: %s", cmd.Name(), args[most], strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
		return nil
	}
}

// hint adds to an error that something is not there how it is made.
func hint(err error, format string, args ...any) error {
	if !errors.Is(err, zbus.ErrNotFound) {
		return err
	}
	return &failure{strings.TrimPrefix(err.Error(), "zbus: ") + "; " + fmt.Sprintf(format, args...), err}
}

// noGroup says in a sentence that a group, or its topic, is not there. The broker's
// words are about whatever a request names, and the client puts that request before
// them; what it does not know of stays as it is, such as a place that was not found.
func noGroup(err error, topic, group, help string) error {
	if !errors.Is(err, zbus.ErrNotFound) {
		return err
	}
	switch text := err.Error(); {
	case strings.HasSuffix(text, "Topic("+topic+") not found"):
		return &failure{"there is no topic " + topic + "; see zbus topic list", err}
	case strings.HasSuffix(text, "ConsumeGroup("+group+") not found"):
		return &failure{"topic " + topic + " has no group " + group + "; " + help + "see zbus group list " + topic, err}
	}
	return err
}
