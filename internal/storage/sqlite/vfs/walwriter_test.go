package vfs

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

const testPage = 4096

// logOnDisk is a logFile whose writes go to memory.
type logOnDisk struct {
	logFile
	t      *testing.T
	data   []byte
	writes int
	fails  bool
}

func newLogOnDisk(t *testing.T) *logOnDisk {
	l := &logOnDisk{t: t}
	l.begin = func(wal.Round, int64) error { return nil }
	l.write = func(_ *libc.TLS, _, buf uintptr, n int32, offset int64) int32 {
		if l.writes++; l.fails {
			return lib.SQLITE_FULL
		}
		if grow := offset + int64(n) - int64(len(l.data)); grow > 0 {
			l.data = append(l.data, make([]byte, grow)...)
		}
		copy(l.data[offset:], unsafe.Slice(at[byte](buf), n))
		return lib.SQLITE_OK
	}
	return l
}

// put is what SQLite does: it hands bytes to xWrite.
func (l *logOnDisk) put(offset int64, data []byte) int32 {
	return l.add(nil, 0, uintptr(unsafe.Pointer(&data[0])), int32(len(data)), offset)
}

// frame writes frame i, as SQLite does, and returns the last result. commit says
// that it ends a transaction.
func (l *logOnDisk) frame(i int, commit bool, fill byte) int32 {
	head, page := make([]byte, wal.FrameHead), bytes.Repeat([]byte{fill}, testPage)
	head[0] = fill
	if commit {
		binary.BigEndian.PutUint32(head[4:], 9)
	}
	offset := int64(wal.Head + i*(wal.FrameHead+testPage))
	if rc := l.put(offset, head); rc != lib.SQLITE_OK {
		return rc
	}
	return l.put(offset+wal.FrameHead, page)
}

// has reports whether frame i is in the file.
func (l *logOnDisk) has(i int, fill byte) bool {
	offset := wal.Head + i*(wal.FrameHead+testPage)
	return len(l.data) >= offset+wal.FrameHead+testPage && l.data[offset] == fill &&
		l.data[offset+wal.FrameHead] == fill && l.data[offset+wal.FrameHead+testPage-1] == fill
}

func TestCommitIsWrittenAsAWholeBeforeItIsAnswered(t *testing.T) {
	l := newLogOnDisk(t)
	l.put(0, make([]byte, wal.Head))
	l.writes = 0
	for i := range 5 {
		if rc := l.frame(i, i == 4, byte(i+1)); rc != lib.SQLITE_OK {
			t.Fatalf("frame %d: %d", i, rc)
		}
		if i < 4 && l.writes != 0 {
			t.Fatal("frames are written before the commit")
		}
	}
	for i := range 5 {
		if !l.has(i, byte(i+1)) {
			t.Errorf("frame %d is not in the file", i)
		}
	}
	if l.writes != 1 {
		t.Errorf("%d writes", l.writes)
	}
}

func TestFailedWriteIsTheAnswerToTheCommit(t *testing.T) {
	l := newLogOnDisk(t)
	l.put(0, make([]byte, wal.Head))
	l.frame(0, false, 1)
	l.fails = true
	if rc := l.frame(1, true, 2); rc != lib.SQLITE_FULL {
		t.Fatalf("the commit is answered with %d", rc)
	}
	l.fails = false
	if rc := l.frame(0, true, 3); rc != lib.SQLITE_OK || !l.has(0, 3) || l.has(1, 2) {
		t.Errorf("the next one: %d, %d bytes", rc, len(l.data))
	}
}

// A frame written again, a transaction that was rolled back, a long one: whatever
// the order, the file ends up as if every write had gone to it at once.
func TestEveryOrderOfWritesEndsTheSame(t *testing.T) {
	l, plain := newLogOnDisk(t), newLogOnDisk(t)
	both := func(f func(l *logOnDisk)) {
		f(l)
		f(plain)
		plain.flush(nil)
		plain.next = -1 // nothing follows on anything: all is written at once
	}
	both(func(l *logOnDisk) { l.put(0, make([]byte, wal.Head)) })
	both(func(l *logOnDisk) { l.frame(0, false, 1); l.frame(1, true, 2) })
	both(func(l *logOnDisk) { l.frame(2, false, 3) })                         // rolled back
	both(func(l *logOnDisk) { l.frame(2, false, 4); l.frame(3, true, 5) })    // in its place
	both(func(l *logOnDisk) { l.put(wal.Head, bytes.Repeat([]byte{7}, 24)) }) // a head written again
	both(func(l *logOnDisk) { l.frame(4, true, 6) })                          // and on at the end
	both(func(l *logOnDisk) {                                                 // more than is gathered
		for i := range 40 {
			l.frame(5+i, i == 39, byte(10+i))
		}
	})
	both(func(l *logOnDisk) { l.put(0, bytes.Repeat([]byte{9}, wal.Head)); l.frame(0, true, 8) }) // the log starts again
	if !bytes.Equal(l.data, plain.data) {
		t.Error("the files differ")
	}
	if len(l.buf) != 0 {
		t.Errorf("%d bytes are not written", len(l.buf))
	}
	if l.round != 2 || (l.next-wal.Head)/(wal.FrameHead+testPage) != 1 {
		t.Errorf("round %d, next frame at %d", l.round, l.next)
	}
}
