package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/storage"
)

// What removed messages leave in the database's file is used for new ones. When it is
// much, the file system gets it back: the unused pages become holes in the file. What
// they hold nobody reads, SQLite included. A page that is used again gets its place
// back like one at the end of the file.
//
// Only pages are taken that are unused in the database's file itself, when all of the
// log has been copied and synced. So no reader can be left that sees them in use: it
// would have kept the log from being copied that far. In the meantime commits may use them
// again, but only in the log: the goroutine that makes the holes is the one that copies.
//
// A crash finds pages that are not used, full or empty.
const (
	mostUnused     = 64 << 20         // bytes, less on a small disk
	shrinkInterval = 10 * time.Second // what is unused for so long will not be used again soon
	shrinkTrunks   = 1024             // looked at in one go: 4 GiB
	shrinkRun      = 16               // pages; shorter runs are not worth it
)

// shrinker decides when holes are made. Of the writing goroutine.
type shrinker struct {
	most   int64     // bytes that may be unused
	part   int64     // of the file, as a divisor, that may be unused, too
	since  time.Time // more have been since; zero: they are not
	trunks int       // to be passed over, as they have been looked at
	never  bool      // the file system can't, or the list of unused pages is damaged
}

// shrink has holes made, if there is reason to.
func (s *Store) shrink(now time.Time) {
	k, sp := &s.shrinker, s.guard.shown.Load()
	switch much := sp.Unused - s.guard.holes; {
	case k.never:
	case much < k.most || much < s.guard.size/k.part:
		k.since = time.Time{}
	case k.since.IsZero():
		k.since, k.trunks = now, 0
	// Without a reserve publishing waits for the room.
	case now.Sub(k.since) < shrinkInterval && s.guard.reserve.whole(), s.copier.running, s.images.held(), s.logState().left() > 0:
	default:
		s.copier.running = true
		s.copier.start <- task{punch: true, trunks: k.trunks}
	}
}

// punched notes the outcome of a turn.
func (s *Store) punched(c *copied) {
	k := &s.shrinker
	k.trunks += shrinkTrunks
	if c.end {
		k.since, k.trunks = time.Time{}, 0
	}
	if c.err != nil {
		k.never = true
		if !errors.Is(c.err, errors.ErrUnsupported) {
			s.options.Log.Warn("unused space stays in the database", "path", s.options.Path, "err", c.err)
		}
	}
	s.guard.checked = time.Time{}
}

// punchUnused makes holes of the unused pages that the trunks behind the first skip
// list, and reports whether there are no more trunks.
func punchUnused(f *os.File, skip int) (end bool, err error) {
	pages, size, end, err := unusedPages(f, skip)
	if err != nil {
		return true, err
	}
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n] == pages[0]+uint32(n) {
			n++
		}
		if n >= shrinkRun {
			if err := vfs.Punch(f, int64(pages[0]-1)*size, int64(n)*size); err != nil {
				return true, err
			}
		}
		pages = pages[n:]
	}
	return end, nil
}

// unusedPages are the pages that a part of SQLite's free list has as leaves, sorted:
// nobody reads what is in them. The list is a chain of trunk pages, each of which has
// the number of the next one, how many leaves there are, and theirs.
func unusedPages(f *os.File, skip int) (pages []uint32, size int64, end bool, err error) {
	head := make([]byte, 100)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, 0, true, err
	}
	size = int64(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 1 << 16
	}
	all, trunk, left := binary.BigEndian.Uint32(head[28:]), binary.BigEndian.Uint32(head[32:]), binary.BigEndian.Uint32(head[36:])
	if size < 512 || left >= all {
		return nil, 0, true, errFreeList
	}
	page := make([]byte, size)
	for i := 0; trunk != 0; i++ {
		if i == skip+shrinkTrunks {
			return pages, size, false, sorted(pages, all)
		}
		if trunk > all || left == 0 {
			return nil, 0, true, errFreeList
		}
		if _, err := f.ReadAt(page, int64(trunk-1)*size); err != nil {
			return nil, 0, true, err
		}
		next, n := binary.BigEndian.Uint32(page), binary.BigEndian.Uint32(page[4:])
		if int64(n) > size/4-2 || n+1 > left {
			return nil, 0, true, errFreeList
		}
		for j := range n {
			if i >= skip {
				pages = append(pages, binary.BigEndian.Uint32(page[8+4*j:]))
			}
		}
		trunk, left = next, left-n-1
	}
	if left != 0 {
		return nil, 0, true, errFreeList
	}
	return pages, size, true, sorted(pages, all)
}

// errFreeList: what is unused can't be told from what is used.
var errFreeList = fmt.Errorf("the list of unused pages: %w", storage.ErrDamaged)

// sorted sorts page numbers, each of which has to be in the file, and there once.
func sorted(pages []uint32, all uint32) error {
	sort.Slice(pages, func(i, j int) bool { return pages[i] < pages[j] }) // no code of its own in the binary
	for i, p := range pages {
		if p < 2 || p > all || i > 0 && p == pages[i-1] {
			return errFreeList
		}
	}
	return nil
}
