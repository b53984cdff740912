package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestEveryKindOfErrorHasItsExitCode(t *testing.T) {
	_, notThere := net.Listen("tcp", "192.0.2.1:1") // no interface has this address
	for _, c := range []struct {
		err  error
		code int
	}{
		{usageError{fs.ErrPermission}, 64},
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
