package sqlite

import (
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Commit implements [storage.Store].
func (s *Store) Commit(ops []storage.Op) ([]error, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	defer s.catalog.Forget()
	errs, err := s.tryCommit(ops)
	if err != nil && faultOf(err) == fullFault {
		again, rerr := s.roomAgain(time.Now())
		if rerr != nil {
			return nil, rerr
		}
		if again {
			errs, err = s.tryCommit(ops)
		}
	}
	if err != nil && s.batch.purges && unreadable(err) {
		errs, err = s.tryWithoutPurge(ops, err)
	}
	for unreadable(err) && s.cutOff(err) {
		errs, err = s.tryCommit(ops)
	}
	switch {
	case err == nil:
		return errs, nil
	case faultOf(err) == fullFault:
		return nil, fmt.Errorf("commit: %w", translate(err))
	}
	return nil, s.fail(fmt.Errorf("commit: %w", explain(s.follower.FailedWrite(), translate(err))))
}

// tryCommit commits ops in one transaction. After an error nothing is stored and the
// catalog is as it was before, unless it is an error that leaves the outcome unknown.
func (s *Store) tryCommit(ops []storage.Op) ([]error, error) {
	s.batch.purges, s.batch.into = false, nil
	errs := make([]error, len(ops))
	planned := 0
	for i, op := range ops {
		if errs[i] = s.batch.plan(op); errs[i] == nil {
			planned++
		}
	}
	if planned == 0 || s.batch.nothing() {
		return errs, nil
	}
	err := s.transaction(func() error { return s.batch.run(s.writer) })
	if err != nil && faultOf(err) == ownFault {
		err = s.transaction(func() error { return s.oneByOne(ops, errs) })
	}
	return errs, err
}

// tryWithoutPurge commits ops after an error at a page that makes no sense. Dropped
// messages that such a page is in the way of stay where they are, for good: to stop would
// not help, as the next start would come to the same page.
func (s *Store) tryWithoutPurge(ops []storage.Op, cause error) ([]error, error) {
	s.batch.leave = true
	defer func() { s.batch.leave = false }()
	errs, err := s.tryCommit(ops)
	if err == nil {
		s.options.Log.Warn("dropped messages stay in the database, a page of it is damaged; see zbus recover", "err", cause)
	}
	return errs, err
}

// cutOff has a topic take no more messages after an error at a page that makes no sense,
// where they would go, and reports whether that is what the error is about. All else is
// served: to stop would not help, as after the next start the same would happen.
func (s *Store) cutOff(cause error) bool {
	t := s.batch.into
	if t == nil || t.Cut {
		return false
	}
	t.Cut, s.batch.into = true, nil
	s.recent.mu.Lock()
	s.recent.show(s.catalog, t)
	s.recent.mu.Unlock()
	s.options.Log.Error("damage found", "path", s.options.Path, "found", cutOffError(t).Error(), "err", cause)
	s.raiseDamage(t.Name, condition.Critical, cutOffError(t).Error())
	return true
}

// transaction runs f and commits. When anything fails, nothing is stored, the
// queue is empty and the catalog is as it was when the commit began; a failure
// of COMMIT itself or of the disk leaves it open what is stored.
func (s *Store) transaction(f func() error) error {
	var err error
	if s.batch.single() {
		err = f() // a transaction by itself
	} else {
		err = s.explicit(f)
	}
	if err != nil {
		s.batch.empty()
		s.catalog.Back(0)
		return err
	}
	s.recent.publish(s.catalog, s.catalog.Undo)
	s.committed()
	return nil
}

// explicit runs f between BEGIN and COMMIT.
func (s *Store) explicit(f func() error) error {
	_, err := s.writer.exec(begin, nil)
	if err != nil {
		return err
	}
	if err = f(); err == nil {
		_, err = s.writer.exec(commit, nil)
		err = final(err)
	}
	if err != nil {
		// SQLite has rolled back already after some errors, and says so.
		_, _ = s.writer.exec(rollback, nil)
	}
	return err
}

// oneByOne gives each op a savepoint of its own, so that one which fails leaves
// the others alone.
func (s *Store) oneByOne(ops []storage.Op, errs []error) error {
	for i, op := range ops {
		if _, err := s.writer.exec(savepoint, nil); err != nil {
			return err
		}
		start := s.batch.place()
		errs[i] = s.batch.plan(op)
		if errs[i] == nil {
			err := s.batch.run(s.writer)
			if err != nil && faultOf(err) != ownFault {
				return err
			}
			if err != nil {
				errs[i] = translate(err)
				s.batch.Back(start.undo)
				if _, err := s.writer.exec(rollbackTo, nil); err != nil {
					return err
				}
			}
		}
		if _, err := s.writer.exec(release, nil); err != nil {
			return err
		}
	}
	return nil
}

// usable reports why the store takes no more changes, if it does not.
func (s *Store) usable() error {
	if failed := s.failed.Load(); failed != nil {
		return fmt.Errorf("%w: stopped by an earlier error: %w", storage.ErrUnavailable, *failed)
	}
	return nil
}

// fail stops the store: nothing may be written after an error that left the
// state of the disk open, above all no second fsync, which would lie.
func (s *Store) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	s.options.Log.Error("store stopped", "path", s.options.Path, "err", err)
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
