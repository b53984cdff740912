package sqlite

import (
	"fmt"
	"syscall"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// logFollower knows how far the log was written, and tells the mark when a round begins. It
// belongs to the goroutine that commits.
//
// A vfs.WALWriter sees each write before it happens. An observer looks at the files after each
// commit, which is later: until then the mark is of the round before.
type logFollower interface {
	// Committed is called after each commit, before it is answered.
	Committed() error
	// Logged is how many frames the log has, as far as they were written by this process,
	// and how often it has started again.
	Logged() (frames, round int64)
	// Written is how many bytes the log has taken from this process, however often it has
	// started again.
	Written() int64
	// Position is where the log ends: behind the last frame of a transaction. It is asked for
	// between two commits; after one that failed it means nothing.
	Position() wal.Position
	// Now is the round of the log, as far as it is known.
	Now() wal.Round
	// FailedWrite is the system's error of the last write that failed, or 0 if it is not known.
	FailedWrite() syscall.Errno
	// Close is called after the connections are closed.
	Close()
}

// observer is the logFollower of a store that leaves the files to SQLite: see
// [Options.PlainIO].
type observer struct {
	sync  *syncer // has the log
	guard *guard  // has its index
	begin func(next wal.Round, before int64) error

	found  wal.Round // of the log that was there when the store was opened
	at     wal.Position
	rounds int64 // how often the log has started again
	taken  int64 // bytes written
}

func (o *observer) Committed() error {
	var head [wal.Head]byte
	if _, err := o.sync.log.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("read the log: %w: %w", storage.ErrUnavailable, err)
	}
	next := wal.ParseRound(head[:])
	var b [wal.IndexBytes]byte
	if _, err := o.guard.index.ReadAt(b[:], 0); err != nil {
		return fmt.Errorf("read the index of the log: %w: %w", storage.ErrUnavailable, err)
	}
	index, ok := wal.ParseIndex(b[:], next)
	if !ok || index.Frames == 0 {
		return fmt.Errorf("the index of the log is not that of the log: %w", storage.ErrDamaged)
	}
	before := o.at.Frames
	if next != o.Now() {
		if err := o.begin(next, before); err != nil {
			return err
		}
		o.rounds, before = o.rounds+1, 0
	}
	last, err := wal.FrameAt(o.sync.log, head[:], index.Frames, pageBytes)
	if err != nil {
		return fmt.Errorf("read the log: %w: %w", storage.ErrUnavailable, err)
	}
	o.taken += (index.Frames - before) * (wal.FrameHead + pageBytes)
	o.at = wal.Position{Round: next, Frames: index.Frames, Last: last}
	return nil
}

func (o *observer) Logged() (frames, round int64) { return o.at.Frames, o.rounds }
func (o *observer) Written() int64                { return o.taken }
func (o *observer) Position() wal.Position        { return o.at }
func (o *observer) FailedWrite() syscall.Errno    { return 0 }
func (o *observer) Close()                        {}

func (o *observer) Now() wal.Round {
	if o.at.Frames == 0 {
		return o.found
	}
	return o.at.Round
}
