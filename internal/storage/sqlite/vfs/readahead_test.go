package vfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

func TestPagesThatFollowEachOtherAreReadTogether(t *testing.T) {
	const pages = 100 // the last read of 64 KiB reaches over the end
	file := make([]byte, pages*testPage)
	for i := range file {
		file[i] = byte(i / testPage)
	}
	reads := 0
	a := &Readahead{data: make([]byte, readaheadBytes)}
	a.read = func(_ *libc.TLS, _, buf uintptr, n int32, offset int64) int32 {
		reads++
		to := unsafe.Slice(at[byte](buf), n)
		clear(to)
		if copy(to, file[min(offset, pages*testPage):]) < int(n) {
			return lib.SQLITE_IOERR_SHORT_READ
		}
		return lib.SQLITE_OK
	}
	get := func(i int) {
		t.Helper()
		page := make([]byte, testPage)
		if rc := a.get(nil, 0, uintptr(unsafe.Pointer(&page[0])), testPage, int64(i)*testPage); rc != lib.SQLITE_OK {
			t.Fatalf("page %d: %d", i, rc)
		}
		if !bytes.Equal(page, file[i*testPage:(i+1)*testPage]) {
			t.Fatalf("page %d is another one", i)
		}
	}
	for i := 7; i < 7+80; i++ {
		get(i)
	}
	if most := 80*testPage/readaheadBytes + 2; reads > most {
		t.Errorf("%d reads, want at most %d", reads, most)
	}
	for range 1000 {
		for i, n := rand.IntN(pages), rand.IntN(20); n > 0 && i < pages; i, n = i+1, n-1 {
			get(i)
		}
	}
	page := make([]byte, testPage)
	if rc := a.get(nil, 0, uintptr(unsafe.Pointer(&page[0])), testPage, pages*testPage); rc != lib.SQLITE_IOERR_SHORT_READ {
		t.Errorf("behind the end: %d", rc)
	}
}
