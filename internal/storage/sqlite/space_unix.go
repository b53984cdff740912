//go:build unix

package sqlite

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes can be written where a file is, and how many there are
// in all.
func freeSpace(f *os.File) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
