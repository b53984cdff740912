package sqlite

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Checkpoints copy what the write-ahead log (WAL) holds into the database, so
// that the log can start again from its beginning. SQLite would do it inside an
// unlucky commit. Here a goroutine copies and syncs while commits go on; what
// has come in meanwhile is little, the writing goroutine copies that itself
// between two commits, and the next commit finds the whole log copied and
// starts it again.
//
// The sizes are in frames, that is pages of 4 KiB.
const (
	startFrames = 1000      // not copied yet: worth a background copy
	turnFrames  = 4 * 1024  // in the log: time to start it again, as soon as little is left
	shortFrames = 384       // "little": the writer is held up for a few milliseconds
	hardFrames  = 12 * 1024 // in the log: the writer waits until it can start again

	restAfter = time.Second // a rest that is not worth a copy is copied after this
)

// checkpointer copies the log in the background.
type checkpointer struct {
	conn  *conn    // of the goroutine
	file  *os.File // the database, held open for fsync; of the goroutine
	start chan struct{}
	done  chan error // capacity 1: the goroutine never waits for the writer

	running bool      // one was started and not collected; of the writing goroutine
	last    time.Time // when the last checkpoint began; of the writing goroutine
}

// run copies whenever it is told to, until start is closed. Then it closes done.
func (c *checkpointer) run() {
	defer close(c.done)
	for range c.start {
		c.done <- c.copy()
	}
}

// copy copies what is committed by now, and syncs. SQLite syncs the database
// only when it reached the end of the log, which does not happen under load;
// without the sync here the writer's own short checkpoint would have to wait
// for all these pages.
func (c *checkpointer) copy() error {
	if _, err := checkpoint(c.conn, checkpointPassive); err != nil {
		return err
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("sync database: %w: %w", storage.ErrUnavailable, err)
	}
	return nil
}

// wal is the state of the log.
type wal struct {
	frames int64 // in the log
	copied int64 // of these, already in the database
	busy   bool  // somebody else's checkpoint or a reader was in the way
}

func (w wal) left() int64 { return w.frames - w.copied }

func checkpoint(c *conn, mode statement) (w wal, err error) {
	for row, err := range c.rows(mode) {
		if err != nil {
			return wal{}, err
		}
		w = wal{busy: integer(row[0]) != 0, frames: integer(row[1]), copied: integer(row[2])}
	}
	return w, nil
}

// Maintain implements [storage.Store]: it keeps the write-ahead log short.
func (s *Store) Maintain() error {
	if err := s.usable(); err != nil {
		return err
	}
	err := s.maintain()
	return s.tolerateFull(err)
}

// tolerateFull lets a checkpoint fail for want of space: the log keeps
// everything until there is room to copy it. Any other error stops the store.
func (s *Store) tolerateFull(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(translate(err), storage.ErrFull):
		if !s.noRoom {
			s.options.Log.Warn("no space for a checkpoint", "path", s.options.Path, "err", err)
		}
		s.noRoom = true
		return nil
	}
	return s.fail(fmt.Errorf("checkpoint: %w", translate(err)))
}

func (s *Store) maintain() error {
	if err := s.collect(false); err != nil {
		return err
	}
	w, err := checkpoint(s.writer, checkpointLook)
	if err != nil {
		return err
	}
	now := time.Now()
	switch {
	case w.left() == 0, s.noRoom && now.Sub(s.copier.last) < restAfter:
	case w.frames >= hardFrames:
		return s.checkpointHere(checkpointRestart, now)
	case !s.copier.running && w.frames >= turnFrames && w.left() <= shortFrames:
		return s.checkpointHere(checkpointPassive, now)
	case s.copier.running:
	case w.left() >= startFrames, w.frames >= turnFrames, now.Sub(s.copier.last) >= restAfter:
		s.copier.running, s.copier.last = true, now
		s.copier.start <- struct{}{}
	}
	return nil
}

// collect takes the result of a running background copy. It waits for it only
// if told to.
func (s *Store) collect(wait bool) error {
	if !s.copier.running || !wait && len(s.copier.done) == 0 {
		return nil
	}
	s.copier.running = false
	err := <-s.copier.done
	if err == nil {
		s.noRoom = false
	}
	return err
}

// checkpointHere copies the rest of the log on the writing connection.
func (s *Store) checkpointHere(mode statement, now time.Time) error {
	if err := s.collect(true); err != nil {
		return err
	}
	s.copier.last = now
	if _, err := checkpoint(s.writer, mode); err != nil {
		return err
	}
	s.noRoom = false
	return nil
}
