package vfs

import (
	"fmt"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Readahead is the VFS of a connection that only reads. The pages of a block mostly follow
// each other, and SQLite asks for one after the other. Who asks for the page behind
// the last one gets it from a read of 64 KiB, and so the pages after it.
//
// What was read ahead is good as long as a read transaction, which begins with a lock.
// Until it ends, checkpoints don't touch the pages that it takes from the database:
// those that they may write are newer in the log, and it takes them from there.
type Readahead struct {
	*FS
	read xMove // the system's

	next int64  // behind the last page that was asked for
	at   int64  // where data is in the file
	good bool   // data was read in this transaction
	data []byte // of libc: SQLite clears what a read does not fill
}

const readaheadBytes = 64 << 10

// NewReadahead creates one for a connection that only reads.
func NewReadahead() (a *Readahead, err error) {
	a = new(Readahead)
	a.FS, err = New(func(tls *libc.TLS, file uintptr, flags int32) {
		if flags&lib.SQLITE_OPEN_MAIN_DB == 0 {
			return
		}
		table, system := a.methods(tls, file)
		a.read = function[xMove](system.FxRead)
		replace(a.FS, &table.FxRead, a.get)
		lock := function[xLock](system.FxShmLock)
		replace(a.FS, &table.FxShmLock, func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32 {
			a.good = false
			return lock(tls, file, slot, n, flags)
		})
	})
	if err != nil {
		return nil, err
	}
	memory := libc.Xmalloc(a.tls, readaheadBytes)
	if memory == 0 {
		a.FS.Close()
		return nil, fmt.Errorf("no memory to read with: %w", storage.ErrUnavailable)
	}
	a.data = unsafe.Slice(at[byte](memory), readaheadBytes)
	return a, nil
}

// Close takes the VFS back, after the connection is closed.
func (a *Readahead) Close() {
	libc.Xfree(a.tls, uintptr(unsafe.Pointer(&a.data[0])))
	a.FS.Close()
}

// get is the database's xRead.
func (a *Readahead) get(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	follows := offset == a.next
	a.next = offset + int64(n)
	if !a.has(n, offset) && follows {
		a.at = offset
		a.good = a.read(tls, file, uintptr(unsafe.Pointer(&a.data[0])), readaheadBytes, offset) == lib.SQLITE_OK
	}
	if !a.has(n, offset) {
		return a.read(tls, file, buf, n, offset)
	}
	copy(unsafe.Slice(at[byte](buf), n), a.data[offset-a.at:])
	return lib.SQLITE_OK
}

func (a *Readahead) has(n int32, offset int64) bool {
	return a.good && offset >= a.at && offset+int64(n) <= a.at+readaheadBytes
}
