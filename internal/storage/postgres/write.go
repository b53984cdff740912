package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// conditionKind is the kind of the condition that the database is out of reach.
const conditionKind = "database"

// pause is how long is waited between two attempts.
const pause = 100 * time.Millisecond

// Commit implements [storage.Store].
func (s *Store) Commit(ops []storage.Op) ([]error, error) {
	if s.failed != nil {
		return nil, fmt.Errorf("%w: stopped by an earlier error: %w", storage.ErrUnavailable, s.failed)
	}
	defer s.catalog.Forget()
	defer s.batch.empty()
	errs := make([]error, len(ops))
	for i, op := range ops {
		errs[i] = s.batch.plan(op)
	}
	if s.batch.nothing() {
		return errs, nil
	}
	if err := s.write(s.batch.all()); err != nil {
		s.catalog.Back(0)
		if !errors.Is(err, storage.ErrNotStored) && !errors.Is(err, storage.ErrFull) {
			s.failed = err
			s.options.Log.Error("store stopped", "err", err)
		}
		return nil, fmt.Errorf("commit: %w", err)
	}
	s.batch.given = s.catalog.Last
	s.recent.publish(s.catalog, s.catalog.Undo, s.seq)
	return errs, nil
}

// write stores steps in one transaction. After [storage.ErrNotStored] it can be called again.
func (s *Store) write(steps []step) error {
	began := time.Now()
	for {
		err := s.try(steps)
		if err == nil {
			s.seq, s.sent, s.beat = s.seq+1, false, time.Now()
			return nil
		}
		if final(err) {
			return err
		}
		took, stops := time.Since(began), s.stopsFor()
		switch {
		case !s.sent && (took >= s.options.CommitTimeout || stops > 0):
			return fmt.Errorf("%w: %w", storage.ErrNotStored, err)
		case took >= s.options.Patience || stops >= s.options.StopPatience:
			return fmt.Errorf("no server has said for %v what became of a commit: %w", took.Round(time.Second), err)
		}
		time.Sleep(pause)
	}
}

// Stop says that the broker stops, so that the store waits less for a database that is out of reach. It may
// be called by any goroutine, once.
func (s *Store) Stop() { close(s.stopping) }

// stopsFor is for how long the goroutine that commits has known that the broker stops.
func (s *Store) stopsFor() time.Duration {
	select {
	case <-s.stopping:
	default:
		return 0
	}
	if s.stopped.IsZero() {
		s.stopped = time.Now()
	}
	return max(time.Since(s.stopped), 1)
}

// final reports whether it is of no use to try again.
func final(err error) bool {
	return errors.Is(err, storage.ErrFenced) || errors.Is(err, storage.ErrFull) || errors.Is(err, errLost) || errors.Is(err, errForeign) ||
		errors.Is(err, errCrashed) || errors.Is(err, errTaken)
}

// try stores steps, or finds out that they are stored.
func (s *Store) try(steps []step) error {
	if s.writer == nil {
		seq, err := s.reconnect()
		if err != nil {
			return err
		}
		stored := seq > s.seq
		if s.sent = false; stored {
			return nil
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), s.options.CommitTimeout)
	defer stop()
	err := s.send(ctx, steps)
	if err == nil {
		return nil
	}
	worked := s.writer.worked
	if s.writer.broken(err) {
		s.disconnect(err)
		switch codeOf(err) {
		case readOnly:
			s.sent = false
		case notSupported, noSuchStatement: // it was prepared before something was changed
			if s.sent = false; !worked {
				return fmt.Errorf("%w: %w", errForeign, err)
			}
		}
		return err
	}
	s.sent = false // the server has taken it back, and says why
	switch code := codeOf(err); code {
	case divisionByZero, uniqueViolation:
		return fmt.Errorf("%w: another broker has the database: %w", storage.ErrFenced, err)
	case diskFull:
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	default:
		switch code[:2] {
		case "21", "22", "23", "2F", "3F", "42", "P0", "XX":
			return fmt.Errorf("%w: %w", errForeign, err)
		}
	}
	return err
}

// errForeign is wrapped when the database is not as this package has left it.
var errForeign = errors.New("the tables are not as this program has left them")

// send runs a transaction in one round trip.
func (s *Store) send(ctx context.Context, steps []step) error {
	c := s.writer
	var b pgconn.Batch
	for i := -1; i < len(steps); i++ {
		next := step{statement: turn, args: encode([]any{s.node, s.holder, s.epoch, s.seq + 1})}
		if i >= 0 {
			next = steps[i]
		}
		if err := c.prepare(ctx, next.statement); err != nil {
			return err
		}
		b.ExecPrepared(name(next.statement), next.args, binaryFormat(), binaryFormat())
	}
	s.sent = true
	results, err := c.ExecBatch(ctx, &b).ReadAll()
	switch {
	case err != nil:
		return err
	case c.local:
		return fmt.Errorf("%w: it was not replicated", storage.ErrUnavailable)
	}
	for i := range steps {
		if n := results[i+1].CommandTag.RowsAffected(); steps[i].one && n != 1 {
			return fmt.Errorf("%w: %q has changed %d rows", errForeign, sqlText(steps[i].statement), n)
		}
	}
	c.worked = true
	return nil
}

// measureEvery is how often the size of the database is asked for.
const measureEvery = 30 * time.Second

// measure asks how large the database is, over a connection that reads, which takes a while where there
// are many files. Nothing depends on the answer, and nothing waits for it.
func (s *Store) measure() {
	if !s.measured.IsZero() && time.Since(s.measured) < measureEvery || !s.measuring.TryLock() {
		return
	}
	s.measured = time.Now()
	s.background.Go(func() {
		defer s.measuring.Unlock()
		_ = s.read(context.Background(), func(ctx context.Context, c *conn) error {
			size, err := c.value(ctx, "SELECT pg_database_size(current_database())")
			if err == nil {
				s.size.Store(number(size))
			}
			return err
		})
	})
}

// Size is how many bytes the database took when it was last looked.
func (s *Store) Size() int64 { return s.size.Load() }

// disconnect gives the connection that writes up.
func (s *Store) disconnect(cause error) {
	s.writer.drop()
	s.writer = nil
	s.options.Log.Warn("connection to the database lost", "err", cause)
	if s.options.Conditions != nil {
		s.options.Conditions.Raise(condition.Condition{
			Kind: conditionKind, Severity: condition.Critical, NotReady: true,
			Text: "the database is out of reach, so nothing is stored before it is back: " + cause.Error(),
		})
	}
}

// reconnect connects to the server that takes writes, and says up to which transaction all is stored.
func (s *Store) reconnect() (seq int64, err error) {
	hosts := time.Duration(1 + len(s.dialer.config.Fallbacks))
	ctx, stop := context.WithTimeout(context.Background(), s.options.CommitTimeout+hosts*s.dialer.config.ConnectTimeout)
	defer stop()
	c, err := s.dialer.dial(ctx, application(s.holder, writerRole))
	if err != nil {
		return 0, err
	}
	if seq, err = s.claim(ctx, c); err != nil {
		c.drop()
		return 0, err
	}
	s.writer = c
	s.readers.renew(s.epoch)
	s.options.Log.Info("connection to the database is back")
	if s.options.Conditions != nil {
		s.options.Conditions.Clear(conditionKind, "")
	}
	return seq, nil
}

// Maintain implements [storage.Maintainer]: it says that the broker is there, and connects again.
func (s *Store) Maintain() error {
	if s.failed != nil || time.Since(s.beat) < s.options.beat {
		return nil
	}
	s.beat = time.Now()
	ctx, stop := context.WithTimeout(context.Background(), s.options.CommitTimeout)
	defer stop()
	s.measure()
	var err error
	if s.writer == nil {
		_, err = s.reconnect()
	} else if err = s.beatNow(ctx); err != nil && !errors.Is(err, storage.ErrFenced) && s.writer.broken(err) {
		s.disconnect(err)
	}
	if err != nil && final(err) {
		s.failed = err
		s.options.Log.Error("store stopped", "err", err)
		return err
	}
	return nil
}
