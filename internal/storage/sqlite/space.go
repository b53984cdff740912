package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// A full disk loses nothing, but nothing can be written on it, not even what would
// make room: the log has to take a change before the database does. So messages are
// refused while there is still room, below the floor, and everything else continues:
// it settles or removes messages and needs little. Should the disk fill up all the
// same, because of others, the reserve is given up: the log is copied and starts
// again, and from then on it is written over where it is.
const (
	spaceInterval = 200 * time.Millisecond // room is looked at so often
	fullInterval  = time.Second            // nothing is tried again within it after the disk was full
)

// guard decides whether messages are taken. Of the writing goroutine, but for shown.
type guard struct {
	floor   int64
	log     int64 // the most that the log should take, in bytes
	reserve reserveFile
	index   *os.File // of the log (-shm), held open as long as connections are

	stopped bool      // messages are refused
	low     bool      // they will be soon
	size    int64     // of the database, with what only the log has
	holes   int64     // in the database's file
	checked time.Time // when room was last looked at
	written int64     // bytes that the log had taken then, ever
	fullAt  time.Time // when there was last no room for something; zero if never

	shown atomic.Pointer[storage.Space] // as of checked
}

// errLow is why messages are refused.
var errLow = fmt.Errorf("the disk is almost full, and messages are refused: %w", storage.ErrFull)

// Space says how much room there is, as of a moment ago. It may be called by any
// number of goroutines.
func (s *Store) Space() storage.Space { return *s.guard.shown.Load() }

// openGuard takes the sizes from that of the disk. A disk without room gets that of
// the reserve before anything is opened, which takes some.
func (s *Store) openGuard() error {
	g, o := &s.guard, s.options
	dir, err := os.Open(filepath.Dir(o.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	free, total, err := freeSpace(dir)
	if err != nil {
		return err
	}
	part := min(1, float64(total)/(2<<30)) // of everything, on a small disk
	g.floor = o.Floor
	if g.floor == 0 {
		g.floor = min(256<<20, total/10)
	}
	s.shrinker.most, s.shrinker.part = int64(part*mostUnused), 4
	s.copier.turn = max(128, int64(part*turnFrames))
	s.copier.hard = max(384, int64(part*hardFrames))
	g.log = s.copier.hard * (pageBytes + wal.FrameHead)
	if g.reserve, err = openReserve(o.Reserve, int64(part*reserveBytes)); err != nil {
		return err
	}
	if free < g.reserve.size/8 {
		g.fullAt = time.Now()
		err = g.reserve.giveUp()
	}
	return err
}

// openIndex gives the index of the log all the room that it needs. SQLite takes it
// bit by bit, and a bit that there is no room for is an I/O error.
func (s *Store) openIndex() (err error) {
	const block, frames = 32 << 10, 4096
	g := &s.guard
	if g.index, err = os.OpenFile(s.options.Path+"-shm", os.O_RDWR, 0); err != nil {
		return err
	}
	n := (s.copier.hard/frames + 2) * block
	if info, err := g.index.Stat(); err != nil || info.Size() >= n {
		return err
	}
	if err := vfs.Allocate(g.index, n); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		s.noSpace(time.Now())
	}
	return nil
}

func (g *guard) close() error {
	err := g.reserve.close()
	if g.index != nil {
		err = errors.Join(err, g.index.Close())
	}
	return err
}

// reserveBytes is more than the log takes, so that all of it can be
// copied when the reserve is given up.
const reserveBytes = 64 << 20

// watch looks whether there is room, if it is time to.
func (s *Store) watch(now time.Time) error {
	g := &s.guard
	written := s.follower.Written()
	if now.Sub(g.checked) < spaceInterval && written-g.written < g.floor/8 {
		return nil
	}
	g.checked, g.written = now, written
	sp, err := s.measure()
	if err != nil {
		return err
	}
	if !g.reserve.whole() && sp.Free >= g.refillAt() && now.Sub(g.fullAt) >= fullInterval {
		if err := g.reserve.fill(); err != nil {
			g.fullAt = now
		}
		if sp, err = s.measure(); err != nil {
			return err
		}
	}
	if sp.Room < 2*g.floor {
		// What the log has gets its place in the database's file before others take it.
		// Otherwise it does when it is copied.
		_ = vfs.Reserve(s.copier.file, g.size)
	}
	g.judge(&sp, now)
	s.batch.refuse, s.batch.largest = g.stopped, sp.Room/2
	g.shown.Store(&sp)
	s.tell(&sp)
	return nil
}

// tell says how it stands where operators look.
func (s *Store) tell(sp *storage.Space) {
	g := &s.guard
	c := condition.Condition{Kind: "disk", Severity: condition.Warning}
	left := fmt.Sprintf("%d MiB left on the disk and %d MiB unused in the database", sp.Free>>20, sp.Unused>>20)
	g.low = sp.Room < 2*sp.Floor || g.low && sp.Room < 2*sp.Floor+sp.Floor/4
	switch {
	case sp.Stopped:
		c.Severity, c.NotReady = condition.Critical, true
		c.Text = fmt.Sprintf("publishing is stopped: %s, and %d MiB are needed with a reserve of %d MiB; free space or remove messages, for which there is room",
			left, mebibytes(max(g.enough(), g.refillAt())), mebibytes(g.reserve.size))
	case g.low:
		c.Text = fmt.Sprintf("the disk is almost full: %s; publishing stops when there is less than %d MiB", left, mebibytes(g.floor))
	default:
		s.options.Conditions.Clear(c.Kind, c.Subject)
		return
	}
	s.options.Conditions.Raise(c)
}

// measure looks how much room there is.
func (s *Store) measure() (sp storage.Space, err error) {
	g := &s.guard
	if g.size, sp.Unused, err = s.pages(); err != nil {
		return sp, err
	}
	info, err := s.copier.file.Stat()
	if err != nil {
		return sp, err
	}
	has, err := vfs.Allocated(s.copier.file)
	if err != nil {
		return sp, err
	}
	if sp.Free, _, err = freeSpace(s.copier.file); err != nil {
		return sp, err
	}
	g.holes = max(0, info.Size()-has)
	coming := max(0, g.size-max(info.Size(), has)) // what the file will grow by
	sp.Room = max(0, sp.Free-coming+max(0, sp.Unused-g.holes))
	sp.Floor, sp.Reserve = g.floor, g.reserve.held
	log, err := vfs.Allocated(s.sync.log)
	if log+sp.Free < g.log {
		// What is unused helps only if the log, too, has room.
		sp.Room = min(sp.Room, log+sp.Free)
	}
	return sp, err
}

// enough is how much room there has to be before messages are taken again: more than the
// floor, so that publishing does not stop and resume all the time.
func (g *guard) enough() int64 { return g.floor + g.floor/16 }

// refillAt is how much has to be left on the disk before a reserve that was given up is
// filled: not from the last room there is.
func (g *guard) refillAt() int64 {
	if g.reserve.whole() {
		return 0
	}
	return 2 * g.reserve.size
}

// mebibytes rounds up: with what it says there is room enough.
func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// judge decides whether messages are taken.
func (g *guard) judge(sp *storage.Space, now time.Time) {
	if g.stopped {
		g.stopped = sp.Room < g.enough() || !g.reserve.whole() || now.Sub(g.fullAt) < fullInterval
	} else {
		g.stopped = sp.Room < g.floor
	}
	sp.Stopped = g.stopped
}

// noSpace is called when there was no room for something. It refuses messages and
// gives up the reserve for everything else: room for what the log has and the
// database's file has not, and for the log itself. It reports whether there was any.
func (s *Store) noSpace(now time.Time) bool {
	g := &s.guard
	g.stopped, g.fullAt, g.checked = true, now, time.Time{}
	s.batch.refuse = true
	if g.reserve.held == 0 {
		return false
	}
	if err := g.reserve.giveUp(); err != nil {
		s.options.Log.Error("reserve not given up", "path", s.options.Reserve, "err", err)
		return false
	}
	// At once, before whatever has filled the disk takes it.
	if pages, _, err := s.pages(); err == nil {
		_ = vfs.Reserve(s.copier.file, pages)
	}
	_ = vfs.Reserve(s.sync.log, g.log)
	return true
}

// roomAgain makes what room it can after a commit found none, and reports whether the
// commit is worth a second try.
func (s *Store) roomAgain(now time.Time) (bool, error) {
	appends := !s.batch.refuse
	given := s.noSpace(now)
	if err := s.collect(untilEnd); err != nil && !isFull(err) {
		return false, s.fail(fmt.Errorf("checkpoint: %w", translate(err)))
	}
	// Copied, the log starts again, and what it takes then is its own already.
	if err := s.tolerateFull(s.checkpointHere(checkpointRestart, now)); err != nil {
		return false, err
	}
	return appends || given || !s.noRoom, nil
}

// pages are the size of the database, with what only the log has, and how much of it
// is unused, in bytes.
func (s *Store) pages() (all, unused int64, err error) {
	for row, err := range s.writer.rows(selectPages) {
		if err != nil {
			return 0, 0, err
		}
		all, unused = integer(row[0])*integer(row[2]), integer(row[1])*integer(row[2])
	}
	return all, unused, nil
}

func isFull(err error) bool { return errors.Is(translate(err), storage.ErrFull) }
