package sqlite

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"
)

// A reserveFile holds room on the disk that is given up when there is no other: so
// that what settles or removes messages can be written on a disk that is full. It is
// kept open, so that giving it up needs neither a name nor a directory. Of the
// writing goroutine.
type reserveFile struct {
	file *os.File // nil: there is no reserve
	size int64    // what it is to hold
	held int64    // what it holds; less than size only after it was given up
}

// openReserve opens the file at path, or creates it without any room in it. One that
// an earlier process left keeps its room.
func openReserve(path string, size int64) (reserveFile, error) {
	if path == "" {
		return reserveFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return reserveFile{}, err
	}
	r := reserveFile{file: f, size: size}
	if n, err := vfs.Allocated(f); err != nil || n < size {
		return r, r.giveUp()
	}
	r.held = size
	return r, f.Truncate(size) // the disk may have been larger
}

// whole reports whether there is as much as there should be.
func (r *reserveFile) whole() bool { return r.file == nil || r.held == r.size }

// fill makes the reserve whole. After an error it is empty.
func (r *reserveFile) fill() error {
	if r.whole() {
		return nil
	}
	err := vfs.Allocate(r.file, r.size)
	n := int64(0)
	if err == nil {
		n, err = vfs.Allocated(r.file)
	}
	if errors.Is(err, errors.ErrUnsupported) || err == nil && n < r.size {
		err = writeNoise(r.file, r.size) // the file system can't, or only says that it can
	}
	if err != nil {
		_ = r.giveUp()
		return fmt.Errorf("fill %s: %w", r.file.Name(), err)
	}
	r.held = r.size
	return nil
}

// giveUp lets the file system have the room.
func (r *reserveFile) giveUp() error {
	if r.file == nil {
		return nil
	}
	r.held = 0
	return r.file.Truncate(0)
}

func (r *reserveFile) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// writeNoise fills a file with what no file system can make smaller.
func writeNoise(f *os.File, size int64) error {
	noise := rand.NewChaCha8([32]byte{})
	if _, err := io.CopyN(io.NewOffsetWriter(f, 0), noise, size); err != nil {
		return err
	}
	return f.Sync() // some find out late that there is no room
}
