package sqlite

import (
	"errors"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// openMark opens the mark that was found, or creates one. log is the round of the log
// that was found. Everything here is read from what is stored: the mark follows it.
func (s *Store) openMark(found *markState, log wal.Round) error {
	self, err := readSelf(s.writer)
	if err != nil {
		return err
	}
	s.generation.self, s.generation.commits = self, -1
	record := logRecord{Identity: self.identity, Witness: s.options.witness, Round: log}
	if s.options.Durability == Relaxed {
		record.Flags = markRelaxed
	}
	if s.options.PlainIO {
		record.Flags |= markLoose // until a round is known: it begins before that
	}
	if found == nil {
		s.mark, err = createMark(s.options.Path, record, syncRecord{Round: log})
		if vfs.NoRoom(err) {
			s.options.Log.Warn("no space for the mark: damage to the log can't be noticed", "path", s.options.Path+markSuffix)
			return nil
		}
		return ioError(err)
	}
	if s.mark, err = openMark(s.options.Path, found); err != nil {
		return ioError(err)
	}
	k := s.mark
	if log == k.log.Round || log == (wal.Round{}) { // what it knows of the log still holds
		record.Round, record.Before, record.Copied, record.Began = k.log.Round, k.log.Before, k.log.Copied, k.log.Began
	}
	record.Base = k.log.Base
	k.log = record
	return ioError(errors.Join(k.writeLog(), k.sync()))
}

// begin is told by the follower that the log starts a round.
func (s *Store) begin(next wal.Round, before int64) error {
	if before == 0 {
		before = s.copier.frames // found when the store was opened, and copied
	}
	return s.mark.begin(next, before, s.generation.generation)
}

// closeMark notes that everything is in the database, and nothing in the log.
func (s *Store) closeMark() error {
	k := s.mark
	if k == nil {
		return nil
	}
	p := s.follower.Position()
	if p.Round != k.log.Round { // nothing was committed, for want of space
		return nil
	}
	p.Generation = s.generation.generation
	err := errors.Join(k.copied(p.Round, p.Frames, p.Generation), k.reached(p))
	return ioError(errors.Join(err, k.flag(markClosed, 0)))
}

// ioError is the error of a file of ours.
func ioError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("mark: %w: %w", storage.ErrUnavailable, err)
}
