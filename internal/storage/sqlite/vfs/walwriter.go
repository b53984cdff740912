package vfs

import (
	"cmp"
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// WALWriter is the VFS of the connection that writes, and what the store follows its log with. It writes what a commit adds to
// the write-ahead log in one go. SQLite itself writes the 24 bytes of a frame's head,
// then the page, then the next head, and each of these calls costs more than what it
// writes.
//
// A frame's head says whether the frame ends a transaction. The page behind such
// a head is what the gathered bytes are written with, and that write's error is
// the answer: so SQLite never proceeds to publish frames that are not in the file.
// Everything else that touches the file writes first what is gathered. The bytes
// in the file, and their order, are SQLite's.
type WALWriter struct {
	*FS
	torn *atomic.Bool // of the Store
	log  *logFile     // nil before the connection has opened it

	// begin is told that the log is about to start a round, before it does, and of the
	// frames in the one before. Its error fails the transaction.
	begin func(next wal.Round, before int64) error
	found wal.Round // of the log that was there when it was opened
}

const (
	// gatherBytes is how much is gathered before it is written: a commit that has
	// more is written in pieces. SQLite's own xWrite looks at the lower 17 bits of
	// a length, so that with a page of up to 64 KiB behind it this is the most.
	gatherBytes = 60 << 10
)

// NewWALWriter creates one for a log that is found in a round. begin is called before each round
// after that, with the frames of the one before; torn belongs to the store: once it is set,
// nothing more is written.
func NewWALWriter(torn *atomic.Bool, found wal.Round, begin func(next wal.Round, before int64) error) (g *WALWriter, err error) {
	g = &WALWriter{torn: torn, found: found, begin: begin}
	g.FS, err = New(func(tls *libc.TLS, file uintptr, flags int32) {
		switch {
		case flags&lib.SQLITE_OPEN_WAL != 0:
			g.gather(tls, file)
		case flags&lib.SQLITE_OPEN_MAIN_DB != 0:
			g.keepLock(tls, file)
		}
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// logFile is the open log.
type logFile struct {
	file  uintptr // *lib.Tsqlite3_file
	write xMove   // the system's, unless the Store is torn

	buf   []byte // what is gathered: frames, and perhaps the head of one more
	start int64  // where buf belongs in the file
	next  int64  // where the next frame goes, as far as the writes so far tell
	open  bool   // buf ends with a head whose page is still to come
	last  bool   // that page ends a transaction

	page  int64 // bytes of a page; 0 before the first one was written
	round int64 // how often the log has started again
	taken int64 // bytes written, ever

	begin func(next wal.Round, before int64) error // of the WALWriter
	now   wal.Round                                // what the frames are part of
	sum   wal.Sum                                  // of the last head that was written
	ends  int64                                    // behind the last frame that ends a transaction
	end   wal.Frame                                // that one
}

// Committed has nothing to do: the WALWriter has seen the writes.
func (g *WALWriter) Committed() error { return nil }

// Logged is how many frames the log has, as far as this process wrote them, and how often it
// has started again.
func (g *WALWriter) Logged() (frames, round int64) {
	f := g.log
	if f == nil || f.page == 0 {
		return 0, 0
	}
	return (f.next - wal.Head) / (wal.FrameHead + f.page), f.round
}

// Written is how many bytes the log has taken, however often it has started again.
func (g *WALWriter) Written() int64 {
	if g.log == nil {
		return 0
	}
	return g.log.taken
}

// Position is where the last transaction ends. After a commit that failed it means nothing.
func (g *WALWriter) Position() wal.Position {
	f := g.log
	if f == nil || f.page == 0 {
		return wal.Position{}
	}
	return wal.Position{Round: f.now, Frames: (f.ends - wal.Head) / (wal.FrameHead + f.page), Last: f.end}
}

// Now is the round of the log: the one that was found until another one begins.
func (g *WALWriter) Now() wal.Round {
	if g.log == nil {
		return g.found
	}
	return g.log.now
}

// keepLock has the connection keep the lock on writing once it has it. It is the
// only one that ever writes, and taking and giving back the lock are two system
// calls a commit. What another program asks for in the meantime is refused.
func (g *WALWriter) keepLock(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	held := false
	lock := function[xLock](system.FxShmLock)
	replace(g.FS, &table.FxShmLock, func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32 {
		writing := slot == 0 && n == 1 && flags&lib.SQLITE_SHM_EXCLUSIVE != 0
		if writing && held {
			return lib.SQLITE_OK
		}
		rc := lock(tls, file, slot, n, flags)
		held = held || writing && flags&lib.SQLITE_SHM_LOCK != 0 && rc == lib.SQLITE_OK
		return rc
	})
}

// gather puts our functions in the place of the system's.
func (g *WALWriter) gather(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	f := &logFile{file: file, buf: make([]byte, 0, gatherBytes+1<<16+wal.FrameHead), begin: g.begin, now: g.found}
	write := function[xMove](system.FxWrite)
	f.write = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		if g.torn.Load() {
			return lib.SQLITE_IOERR_WRITE
		}
		return write(tls, file, buf, n, offset)
	}
	read, cut, sync := function[xMove](system.FxRead), function[xCut](system.FxTruncate), function[xSync](system.FxSync)
	size, end := function[xSize](system.FxFileSize), function[xClose](system.FxClose)
	replace(g.FS, &table.FxWrite, f.add)
	replace(g.FS, &table.FxRead, func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		return f.flushed(tls, func() int32 { return read(tls, file, buf, n, offset) })
	})
	replace(g.FS, &table.FxTruncate, func(tls *libc.TLS, file uintptr, size int64) int32 {
		return f.flushed(tls, func() int32 { return cut(tls, file, size) })
	})
	replace(g.FS, &table.FxSync, func(tls *libc.TLS, file uintptr, flags int32) int32 {
		return f.flushed(tls, func() int32 { return sync(tls, file, flags) })
	})
	replace(g.FS, &table.FxFileSize, func(tls *libc.TLS, file, result uintptr) int32 {
		return f.flushed(tls, func() int32 { return size(tls, file, result) })
	})
	replace(g.FS, &table.FxClose, func(tls *libc.TLS, file uintptr) int32 {
		return cmp.Or(f.flush(tls), end(tls, file))
	})
	g.log = f
}

// flushed writes what is gathered, and then does what it is told.
func (f *logFile) flushed(tls *libc.TLS, then func() int32) int32 {
	if rc := f.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return then()
}

// add is the log's xWrite.
func (f *logFile) add(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	data := unsafe.Slice(at[byte](buf), n)
	end := f.start + int64(len(f.buf))
	switch {
	case n == wal.FrameHead && !f.open && offset == f.next && (len(f.buf) == 0 || offset == end):
		if len(f.buf) == 0 {
			f.start = offset
		}
		f.buf = append(f.buf, data...)
		f.open, f.last = true, binary.BigEndian.Uint32(data[4:]) != 0
		f.head(data)
		return lib.SQLITE_OK
	case f.open && offset == end && n > wal.FrameHead:
		f.buf = append(f.buf, data...)
		f.open, f.next, f.page = false, offset+int64(n), int64(n)
		if f.last {
			f.ends = f.next
		}
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
	switch {
	case offset == 0 && n == wal.Head:
		if rc := f.again(data); rc != lib.SQLITE_OK {
			return rc
		}
	case n == wal.FrameHead:
		f.last = binary.BigEndian.Uint32(data[4:]) != 0
		f.head(data)
		if f.last && f.page > 0 { // a head that is written again comes without its page
			f.ends = f.next + f.page
		}
	case n > wal.Head:
		f.page = int64(n)
		if f.last {
			f.ends = f.next
		}
	}
	return f.write(tls, file, buf, n, offset)
}

// head takes note of what the head of a frame says.
func (f *logFile) head(b []byte) {
	seed := f.sum
	f.sum = wal.SumAt(b[16:])
	if f.last {
		f.end = wal.Frame{Page: binary.BigEndian.Uint32(b), Size: binary.BigEndian.Uint32(b[4:]), Seed: seed, Sum: f.sum}
	}
}

// again takes note of the head of the log, before it is written: a new round begins.
func (f *logFile) again(b []byte) int32 {
	next, before := wal.ParseRound(b), int64(0)
	if f.page > 0 {
		before = (f.ends - wal.Head) / (wal.FrameHead + f.page)
	}
	if err := f.begin(next, before); NoRoom(err) {
		return lib.SQLITE_FULL
	} else if err != nil {
		return lib.SQLITE_IOERR_WRITE
	}
	f.round++
	f.now, f.sum, f.ends = next, wal.SumAt(b[24:]), wal.Head
	return lib.SQLITE_OK
}

// flush writes what is gathered. After an error it is gone, as SQLite takes it to
// be: the transaction fails.
func (f *logFile) flush(tls *libc.TLS) int32 {
	if len(f.buf) == 0 {
		return lib.SQLITE_OK
	}
	rc := f.write(tls, f.file, uintptr(unsafe.Pointer(&f.buf[0])), int32(len(f.buf)), f.start)
	runtime.KeepAlive(f)
	f.taken += int64(len(f.buf))
	f.buf, f.open = f.buf[:0], false
	return rc
}
