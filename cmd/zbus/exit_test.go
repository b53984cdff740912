package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rushmore/zbus-go/internal/cli"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/zbus"
)

func TestEveryKindOfErrorHasItsExitCode(t *testing.T) {
	_, notThere := net.Listen("tcp", "192.0.2.1:1") // no interface has this address
	for _, c := range []struct {
		err  error
		code int
	}{
		{usageError{fs.ErrPermission}, 64},
		{usageError{zbus.ErrNotFound}, 64},
		{cli.ErrUsage, 64},
		{zbus.ErrInvalid, 64},
		{cli.ErrData, 65},
		{zbus.ErrNotFound, 66},
		{zbus.ErrUnavailable, 69},
		{errors.Join(zbus.ErrUnavailable, notThere), 69},
		{zbus.ErrInternal, 70},
		{zbus.ErrExists, 73},
		{zbus.ErrConflict, 73},
		{zbus.ErrFull, 74},
		{cli.ErrIncomplete, 75},
		{errors.Join(zbus.ErrTimeout, zbus.ErrUnknownOutcome), 75},
		{zbus.ErrUnknownOutcome, 76},
		{zbus.ErrForbidden, 77},
		{cli.ErrInterrupted, 130},
		{cli.ErrAnswer, 1},
		{datadir.ErrFileSystem, 64},
		{storage.ErrDamaged, 65},
		{errors.Join(storage.ErrUnavailable, storage.ErrDamaged), 65},
		{notThere, 69},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, 69},
		{errors.New("surprise"), 70},
		{datadir.ErrInUse, 73},
		{storage.ErrUnavailable, 74},
		{storage.ErrFull, 74},
		{&os.PathError{Op: "write", Path: "zbus.db", Err: syscall.EIO}, 74},
		{&os.PathError{Op: "open", Path: "zbus.db", Err: syscall.EACCES}, 77},
		{&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}, 77},
	} {
		if got := exitCode(fmt.Errorf("somewhere: %w", c.err)); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
	}
}

func TestExitCodesAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range cli.ExitCodes() {
		if line := fmt.Sprintf("| %d | `%s` | %s |\n", row.Code, row.Name, row.Means); !strings.Contains(string(text), line) {
			t.Errorf("docs/exit-codes.md lacks the line\n%s", line)
		}
	}
	for _, code := range []int{exitUsage, exitDamaged, exitUnavailable, exitInternal, exitInUse, exitIO, exitPermission, exitInterrupted} {
		_, broker, _ := strings.Cut(string(text), "of `zbus serve`")
		if !strings.Contains(broker, fmt.Sprintf("\n| %d | ", code)) {
			t.Errorf("docs/exit-codes.md lacks %d among those of zbus serve", code)
		}
	}
}

func TestErrorsAreJSONForThoseWhoAskForIt(t *testing.T) {
	var b strings.Builder
	report(&b, jsonError{usageError{errors.New("two\nlines")}})
	report(&b, jsonError{fmt.Errorf("topic x: %w", zbus.ErrNotFound)})
	report(&b, jsonError{errors.New("surprise")})
	report(&b, errors.New("for people"))
	const want = `{"error":"usage","exitCode":64,"message":"two; lines"}
{"error":"not_found","exitCode":66,"message":"topic x: not found"}
{"error":"internal","exitCode":70,"message":"surprise"}
zbus: for people
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
