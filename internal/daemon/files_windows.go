package daemon

import (
	"os"

	"golang.org/x/sys/windows"
)

// openFiles is 0: Windows sets a process no limit worth minding.
func openFiles() uint64 { return 0 }

// diskFree is how many bytes can still be written where a directory is, -1 when
// the system does not say.
func diskFree(dir string) int64 {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return -1
	}
	var available uint64
	if err := windows.GetDiskFreeSpaceEx(path, &available, nil, nil); err != nil {
		return -1
	}
	return int64(available)
}

// onDisk is how much a file takes on the disk.
func onDisk(info os.FileInfo) int64 { return info.Size() }

// ownerOf is not known on Windows.
func ownerOf(os.FileInfo) (uid int, known bool) { return 0, false }
