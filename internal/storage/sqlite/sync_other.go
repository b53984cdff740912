//go:build !linux

package sqlite

import "os"

// syncData syncs a file.
func syncData(f *os.File) error { return f.Sync() }

// writeSoon leaves it to the next sync to write.
func writeSoon(*os.File) {}
