//go:build !linux

package sqlite

import (
	"errors"
	"os"
)

// syncData syncs a file.
func syncData(f *os.File) error { return f.Sync() }

// writeSoon leaves it to the next sync to write.
func writeSoon(*os.File) {}

// reserve does not know how.
func reserve(*os.File, int64) error { return errors.ErrUnsupported }

// allocate does not know how.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// allocated takes the size of a file for what it takes on the disk.
func allocated(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// punch does not know how.
func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }

// reserveAt does not know how.
func reserveAt(*os.File, int64, int64) error { return errors.ErrUnsupported }
