package sqlite

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// freeSpace is how many bytes can be written where a file is, and how many there are
// in all.
func freeSpace(f *os.File) (free, total int64, err error) {
	dir, err := windows.UTF16PtrFromString(filepath.Dir(f.Name()))
	if err != nil {
		return 0, 0, err
	}
	var available, all uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &available, &all, nil); err != nil {
		return 0, 0, &os.PathError{Op: "free space", Path: f.Name(), Err: err}
	}
	return int64(available), int64(all), nil
}
