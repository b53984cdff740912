package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/rushmore/zbus-go/internal/bench"
	"github.com/rushmore/zbus-go/internal/cli"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
)

// The exit codes of the broker, those of sysexits.h where it has one. A process
// manager can tell what a restart may mend (69, 70, 73, 74) from what it cannot (64,
// 65, 77). Those of the commands that use a broker are in internal/cli.
const (
	exitUsage       = 64  // command line, environment or config file
	exitDamaged     = 65  // the stored data is not what was written, or not this program's
	exitUnavailable = 69  // cannot listen; or, as a client, cannot reach the broker
	exitInternal    = 70  // a fault in zbus
	exitInUse       = 73  // another broker has the data directory
	exitIO          = 74  // the disk failed or is full
	exitPermission  = 77  // not allowed to use a directory, file or port; not without a grant
	exitInterrupted = 130 // a second signal cut the orderly stop short
)

// exitCodes is read from the top; the first row that knows the error decides.
// An error that none knows is internal.
var exitCodes = []struct {
	knows func(error) bool
	code  int
}{
	{isUsage, exitUsage},
	{is(datadir.ErrFileSystem), exitUsage},
	{is(storage.ErrDamaged), exitDamaged},
	{is(storage.ErrForeign), exitDamaged},
	{is(datadir.ErrInUse), exitInUse},
	{is(storage.ErrInUse), exitInUse},
	{is(fs.ErrPermission), exitPermission},
	{isDenied, exitPermission},
	{isNetwork, exitUnavailable},
	{is(storage.ErrUnavailable), exitIO},
	{is(storage.ErrFull), exitIO},
	{isSystem, exitIO},
}

func exitCode(err error) int {
	if code, ok := clientCode(err); ok && !isUsage(err) {
		return code
	}
	for _, row := range exitCodes {
		if row.knows(err) {
			return row.code
		}
	}
	return exitInternal
}

// clientCode is the exit code of what a command that uses a broker returns: see
// zbus help exit-codes.
func clientCode(err error) (code int, ok bool) {
	for _, row := range cli.ExitCodes() {
		for _, kind := range row.Kinds {
			if errors.Is(err, kind) {
				return row.Code, true
			}
		}
	}
	return 0, false
}

// exitName is the exit code of an error in a word.
func exitName(code int) string {
	for _, row := range cli.ExitCodes() {
		if row.Code == code {
			return row.Name
		}
	}
	return "internal"
}

// report writes an error for people; or, for the programs that ask for JSON, as an object on one line.
func report(w io.Writer, err error) {
	text := cli.Visible([]byte(strings.ReplaceAll(explain(err), "\n", "; ")))
	if !errors.As(err, new(jsonError)) {
		fmt.Fprintf(w, "zbus: %s\n", text)
		return
	}
	code := exitCode(err)
	_ = json.NewEncoder(w).Encode(struct {
		Error    string `json:"error"`
		ExitCode int    `json:"exitCode"`
		Message  string `json:"message"`
	}{exitName(code), code, string(text)}) // there is no one left to tell when standard error is gone
}

// jsonError is the error of a command that was to print JSON.
type jsonError struct{ error }

// Unwrap gives the error itself.
func (e jsonError) Unwrap() error { return e.error }

// usageError is what the one who started zbus has to mend.
type usageError struct{ error }

// Unwrap gives the complaint itself.
func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// isDenied: the broker does not let a measurement do what it does.
func isDenied(err error) bool {
	var r *bench.Refusal
	return errors.As(err, &r) && (r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden)
}

func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "listen" || op.Op == "dial")
}

// isSystem: the operating system refused something, and no row above says what
// that means.
func isSystem(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no)
}

// explain is the text of an error, with what to do about it where the text of
// the operating system leaves one alone.
func explain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" && op.Addr != nil && errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Sprintf("cannot listen on %s: the address is in use;"+
			" stop the program that has it, or choose another address with --listen", op.Addr)
	}
	if errors.As(err, new(*postgres.InUse)) {
		return err.Error() + "; stop that one, or give this one a database of its own with --store"
	}
	if errors.Is(err, datadir.ErrInUse) || errors.Is(err, storage.ErrInUse) {
		return err.Error() + "; stop that one, or give this one a directory of its own with --data"
	}
	var loss *storage.Loss
	if errors.As(err, &loss) {
		return err.Error() + "; nothing was changed: put a backup in its place," +
			" or continue without what is missing: zbus serve --accept-loss " + loss.ID
	}
	return err.Error()
}
