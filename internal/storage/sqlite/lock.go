package sqlite

import (
	"errors"
	"io/fs"
	"os"
)

// lockExisting locks a database if there is one: before anything looks at it.
func lockExisting(path string) (*os.File, error) {
	lock, err := lockFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

// lockCreated locks the database that has been created, if the lock is not its own yet.
func (s *Store) lockCreated() (err error) {
	if s.lock != nil {
		named, err := os.Stat(s.options.Path)
		if err != nil {
			return err
		}
		if locked, err := s.lock.Stat(); err != nil || os.SameFile(named, locked) {
			return err
		}
		_ = s.lock.Close() // of one that was put aside
	}
	s.lock, err = lockFile(s.options.Path)
	return err
}

func unlock(lock *os.File) error {
	if lock == nil {
		return nil
	}
	return lock.Close()
}
