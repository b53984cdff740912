package sqlite

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// gatherer is a VFS for SQLite: the system's own, but that it writes what a commit
// adds to the write-ahead log in one go. SQLite itself writes the 24 bytes of a
// frame's head, then the page, then the next head, and each of these calls costs
// more than what it writes.
//
// A frame's head says whether the frame ends a transaction. The page behind such
// a head is what the gathered bytes are written with, and that write's error is
// the answer: so SQLite never goes on to publish frames that are not in the file.
// Everything else that touches the file writes first what is gathered. The bytes
// in the file, and their order, are SQLite's.
//
// The connection opened with it owns it: one goroutine at a time.
type gatherer struct {
	name string
	tls  *libc.TLS
	vfs  uintptr // *lib.Tsqlite3_vfs, in memory of libc

	// What libc's memory points to has to be held here.
	open xOpen
	log  *logFile // nil before the connection has opened it
	lock xLock    // of the database

	tables []uintptr // *lib.Tsqlite3_io_methods, in memory of libc
}

// The C functions that are replaced.
type (
	xOpen  = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	xClose = func(tls *libc.TLS, file uintptr) int32
	xMove  = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 // xRead, xWrite
	xCut   = func(tls *libc.TLS, file uintptr, size int64) int32                 // xTruncate
	xSync  = func(tls *libc.TLS, file uintptr, flags int32) int32
	xSize  = func(tls *libc.TLS, file, size uintptr) int32                 // xFileSize
	xLock  = func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32 // xShmLock
)

const (
	logHead   = 32 // bytes at the beginning of the log
	frameHead = 24 // bytes before each page in the log

	// gatherBytes is how much is gathered before it is written: a commit that has
	// more is written in pieces. SQLite's own xWrite looks at the lower 17 bits of
	// a length, so that with a page of up to 64 KiB behind it this is the most.
	gatherBytes = 60 << 10
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

// newGatherer registers a VFS under a name of its own.
func newGatherer() (*gatherer, error) {
	g := &gatherer{tls: libc.NewTLS()}
	g.name = fmt.Sprintf("zbus-%p", g)
	system := lib.Xsqlite3_vfs_find(g.tls, 0)
	name, err := libc.CString(g.name)
	if system == 0 || err != nil {
		return nil, fmt.Errorf("no file system of SQLite: %w", storage.ErrUnavailable)
	}
	g.vfs = libc.Xmalloc(g.tls, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	libc.Xmemcpy(g.tls, g.vfs, system, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	v := at[lib.Tsqlite3_vfs](g.vfs)
	openSystem := function[xOpen](v.FxOpen)
	g.open = func(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
		rc := openSystem(tls, system, name, file, flags, outFlags)
		switch {
		case rc != lib.SQLITE_OK:
		case flags&lib.SQLITE_OPEN_WAL != 0:
			g.gather(tls, file)
		case flags&lib.SQLITE_OPEN_MAIN_DB != 0:
			g.keepLock(tls, file)
		}
		return rc
	}
	v.FzName, v.FxOpen = name, pointer(g.open)
	if rc := lib.Xsqlite3_vfs_register(g.tls, g.vfs, 0); rc != lib.SQLITE_OK {
		return nil, fmt.Errorf("register file system: code %d: %w", rc, storage.ErrUnavailable)
	}
	return g, nil
}

// close takes the VFS back, after the connection is closed.
func (g *gatherer) close() {
	lib.Xsqlite3_vfs_unregister(g.tls, g.vfs)
	for _, t := range g.tables {
		libc.Xfree(g.tls, t)
	}
	libc.Xfree(g.tls, at[lib.Tsqlite3_vfs](g.vfs).FzName)
	libc.Xfree(g.tls, g.vfs)
	g.tls.Close()
}

// logFile is the open log.
type logFile struct {
	file  uintptr // *lib.Tsqlite3_file
	write xMove   // the system's

	buf   []byte // what is gathered: frames, and perhaps the head of one more
	start int64  // where buf belongs in the file
	next  int64  // where the next frame goes, as far as the writes so far tell
	open  bool   // buf ends with a head whose page is still to come
	last  bool   // that page ends a transaction

	page  int64 // bytes of a page; 0 before the first one was written
	round int64 // how often the log has started again

	held []any // the functions in table
}

// logged is how many frames the log has, as far as they were written by this
// connection, and how often it has started again.
func (g *gatherer) logged() (frames, round int64) {
	f := g.log
	if f == nil || f.page == 0 {
		return 0, 0
	}
	return (f.next - logHead) / (frameHead + f.page), f.round
}

// methods gives a file a table of functions of its own, to be changed, and
// returns it with the system's one.
func (g *gatherer) methods(tls *libc.TLS, file uintptr) (table, system *lib.Tsqlite3_io_methods) {
	place := &at[lib.Tsqlite3_file](file).FpMethods
	size := libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))
	own := libc.Xmalloc(tls, size)
	libc.Xmemcpy(tls, own, *place, size)
	table, system = at[lib.Tsqlite3_io_methods](own), at[lib.Tsqlite3_io_methods](*place)
	*place = own
	g.tables = append(g.tables, own)
	return table, system
}

// keepLock has the connection keep the lock on writing once it has it. It is the
// only one that ever writes, and taking and giving back the lock are two system
// calls a commit. What somebody else's program asks for meanwhile is refused.
func (g *gatherer) keepLock(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	held := false
	lock := function[xLock](system.FxShmLock)
	g.lock = func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32 {
		writing := slot == 0 && n == 1 && flags&lib.SQLITE_SHM_EXCLUSIVE != 0
		if writing && held {
			return lib.SQLITE_OK
		}
		rc := lock(tls, file, slot, n, flags)
		held = held || writing && flags&lib.SQLITE_SHM_LOCK != 0 && rc == lib.SQLITE_OK
		return rc
	}
	table.FxShmLock = pointer(g.lock)
}

// gather puts our functions in the place of the system's.
func (g *gatherer) gather(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	f := &logFile{file: file, write: function[xMove](system.FxWrite), buf: make([]byte, 0, gatherBytes+1<<16+frameHead)}
	hold := func(place *uintptr, p uintptr, fn any) {
		*place = p
		f.held = append(f.held, fn)
	}
	write := xMove(f.add)
	hold(&table.FxWrite, pointer(write), write)
	read := xMove(func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return function[xMove](system.FxRead)(tls, file, buf, n, offset)
	})
	hold(&table.FxRead, pointer(read), read)
	cut := xCut(func(tls *libc.TLS, file uintptr, size int64) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return function[xCut](system.FxTruncate)(tls, file, size)
	})
	hold(&table.FxTruncate, pointer(cut), cut)
	sync := xSync(func(tls *libc.TLS, file uintptr, flags int32) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return function[xSync](system.FxSync)(tls, file, flags)
	})
	hold(&table.FxSync, pointer(sync), sync)
	size := xSize(func(tls *libc.TLS, file, size uintptr) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return function[xSize](system.FxFileSize)(tls, file, size)
	})
	hold(&table.FxFileSize, pointer(size), size)
	end := xClose(func(tls *libc.TLS, file uintptr) int32 {
		rc := f.flush(tls)
		if rc2 := function[xClose](system.FxClose)(tls, file); rc == lib.SQLITE_OK {
			rc = rc2
		}
		return rc
	})
	hold(&table.FxClose, pointer(end), end)
	g.log = f
}

// add is the log's xWrite.
func (f *logFile) add(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	data := unsafe.Slice(at[byte](buf), n)
	end := f.start + int64(len(f.buf))
	switch {
	case n == frameHead && !f.open && offset == f.next && (len(f.buf) == 0 || offset == end):
		if len(f.buf) == 0 {
			f.start = offset
		}
		f.buf = append(f.buf, data...)
		f.open, f.last = true, binary.BigEndian.Uint32(data[4:]) != 0
		return lib.SQLITE_OK
	case f.open && offset == end && n > frameHead:
		f.buf = append(f.buf, data...)
		f.open, f.next, f.page = false, offset+int64(n), int64(n)
		if f.last || len(f.buf) >= gatherBytes {
			return f.flush(tls)
		}
		return lib.SQLITE_OK
	}
	// The log's own head, a frame that is written again, or the first one after the
	// log was opened: these are rare.
	if rc := f.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	f.next = offset + int64(n)
	if offset == 0 && n == logHead {
		f.round++
	} else if n > logHead {
		f.page = int64(n)
	}
	return f.write(tls, file, buf, n, offset)
}

// flush writes what is gathered. After an error it is gone, as SQLite takes it to
// be: the transaction fails.
func (f *logFile) flush(tls *libc.TLS) int32 {
	if len(f.buf) == 0 {
		return lib.SQLITE_OK
	}
	rc := f.write(tls, f.file, uintptr(unsafe.Pointer(&f.buf[0])), int32(len(f.buf)), f.start)
	runtime.KeepAlive(f)
	f.buf, f.open = f.buf[:0], false
	return rc
}
