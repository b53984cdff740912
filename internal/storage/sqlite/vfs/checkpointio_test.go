package vfs

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// disk is a CheckpointIO whose database and log are in memory.
type disk struct {
	CheckpointIO
	data   []byte
	log    []byte
	writes int
	reads  int
}

func newDisk(log int) *disk {
	d := &disk{CheckpointIO: CheckpointIO{torn: new(atomic.Bool), copying: true, room: true, run: make([]byte, 0, runBytes)}}
	for i := range d.chunks {
		d.chunks[i].data = make([]byte, chunkBytes)
	}
	d.log = make([]byte, log)
	for i := range d.log {
		d.log[i] = byte(i / testPage)
	}
	d.write = func(_ *libc.TLS, _, buf uintptr, n int32, offset int64) int32 {
		d.writes++
		if grow := offset + int64(n) - int64(len(d.data)); grow > 0 {
			d.data = append(d.data, make([]byte, grow)...)
		}
		copy(d.data[offset:], unsafe.Slice(at[byte](buf), n))
		return lib.SQLITE_OK
	}
	d.read = func(_ *libc.TLS, _, buf uintptr, n int32, offset int64) int32 {
		d.reads++
		to := unsafe.Slice(at[byte](buf), n)
		clear(to)
		if offset >= int64(len(d.log)) || copy(to, d.log[offset:]) < int(n) {
			return lib.SQLITE_IOERR_SHORT_READ
		}
		return lib.SQLITE_OK
	}
	return d
}

func (d *disk) page(number int, fill byte) {
	page := bytes.Repeat([]byte{fill}, testPage)
	d.put(nil, 0, uintptr(unsafe.Pointer(&page[0])), testPage, int64(number)*testPage)
}

func TestPagesThatFollowEachOtherAreWrittenTogether(t *testing.T) {
	d := newDisk(0)
	want := make([]byte, 100*testPage)
	rng := rand.New(rand.NewPCG(1, 2))
	together := 0
	for number := 0; number < 100; number++ {
		if number >= 40 && rng.IntN(3) == 0 { // the first forty have no gap
			continue
		}
		fill := byte(1 + number)
		copy(want[number*testPage:], bytes.Repeat([]byte{fill}, testPage))
		d.page(number, fill)
		if number == 39 {
			together = d.writes
		}
	}
	d.told(nil, lib.SQLITE_FCNTL_CKPT_DONE, 0)
	if !bytes.Equal(d.data, want[:len(d.data)]) || len(bytes.Trim(want[len(d.data):], "\x00")) > 0 {
		t.Error("the database is another one")
	}
	if together != 40*testPage/runBytes {
		t.Errorf("%d writes for forty pages", together)
	}
	if d.torn.Load() {
		t.Error("it is torn")
	}
}

// Without room, and when no checkpoint runs, nothing may wait to be written.
func TestPagesAreWrittenAtOnceWithoutRoom(t *testing.T) {
	d := newDisk(0)
	d.room = false
	d.page(0, 1)
	d.copying, d.room = false, true
	d.page(1, 2)
	if d.writes != 2 || len(d.run) != 0 {
		t.Errorf("%d writes, %d bytes wait", d.writes, len(d.run))
	}
}

func TestLogIsReadInChunks(t *testing.T) {
	const frame = wal.FrameHead + testPage
	d := newDisk(wal.Head + 1000*frame)
	read := func(i int) {
		t.Helper()
		page, from := make([]byte, testPage), wal.Head+i*frame+wal.FrameHead
		if rc := d.readLog(nil, 0, uintptr(unsafe.Pointer(&page[0])), testPage, int64(from)); rc != lib.SQLITE_OK {
			t.Fatalf("frame %d: %d", i, rc)
		}
		if !bytes.Equal(page, d.log[from:from+testPage]) {
			t.Fatalf("frame %d is another one", i)
		}
	}
	for i := range 900 {
		read(i)
	}
	if most := 900*frame/chunkBytes + 2; d.reads > most {
		t.Errorf("%d reads, want at most %d", d.reads, most)
	}
	for range 3000 {
		read(rand.IntN(1000)) // the last ones are in a chunk that the file ends in
	}
	read(10)
	clear(d.log)
	d.told(nil, lib.SQLITE_FCNTL_CKPT_DONE, 0)
	d.told(nil, lib.SQLITE_FCNTL_CKPT_START, 0) // whatever was read is old
	read(10)
	page := make([]byte, testPage)
	if rc := d.readLog(nil, 0, uintptr(unsafe.Pointer(&page[0])), testPage, int64(len(d.log)-100)); rc != lib.SQLITE_IOERR_SHORT_READ {
		t.Errorf("behind the end: %d", rc)
	}
}
