package sqlite

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/rushmore/zbus-go/internal/storage"
)

// logFollower knows how far the log was written, and tells the mark when a round begins. It
// belongs to the goroutine that commits.
//
// A walWriter sees each write before it happens. An observer looks at the files after each
// commit, which is later: until then the mark is of the round before.
type logFollower interface {
	// committed is called after each commit, before it is answered.
	committed() error
	// logged is how many frames the log has, as far as they were written by this process,
	// and how often it has started again.
	logged() (frames, round int64)
	// written is how many bytes the log has taken from this process, however often it has
	// started again.
	written() int64
	// position is where the log ends: behind the last frame of a transaction. It is asked for
	// between two commits; after one that failed it means nothing.
	position() position
	// now is the round of the log, as far as it is known.
	now() round
	// explain adds to an error of a write what the system said of it.
	explain(error) error
	// close is called after the connections are closed.
	close()
}

// observer is the logFollower of a store that leaves the files to SQLite: see
// [Options.PlainIO].
type observer struct {
	sync  *syncer // has the log
	guard *guard  // has its index
	begin func(next round, before int64) error

	found  round // of the log that was there when the store was opened
	at     position
	rounds int64 // how often the log has started again
	taken  int64 // bytes written
}

func (o *observer) committed() error {
	var head [logHead]byte
	if _, err := o.sync.log.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("read the log: %w: %w", storage.ErrUnavailable, err)
	}
	next := parseRound(head[:])
	var b [indexAttempts]byte
	if _, err := o.guard.index.ReadAt(b[:], 0); err != nil {
		return fmt.Errorf("read the index of the log: %w: %w", storage.ErrUnavailable, err)
	}
	index, ok := parseIndex(b[:], next)
	if !ok || index.frames == 0 {
		return fmt.Errorf("the index of the log is not that of the log: %w", storage.ErrDamaged)
	}
	before := o.at.frames
	if next != o.now() {
		if err := o.begin(next, before); err != nil {
			return err
		}
		o.rounds, before = o.rounds+1, 0
	}
	last, err := frameAt(o.sync.log, head[:], index.frames)
	if err != nil {
		return fmt.Errorf("read the log: %w: %w", storage.ErrUnavailable, err)
	}
	o.taken += (index.frames - before) * (frameHead + pageBytes)
	o.at = position{round: next, frames: index.frames, last: last}
	return nil
}

// frameAt reads the head of a frame, counted from 1, of a log that begins with head.
func frameAt(log *os.File, head []byte, frame int64) (lastFrame, error) {
	const size = frameHead + pageBytes
	seed := sumAt(head[24:])
	var b [frameHead]byte
	if frame > 1 {
		if _, err := log.ReadAt(b[:], logHead+(frame-2)*size); err != nil {
			return lastFrame{}, err
		}
		seed = sumAt(b[16:])
	}
	_, err := log.ReadAt(b[:], logHead+(frame-1)*size)
	return lastFrame{Page: binary.BigEndian.Uint32(b[:]), Size: binary.BigEndian.Uint32(b[4:]), Seed: seed, Sum: sumAt(b[16:])}, err
}

func (o *observer) logged() (frames, round int64) { return o.at.frames, o.rounds }
func (o *observer) written() int64                { return o.taken }
func (o *observer) position() position            { return o.at }
func (o *observer) explain(err error) error       { return err }
func (o *observer) close()                        {}

func (o *observer) now() round {
	if o.at.frames == 0 {
		return o.found
	}
	return o.at.round
}
