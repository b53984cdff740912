package sqlite

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// files is a file system that changes nothing but errors, or nil, of which the methods are
// those of SQLite's own.
func (o Options) files() (*vfs.FS, error) {
	if o.PlainIO {
		return nil, nil //nolint:nilnil // see above
	}
	return vfs.New(nil)
}

// judge says of an error that it is no damage if a read has failed: SQLite's checks list
// pages that they could not read among what they find.
func judge(v *vfs.FS, err error) error {
	if v != nil && errors.Is(err, storage.ErrDamaged) && v.FailedRead() {
		return fmt.Errorf("%w: the disk failed to read (%v)", storage.ErrUnavailable, err) //nolint:errorlint // not what it wraps
	}
	return err
}

// explain adds to an error of a write what the system said of it, which SQLite keeps to
// itself.
func explain(why syscall.Errno, err error) error {
	if why != 0 && code(err) == lib.SQLITE_IOERR_WRITE {
		return fmt.Errorf("%w: %v", err, why) //nolint:errorlint // words for people
	}
	return err
}
