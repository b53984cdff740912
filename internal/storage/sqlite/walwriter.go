package sqlite

import (
	"cmp"
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// walWriter is the VFS of the connection that writes, and the store's [logFollower]. It writes what a commit adds to
// the write-ahead log in one go. SQLite itself writes the 24 bytes of a frame's head,
// then the page, then the next head, and each of these calls costs more than what it
// writes.
//
// A frame's head says whether the frame ends a transaction. The page behind such
// a head is what the gathered bytes are written with, and that write's error is
// the answer: so SQLite never proceeds to publish frames that are not in the file.
// Everything else that touches the file writes first what is gathered. The bytes
// in the file, and their order, are SQLite's.
type walWriter struct {
	*vfs
	torn *atomic.Bool // of the Store
	log  *logFile     // nil before the connection has opened it

	// begin is told that the log is about to start a round, before it does, and of the
	// frames in the one before. Its error fails the transaction.
	begin func(next round, before int64) error
	found round // of the log that was there when it was opened
}

const (
	logHead   = 32 // bytes at the beginning of the log
	frameHead = 24 // bytes before each page in the log

	// gatherBytes is how much is gathered before it is written: a commit that has
	// more is written in pieces. SQLite's own xWrite looks at the lower 17 bits of
	// a length, so that with a page of up to 64 KiB behind it this is the most.
	gatherBytes = 60 << 10
)

// newWALWriter makes one for a log that is found in a round.
func newWALWriter(torn *atomic.Bool, found round, begin func(next round, before int64) error) (g *walWriter, err error) {
	g = &walWriter{torn: torn, found: found, begin: begin}
	g.vfs, err = newVFS(func(tls *libc.TLS, file uintptr, flags int32) {
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

	begin func(next round, before int64) error // of the walWriter
	now   round                                // what the frames are part of
	sum   logSum                               // of the last head that was written
	ends  int64                                // behind the last frame that ends a transaction
	end   lastFrame                            // that one
}

// committed has nothing to do: the walWriter has seen the writes.
func (g *walWriter) committed() error { return nil }

func (g *walWriter) logged() (frames, round int64) {
	f := g.log
	if f == nil || f.page == 0 {
		return 0, 0
	}
	return (f.next - logHead) / (frameHead + f.page), f.round
}

func (g *walWriter) written() int64 {
	if g.log == nil {
		return 0
	}
	return g.log.taken
}

func (g *walWriter) position() position {
	f := g.log
	if f == nil || f.page == 0 {
		return position{}
	}
	return position{round: f.now, frames: (f.ends - logHead) / (frameHead + f.page), last: f.end}
}

func (g *walWriter) now() round {
	if g.log == nil {
		return g.found
	}
	return g.log.now
}

// position is a place in the log, at the end of a transaction.
type position struct {
	round      round
	frames     int64 // of the round
	last       lastFrame
	generation int64 // of what is stored up to there; see bump
}

// keepLock has the connection keep the lock on writing once it has it. It is the
// only one that ever writes, and taking and giving back the lock are two system
// calls a commit. What another program asks for in the meantime is refused.
func (g *walWriter) keepLock(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	held := false
	lock := function[xLock](system.FxShmLock)
	replace(g.vfs, &table.FxShmLock, func(tls *libc.TLS, file uintptr, slot, n, flags int32) int32 {
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
func (g *walWriter) gather(tls *libc.TLS, file uintptr) {
	table, system := g.methods(tls, file)
	f := &logFile{file: file, buf: make([]byte, 0, gatherBytes+1<<16+frameHead), begin: g.begin, now: g.found}
	write := function[xMove](system.FxWrite)
	f.write = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		if g.torn.Load() {
			return lib.SQLITE_IOERR_WRITE
		}
		return write(tls, file, buf, n, offset)
	}
	read, cut, sync := function[xMove](system.FxRead), function[xCut](system.FxTruncate), function[xSync](system.FxSync)
	size, end := function[xSize](system.FxFileSize), function[xClose](system.FxClose)
	replace(g.vfs, &table.FxWrite, f.add)
	replace(g.vfs, &table.FxRead, func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		return f.flushed(tls, func() int32 { return read(tls, file, buf, n, offset) })
	})
	replace(g.vfs, &table.FxTruncate, func(tls *libc.TLS, file uintptr, size int64) int32 {
		return f.flushed(tls, func() int32 { return cut(tls, file, size) })
	})
	replace(g.vfs, &table.FxSync, func(tls *libc.TLS, file uintptr, flags int32) int32 {
		return f.flushed(tls, func() int32 { return sync(tls, file, flags) })
	})
	replace(g.vfs, &table.FxFileSize, func(tls *libc.TLS, file, result uintptr) int32 {
		return f.flushed(tls, func() int32 { return size(tls, file, result) })
	})
	replace(g.vfs, &table.FxClose, func(tls *libc.TLS, file uintptr) int32 {
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
	case n == frameHead && !f.open && offset == f.next && (len(f.buf) == 0 || offset == end):
		if len(f.buf) == 0 {
			f.start = offset
		}
		f.buf = append(f.buf, data...)
		f.open, f.last = true, binary.BigEndian.Uint32(data[4:]) != 0
		f.head(data)
		return lib.SQLITE_OK
	case f.open && offset == end && n > frameHead:
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
	case offset == 0 && n == logHead:
		if rc := f.again(data); rc != lib.SQLITE_OK {
			return rc
		}
	case n == frameHead:
		f.last = binary.BigEndian.Uint32(data[4:]) != 0
		f.head(data)
		if f.last && f.page > 0 { // a head that is written again comes without its page
			f.ends = f.next + f.page
		}
	case n > logHead:
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
	f.sum = sumAt(b[16:])
	if f.last {
		f.end = lastFrame{Page: binary.BigEndian.Uint32(b), Size: binary.BigEndian.Uint32(b[4:]), Seed: seed, Sum: f.sum}
	}
}

// again takes note of the head of the log, before it is written: a new round begins.
func (f *logFile) again(b []byte) int32 {
	next, before := parseRound(b), int64(0)
	if f.page > 0 {
		before = (f.ends - logHead) / (frameHead + f.page)
	}
	if err := f.begin(next, before); noRoom(err) {
		return lib.SQLITE_FULL
	} else if err != nil {
		return lib.SQLITE_IOERR_WRITE
	}
	f.round++
	f.now, f.sum, f.ends = next, sumAt(b[24:]), logHead
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
