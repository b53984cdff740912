package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData syncs the content of a file, and its size if that changed, but not
// its times: half the work for a log that is written over and over.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// writeSoon has the system begin to write what is dirty of a file. It waits for
// nothing, and takes no error away from the next sync.
func writeSoon(f *os.File) {
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

// reserve makes sure that a file can grow to size without asking for room. It does
// not make it longer. Not every file system can.
func reserve(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, info.Size(), size-info.Size())
}

// allocate gives a file its size, with room for all of it. Not every file system can.
func allocate(f *os.File, size int64) error {
	return unix.Fallocate(int(f.Fd()), 0, 0, size)
}

// allocated is how many bytes a file takes on the disk.
func allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Blocks * 512, nil
}

// punch lets the file system have a part of a file, which reads as zeros then.
func punch(f *os.File, at, n int64) error {
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), hole, at, n))
}

// reserveAt makes sure that there is room for a part of a file.
func reserveAt(f *os.File, at, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, at, n)
}
