package vfs

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// FS is a file system for SQLite: the system's own, with Go functions in the place
// of some of its functions. The connection opened with it owns it: one goroutine at
// a time.
type FS struct {
	name string
	tls  *libc.TLS
	vfs  uintptr // *lib.Tsqlite3_vfs, in memory of libc

	// What libc's memory points to has to be held here.
	held []any

	tables []uintptr // *lib.Tsqlite3_io_methods, in memory of libc

	unread atomic.Bool   // a read has failed
	wrong  atomic.Uint32 // the system's error of the last write that failed
}

// The C functions that are replaced.
type (
	xOpen    = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	xClose   = func(tls *libc.TLS, file uintptr) int32
	xMove    = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 // xRead, xWrite
	xCut     = func(tls *libc.TLS, file uintptr, size int64) int32                 // xTruncate
	xSync    = func(tls *libc.TLS, file uintptr, flags int32) int32
	xSize    = func(tls *libc.TLS, file, size uintptr) int32                  // xFileSize
	xControl = func(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 // xFileControl
	xLock    = func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32  // xShmLock
)

// at is what C memory holds at p. Inlined, it makes the compiler of Go 1.26 take
// the address for a number where it copies from there, and fail.
//
//go:noinline
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// pointer is a Go function as C code calls it. Somebody has to hold f as long.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// function is a C function as Go code calls it.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

// New registers a file system under a name of its own. Every file that it has
// opened is shown to opened, which may replace functions of it; it may be nil.
func New(opened func(tls *libc.TLS, file uintptr, flags int32)) (*FS, error) {
	v := &FS{tls: libc.NewTLS()}
	v.name = fmt.Sprintf("zbus-%p", v)
	system := lib.Xsqlite3_vfs_find(v.tls, 0)
	name, err := libc.CString(v.name)
	if system == 0 || err != nil {
		return nil, fmt.Errorf("no file system of SQLite: %w", storage.ErrUnavailable)
	}
	// All of it but the link to the next one, which others may be changing.
	link, end := unsafe.Offsetof(lib.Tsqlite3_vfs{}.FpNext), unsafe.Sizeof(lib.Tsqlite3_vfs{})
	after := link + unsafe.Sizeof(lib.Tsqlite3_vfs{}.FpNext)
	v.vfs = libc.Xcalloc(v.tls, 1, libc.Tsize_t(end))
	libc.Xmemcpy(v.tls, v.vfs, system, libc.Tsize_t(link))
	libc.Xmemcpy(v.tls, v.vfs+after, system+after, libc.Tsize_t(end-after))
	c := at[lib.Tsqlite3_vfs](v.vfs)
	openSystem := function[xOpen](c.FxOpen)
	replace(v, &c.FxOpen, func(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
		rc := openSystem(tls, system, name, file, flags, outFlags)
		if rc == lib.SQLITE_OK {
			v.honest(tls, file)
			if opened != nil {
				opened(tls, file, flags)
			}
		}
		return rc
	})
	c.FzName = name
	if rc := lib.Xsqlite3_vfs_register(v.tls, v.vfs, 0); rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("register file system: code %d: %w", rc, storage.ErrUnavailable)
	}
	return v, nil
}

// Name is the name to open a connection with.
func (v *FS) Name() string {
	if v == nil {
		return ""
	}
	return v.name
}

// Close takes the VFS back, after the connection is closed.
func (v *FS) Close() {
	if v == nil {
		return
	}
	lib.Xsqlite3_vfs_unregister(v.tls, v.vfs)
	for _, t := range v.tables {
		libc.Xfree(v.tls, t)
	}
	libc.Xfree(v.tls, at[lib.Tsqlite3_vfs](v.vfs).FzName)
	libc.Xfree(v.tls, v.vfs)
	v.tls.Close()
}

// methods gives a file a table of functions of its own, to be changed, and
// returns it with the system's one.
func (v *FS) methods(tls *libc.TLS, file uintptr) (table, system *lib.Tsqlite3_io_methods) {
	place := &at[lib.Tsqlite3_file](file).FpMethods
	size := libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))
	own := libc.Xmalloc(tls, size)
	libc.Xmemcpy(tls, own, *place, size)
	table, system = at[lib.Tsqlite3_io_methods](own), at[lib.Tsqlite3_io_methods](*place)
	*place = own
	v.tables = append(v.tables, own)
	return table, system
}

// honest has failed reads and writes of a file called what they are. SQLite takes EIO on a
// read for the answer of a file system that found its data to be corrupt, and reports a
// malformed database; and it knows of a full disk, but not of a quota that is used up.
func (v *FS) honest(tls *libc.TLS, file uintptr) {
	table, system := v.methods(tls, file)
	read, write, control := function[xMove](system.FxRead), function[xMove](system.FxWrite), function[xControl](system.FxFileControl)
	replace(v, &table.FxRead, func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		rc := read(tls, file, buf, n, offset)
		if rc == lib.SQLITE_IOERR_CORRUPTFS {
			rc = lib.SQLITE_IOERR_READ
		}
		if rc == lib.SQLITE_IOERR_READ {
			v.unread.Store(true)
		}
		return rc
	})
	replace(v, &table.FxWrite, func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		rc := write(tls, file, buf, n, offset)
		if rc == lib.SQLITE_IOERR_WRITE {
			why := lastErrno(tls, control, file)
			if v.wrong.Store(uint32(why)); why == syscall.EDQUOT {
				rc = lib.SQLITE_FULL
			}
		}
		return rc
	})
}

// lastErrno is the system's error that a file saw last.
func lastErrno(tls *libc.TLS, control xControl, file uintptr) syscall.Errno {
	number := tls.Alloc(4)
	defer tls.Free(4)
	*at[int32](number) = 0
	control(tls, file, lib.SQLITE_FCNTL_LAST_ERRNO, number)
	return syscall.Errno(*at[int32](number))
}

// FailedWrite is the system's error of the last write that failed, or 0.
func (v *FS) FailedWrite() syscall.Errno { return syscall.Errno(v.wrong.Load()) }

// FailedRead reports whether a read has failed, ever.
func (v *FS) FailedRead() bool { return v.unread.Load() }

// NoRoom reports whether a write failed because the disk is full or a quota used up.
func NoRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// replace puts f in the place of a C function.
func replace[F any](v *FS, place *uintptr, f F) {
	*place = pointer(f)
	v.held = append(v.held, f)
}
