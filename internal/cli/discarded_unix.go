//go:build unix

package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// nowhere reports whether what is written is lost without being asked for: where
// standard output is closed, Go's runtime has it be /dev/null, open for reading as well,
// while a shell opens that for writing alone.
func nowhere(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return true
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && os.SameFile(info, null) && flags&unix.O_ACCMODE == unix.O_RDWR
}
