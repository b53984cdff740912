//go:build !linux

package vfs

import (
	"errors"
	"os"
)

// Reserve does not know how.
func Reserve(*os.File, int64) error { return errors.ErrUnsupported }

// Allocate does not know how.
func Allocate(*os.File, int64) error { return errors.ErrUnsupported }

// Allocated takes the size of a file for what it takes on the disk.
func Allocated(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Punch does not know how.
func Punch(*os.File, int64, int64) error { return errors.ErrUnsupported }

// reserveAt does not know how.
func reserveAt(*os.File, int64, int64) error { return errors.ErrUnsupported }
