package sqlite

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rushmore/zbus-go/internal/storage"
)

// lockByte is what lockFile locks: a byte behind those that SQLite locks, which are 512
// from 1<<30 on. A lock does not touch what is stored there, and other programs may read
// the database.
const lockByte = 1<<30 + 1024

// lockTime is how long a lock may still be held by a process that was killed.
const lockTime = time.Second

// lockFile keeps other brokers from a database, also when the lock file of the directory
// was removed by hand. The lock belongs to this open file: it ends when that is closed,
// and not when another one of the same name is.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockTime); ; time.Sleep(10 * time.Millisecond) {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockByte, Len: 1}
		switch err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		case time.Now().After(end):
			return nil, errors.Join(fmt.Errorf("%w by another broker, although the lock file of its directory is free", storage.ErrInUse), f.Close())
		}
	}
}
