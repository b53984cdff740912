package sqlite

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Checkpoints copy what the write-ahead log (WAL) holds into the database, so
// that the log can start again from its beginning. SQLite would do it inside an
// unlucky commit. Here a goroutine copies and syncs while commits continue; what
// remains is small by then, the writing goroutine copies that itself
// between two commits, and the next commit finds the whole log copied and
// starts it again.
//
// The sizes are in frames, that is pages of 4 KiB.
const (
	startFrames = 1000      // not copied yet: worth a background copy
	turnFrames  = 4 * 1024  // in the log: time to start it again, as soon as little is left; fewer on a small disk
	shortFrames = 384       // "little": the writer is held up for a few milliseconds
	hardFrames  = 12 * 1024 // in the log: the writer waits until it can start again; fewer on a small disk

	restAfter = time.Second // a rest that is not worth a copy is copied after this

	// The longest that the writer waits between two commits for a copy to catch up: on a disk
	// that takes 8 MiB a second, for the largest commit.
	mostWait = time.Second
	untilEnd = time.Duration(math.MaxInt64)
)

// checkpointer copies the log in the background.
type checkpointer struct {
	conn  *conn             // of the goroutine, as the next two
	files *vfs.CheckpointIO // of the connection, or nil
	file  *os.File          // the database, held open for fsync
	start chan task
	done  chan copied // capacity 1: the goroutine never waits for the writer

	turn, hard int64 // turnFrames and hardFrames of this disk; set before the goroutine starts

	// Of the writing goroutine.
	running bool      // one was started and not collected
	last    time.Time // when the last checkpoint began
	from    int64     // frames in the log when the last copy began
	speed   float64   // of the last copy of much, in frames a second; 0 before
	round   int64     // of the log, when it began
	frames  int64     // of that round's log, already in the database
	long    bool      // an image keeps the log from starting again, or has until now
}

// task is to copy the log, or to make holes of unused pages: see shrink.
type task struct {
	punch  bool
	trunks int
}

// copied is the outcome of a task.
type copied struct {
	task
	copiedLog // of a copy
	took      time.Duration
	end       bool // there is nothing more to punch
	err       error
}

// open opens what the goroutine works with. What it opened before an error is to be
// released.
func (c *checkpointer) open(o Options, torn *atomic.Bool) (err error) {
	if c.file, err = os.OpenFile(o.Path, os.O_RDWR, 0); err != nil {
		return err
	}
	setup := copierSetup(o)
	if !o.PlainIO {
		if c.files, err = vfs.NewCheckpointIO(c.file, torn); err != nil {
			return err
		}
		setup.vfs = c.files.Name()
	}
	c.conn, err = open(setup)
	return err
}

// release gives back what the connection needed, after it is closed.
func (c *checkpointer) release() error {
	if c.files != nil {
		c.files.Close()
	}
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

// run copies whenever it is told to, until start is closed. Then it closes done.
func (c *checkpointer) run() {
	defer close(c.done)
	for t := range c.start {
		done, began := copied{task: t}, time.Now()
		if t.punch {
			done.end, done.err = punchUnused(c.file, t.trunks)
		} else {
			done.copiedLog, done.err = c.copy()
		}
		done.took = time.Since(began)
		c.done <- done
	}
}

// copy copies what is committed by now, and syncs. SQLite syncs the database
// only when it reached the end of the log, which does not happen under load;
// without the sync here the writer's own short checkpoint would have to wait
// for all these pages.
func (c *checkpointer) copy() (copiedLog, error) {
	w, err := checkpoint(c.conn, checkpointPassive)
	if err != nil {
		return w, err
	}
	if c.files != nil && c.files.Torn() {
		return w, errTorn
	}
	if err := syncData(c.file); err != nil {
		return w, fmt.Errorf("sync database: %w: %w", storage.ErrUnavailable, err)
	}
	return w, nil
}

// copiedLog is the state of the log.
type copiedLog struct {
	frames int64 // in the log
	copied int64 // of these, already in the database
	busy   bool  // another checkpoint or a reader was in the way
}

func (w copiedLog) left() int64 { return w.frames - w.copied }

func checkpoint(c *conn, mode statement) (w copiedLog, err error) {
	for row, err := range c.rows(mode) {
		if err != nil {
			return copiedLog{}, err
		}
		w = copiedLog{busy: integer(row[0]) != 0, frames: integer(row[1]), copied: integer(row[2])}
	}
	return w, nil
}

// Maintain implements [storage.Maintainer]: it merges what is fresh and keeps the
// write-ahead log short.
func (s *Store) Maintain() error {
	if err := s.usable(); err != nil {
		return err
	}
	now := time.Now()
	if err := s.watch(now); err != nil {
		return s.fail(translate(err))
	}
	if err := s.merge(now); err != nil {
		return s.fail(translate(err))
	}
	if err := s.bump(now, false); err != nil {
		return s.fail(err)
	}
	if err := s.storeEnds(now); err != nil {
		return s.fail(err)
	}
	if err := s.tolerateFull(s.maintain(now)); err != nil {
		return err
	}
	s.shrink(now)
	return nil
}

// tolerateFull lets a checkpoint fail for want of space: the log keeps
// everything until there is room to copy it. Any other error stops the store.
func (s *Store) tolerateFull(err error) error {
	switch {
	case err == nil:
		return nil
	case isFull(err):
		given := s.noSpace(time.Now())
		if !s.noRoom && !given {
			s.options.Log.Warn("no space for a checkpoint", "path", s.options.Path, "err", err)
		}
		s.noRoom = !given
		return nil
	}
	return s.fail(fmt.Errorf("checkpoint: %w", translate(err)))
}

func (s *Store) maintain(now time.Time) error {
	wait := s.paceOfCopy(now)
	if err := s.collect(wait); err != nil {
		return err
	}
	if wait > 0 {
		now = time.Now()
	}
	w := s.logState()
	held := s.images.held()
	s.copier.long = held || s.copier.long && w.frames >= s.copier.hard
	switch {
	case w.left() == 0, (s.noRoom || held) && now.Sub(s.copier.last) < restAfter:
	case w.frames >= s.copier.hard && !held && s.restartNow(w):
		return s.checkpointHere(checkpointRestart, now)
	case !s.copier.running && w.frames >= s.copier.turn && w.left() <= shortFrames && !held:
		return s.checkpointHere(checkpointPassive, now)
	case s.copier.running:
	case w.left() >= startFrames, w.frames >= s.copier.turn, now.Sub(s.copier.last) >= restAfter:
		s.copier.running, s.copier.last, s.copier.from = true, now, w.frames
		if _, round := s.follower.Logged(); round != s.copier.round {
			s.copier.round, s.copier.frames = round, 0
		}
		s.copier.start <- task{}
	}
	return nil
}

// restartNow reports whether the writer has to copy what is left of a log that is too
// long. One that an image has made long is copied in the background first, until little is
// left, or it is twice what an image may make of it.
func (s *Store) restartNow(w copiedLog) bool {
	return !s.copier.long || w.left() <= s.copier.hard/2 || w.frames >= 2*s.options.imageLog/pageBytes
}

// paceOfCopy is how long the writer has to wait so that a log which an image has made long
// can start again. What is added while it is copied has to be copied next, and under full
// load that is as much as before, and more where the log is written faster than it is
// copied: it would never end. So nothing is added faster than half of what was copied last
// in that time, and each copy is half of the one before. Who adds less never waits.
func (s *Store) paceOfCopy(now time.Time) time.Duration {
	c := s.copier
	if !c.running || !c.long || c.speed == 0 || s.images.held() {
		return 0
	}
	frames, _ := s.follower.Logged()
	added := float64(frames - c.from - shortFrames)
	due := c.last.Add(time.Duration(added / (c.speed / 2) * float64(time.Second)))
	return min(max(0, due.Sub(now)), mostWait)
}

// logState is what is known of the log without asking SQLite, which would take
// locks: no other connection writes to it or starts it again.
func (s *Store) logState() copiedLog {
	frames, round := s.follower.Logged()
	if round != s.copier.round {
		return copiedLog{frames: frames}
	}
	return copiedLog{frames: frames, copied: min(s.copier.frames, frames)}
}

// noteCopied remembers the outcome of a checkpoint whose pages are on disk.
func (s *Store) noteCopied(w copiedLog, round int64) error {
	s.noRoom = false
	if _, now := s.follower.Logged(); now != round {
		return nil
	}
	s.copier.round, s.copier.frames = round, w.copied
	r := s.follower.Now()
	return ioError(s.mark.copied(r, w.copied, s.generation.stored(r, w.copied)))
}

// collect takes the result of a running background copy. It waits for it no longer than
// it is told to.
func (s *Store) collect(most time.Duration) error {
	if !s.copier.running {
		return nil
	}
	var c copied
	select {
	case c = <-s.copier.done:
	default:
		if most == 0 {
			return nil
		}
		timer := time.NewTimer(most)
		defer timer.Stop()
		select {
		case c = <-s.copier.done:
		case <-timer.C:
			return nil
		}
	}
	s.copier.running = false
	if c.punch {
		s.punched(&c)
		return nil
	}
	if c.err != nil {
		return c.err
	}
	if n := c.copied - s.copier.frames; n >= startFrames {
		s.copier.speed = float64(n) / c.took.Seconds()
	}
	return s.noteCopied(c.copiedLog, s.copier.round)
}

// checkpointHere copies the rest of the log on the writing connection.
func (s *Store) checkpointHere(mode statement, now time.Time) error {
	if err := s.collect(untilEnd); err != nil {
		return err
	}
	s.copier.last = now
	_, round := s.follower.Logged()
	w, err := checkpoint(s.writer, mode)
	if err != nil {
		return err
	}
	if w.left() > 0 { // SQLite syncs the database when it has copied all
		if err := syncData(s.copier.file); err != nil {
			return fmt.Errorf("sync database: %w: %w", storage.ErrUnavailable, err)
		}
	}
	return s.noteCopied(w, round)
}
