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
