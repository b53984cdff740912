package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// Reserve makes sure that a file can grow to size without asking for room. It does
// not make it longer. Not every file system can.
func Reserve(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, info.Size(), size-info.Size())
}

// Allocate gives a file its size, with room for all of it. Not every file system can.
func Allocate(f *os.File, size int64) error {
	return unix.Fallocate(int(f.Fd()), 0, 0, size)
}

// Allocated is how many bytes a file takes on the disk.
func Allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Blocks * 512, nil
}

// Punch lets the file system have a part of a file, which reads as zeros then.
func Punch(f *os.File, at, n int64) error {
	const hole = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), hole, at, n))
}

// reserveAt makes sure that there is room for a part of a file.
func reserveAt(f *os.File, at, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, at, n)
}
