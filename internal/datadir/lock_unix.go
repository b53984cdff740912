//go:build unix

package datadir

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock locks a file as a whole until it is closed. It fails with EWOULDBLOCK while
// another process has a lock that this one does not go with.
func tryLock(f *os.File, alone bool) error {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
}

// mayWrite reports why this process can't create files in a directory.
func mayWrite(dir string) error { return unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) }
