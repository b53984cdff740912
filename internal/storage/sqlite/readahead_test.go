package sqlite

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestPagesThatFollowEachOtherAreReadTogether(t *testing.T) {
	const pages = 100 // the last read of 64 KiB reaches over the end
	file := make([]byte, pages*testPage)
	for i := range file {
		file[i] = byte(i / testPage)
	}
	reads := 0
	a := &readahead{data: make([]byte, readaheadBytes)}
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

// What was read ahead is old when the next read begins: checkpoints write to the
// database between them.
func TestNothingIsReadAheadForTheNextTransaction(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	keeper := addTopic(t, s, "keeper") // has pages behind those that are freed
	for round := range 5 {
		topic := addTopic(t, s, "t")
		for i := range 20 {
			rs := messages(1, 30_000)
			for j := range rs[0].Body {
				rs[0].Body[j] = byte(round*20 + i)
			}
			mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
		}
		mustCommit(t, s, &storage.Append{Topic: keeper, Records: messages(1, 100)})
		if err := s.checkpointHere(checkpointRestart, time.Now()); err != nil {
			t.Fatal(err)
		}
		rs, err := s.Read(context.Background(), topic, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil || len(rs) != 20 {
			t.Fatalf("round %d: %d records, %v", round, len(rs), err)
		}
		for i, r := range rs {
			if len(r.Body) != 30_000 || r.Body[0] != byte(round*20+i) || r.Body[29_999] != r.Body[0] {
				t.Errorf("round %d: record %d is another one", round, i)
			}
		}
		mustCommit(t, s, &storage.RemoveTopic{Topic: topic})
		mustCommit(t, s, &storage.Purge{Limit: 1 << 20})
	}
}
