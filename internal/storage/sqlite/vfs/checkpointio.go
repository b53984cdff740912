package vfs

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// CheckpointIO is the VFS of the connection that copies the log into the database. SQLite
// reads a page from the log and writes it to the database, a system call each. Here
// the log is read a chunk at a time, and pages that follow each other in the database
// are written together.
//
// SQLite takes the pages in the order of their numbers, and says when it begins and
// when it has written the last one (CKPT_START, CKPT_DONE). What it is answered to the
// latter it does not look at, and tells all connections then that the database has
// these pages. So room for them is reserved first, and without it every page is
// written as SQLite does. Should the last ones not be written all the same, torn is
// set before anybody is told: from then on nothing is read and nothing is written
// until the file is opened anew, which begins with all that the log has.
type CheckpointIO struct {
	*FS
	torn     *atomic.Bool // of the Store
	database *os.File     // to reserve room in

	write xMove // the system's, for the database
	read  xMove // the system's, for the log

	file    uintptr // *lib.Tsqlite3_file of the database
	copying bool    // between CKPT_START and CKPT_DONE
	room    bool    // what is copied has its place in the file system
	holes   bool    // but for what goes into holes: see shrink
	run     []byte  // pages to be written
	start   int64   // where run belongs in the database
	chunks  [chunkCount]chunk
	memory  uintptr // of the chunks, of libc: SQLite clears what a read does not fill
}

const (
	runBytes = 64 << 10 // the most that is written in one go; see gatherBytes

	// A log of a few MiB, whose pages are asked for in another order than they were
	// written in.
	chunkBytes = 64 << 10
	chunkCount = 16
)

// chunk is a part of the log as it was when it was read. What a checkpoint copies
// does not change while it runs, and what else is in the chunk it does not ask for.
type chunk struct {
	data []byte
	at   int64 // in the log
	good bool  // read since CKPT_START, to the end
}

// NewCheckpointIO creates one that reserves room in the database's file. torn belongs to the
// store, which asks it before each read and write.
func NewCheckpointIO(database *os.File, torn *atomic.Bool) (c *CheckpointIO, err error) {
	c = &CheckpointIO{torn: torn, database: database, run: make([]byte, 0, runBytes)}
	c.FS, err = New(func(tls *libc.TLS, file uintptr, flags int32) {
		switch {
		case flags&lib.SQLITE_OPEN_WAL != 0:
			c.openedLog(tls, file)
		case flags&lib.SQLITE_OPEN_MAIN_DB != 0:
			c.openedDatabase(tls, file)
		}
	})
	if err != nil {
		return nil, err
	}
	if c.memory = libc.Xmalloc(c.tls, chunkBytes*chunkCount); c.memory == 0 {
		c.FS.Close()
		return nil, fmt.Errorf("no memory to copy the log with: %w", storage.ErrUnavailable)
	}
	for i := range c.chunks {
		c.chunks[i].data = unsafe.Slice(at[byte](c.memory+uintptr(i)*chunkBytes), chunkBytes)
	}
	return c, nil
}

// Torn reports whether the end of a checkpoint could not be written.
func (c *CheckpointIO) Torn() bool { return c.torn.Load() }

// OnWrite has f asked before each write to the database. What it returns, unless it is
// SQLITE_OK, is what becomes of the write. For tests of what follows from that.
func (c *CheckpointIO) OnWrite(f func(offset, n int64) int32) {
	write := c.write
	c.write = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
		if rc := f(offset, int64(n)); rc != lib.SQLITE_OK {
			return rc
		}
		return write(tls, file, buf, n, offset)
	}
}

// Close takes the VFS back, after the connection is closed.
func (c *CheckpointIO) Close() {
	libc.Xfree(c.tls, c.memory)
	c.FS.Close()
}

func (c *CheckpointIO) openedLog(tls *libc.TLS, file uintptr) {
	table, system := c.methods(tls, file)
	c.read = function[xMove](system.FxRead)
	replace(c.FS, &table.FxRead, c.readLog)
}

func (c *CheckpointIO) openedDatabase(tls *libc.TLS, file uintptr) {
	table, system := c.methods(tls, file)
	c.file, c.write = file, function[xMove](system.FxWrite)
	cut, sync, control := function[xCut](system.FxTruncate), function[xSync](system.FxSync), function[xControl](system.FxFileControl)
	replace(c.FS, &table.FxWrite, c.put)
	replace(c.FS, &table.FxFileControl, func(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 {
		c.told(tls, op, arg)
		return control(tls, file, op, arg)
	})
	// These two come behind CKPT_DONE, and their answers count.
	replace(c.FS, &table.FxTruncate, func(tls *libc.TLS, file uintptr, size int64) int32 {
		if c.torn.Load() {
			return lib.SQLITE_IOERR_TRUNCATE
		}
		return cut(tls, file, size)
	})
	replace(c.FS, &table.FxSync, func(tls *libc.TLS, file uintptr, flags int32) int32 {
		if c.torn.Load() {
			return lib.SQLITE_IOERR_FSYNC
		}
		return sync(tls, file, flags)
	})
}

// told is the database's xFileControl.
func (c *CheckpointIO) told(tls *libc.TLS, op int32, arg uintptr) {
	switch op {
	case lib.SQLITE_FCNTL_CKPT_START:
		c.copying, c.room, c.holes = true, true, hasHoles(c.database)
		for i := range c.chunks {
			c.chunks[i].good = false
		}
	case lib.SQLITE_FCNTL_SIZE_HINT:
		if c.copying {
			c.room = Reserve(c.database, *at[int64](arg)) == nil
		}
	case lib.SQLITE_FCNTL_CKPT_DONE:
		if c.flush(tls) != lib.SQLITE_OK {
			c.torn.Store(true)
		}
		c.copying = false
	}
}

// put is the database's xWrite.
func (c *CheckpointIO) put(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	if !c.copying || !c.room {
		return c.write(tls, file, buf, n, offset)
	}
	if offset != c.start+int64(len(c.run)) || len(c.run)+int(n) > runBytes {
		if rc := c.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		c.start = offset
		if c.holes && reserveAt(c.database, offset, runBytes) != nil {
			return c.write(tls, file, buf, n, offset)
		}
	}
	c.run = append(c.run, unsafe.Slice(at[byte](buf), n)...)
	return lib.SQLITE_OK
}

// flush writes the run. After an error it is gone, and so is the checkpoint: all of
// it is still in the log.
func (c *CheckpointIO) flush(tls *libc.TLS) int32 {
	if len(c.run) == 0 {
		return lib.SQLITE_OK
	}
	rc := c.write(tls, c.file, uintptr(unsafe.Pointer(&c.run[0])), int32(len(c.run)), c.start)
	runtime.KeepAlive(c)
	c.run = c.run[:0]
	return rc
}

// readLog is the log's xRead.
func (c *CheckpointIO) readLog(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	if !c.copying {
		return c.read(tls, file, buf, n, offset)
	}
	for to := unsafe.Slice(at[byte](buf), n); len(to) > 0; {
		k := c.chunk(tls, file, offset)
		if !k.good { // it reaches over the end of the file
			return c.read(tls, file, uintptr(unsafe.Pointer(&to[0])), int32(len(to)), offset)
		}
		done := copy(to, k.data[offset-k.at:])
		to, offset = to[done:], offset+int64(done)
	}
	return lib.SQLITE_OK
}

// chunk is the one that offset is in, read unless it has been.
func (c *CheckpointIO) chunk(tls *libc.TLS, file uintptr, offset int64) *chunk {
	start := offset / chunkBytes * chunkBytes
	k := &c.chunks[start/chunkBytes%chunkCount]
	if k.good && k.at == start {
		return k
	}
	rc := c.read(tls, file, uintptr(unsafe.Pointer(&k.data[0])), chunkBytes, start)
	k.at, k.good = start, rc == lib.SQLITE_OK
	return k
}

// hasHoles reports whether parts of a file may have no place in the file system.
func hasHoles(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return true
	}
	has, err := Allocated(f)
	return err != nil || has < info.Size()
}
