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

// The kinds of conditions: that the database is out of reach, and that it no longer has a standby.
const (
	conditionKind = "database"
	standbyKind   = "standby"
)

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
	all := make([]step, 0, len(steps)+2)
	all = append(all, step{statement: turn, args: encode([]any{s.node, s.holder, s.epoch, s.seq + 1})})
	all = append(all, steps...)
	all = append(all, step{statement: standbys})
	for i := range all {
		if err := c.prepare(ctx, all[i].statement); err != nil {
			return err
		}
	}
	s.sent = true
	p := c.StartPipeline(ctx)
	for i := range all {
		if i == len(all)-1 {
			p.SendPipelineSync() // what follows is asked when the transaction is stored
		}
		p.SendQueryPrepared(name(all[i].statement), all[i].args, binaryFormat(), binaryFormat())
	}
	err := p.Sync()
	var held held
	if err == nil {
		held, err = received(p, all)
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return err
	case c.local:
		return fmt.Errorf("%w: it was not replicated", storage.ErrUnavailable)
	}
	c.worked = true
	s.replicates(held)
	return nil
}

// received reads the answers to all steps, of which the last one says whether the server has standbys that
// a commit waits for. It is asked behind the commit: a server that is told in the middle to do without them
// reports success without a warning.
func received(p *pgconn.Pipeline, all []step) (h held, err error) {
	for i := 0; ; {
		results, err := p.GetResults()
		if err != nil {
			return h, err
		}
		if results == nil {
			return h, nil
		}
		r, ok := results.(*pgconn.ResultReader)
		if !ok {
			continue // the transaction is stored
		}
		if all[i].statement == standbys && r.NextRow() {
			h = heldOf(r.Values())
		}
		tag, err := r.Close()
		if err != nil {
			return h, err
		}
		if n := tag.RowsAffected(); all[i].one && n != 1 {
			return h, fmt.Errorf("%w: %q has changed %d rows", errForeign, sqlText(all[i].statement), n)
		}
		i++
	}
}

// Replicated reports whether all that was stored so far is on a standby as well. It may be called by any
// goroutine. What was stored before a commit is nowhere else than that: so the last one speaks for all.
func (s *Store) Replicated() bool { return s.replicated.Load() && !s.options.Relaxed }

// askStandbys is what a commit asks, for the one before.
func (s *Store) askStandbys(ctx context.Context, c *conn) error {
	for row, err := range c.rows(ctx, standbys) {
		if err != nil {
			return err
		}
		s.replicates(heldOf(row))
	}
	return nil
}

// held is what a server says of its standbys.
type held struct {
	named   bool // it has names of those to wait for
	settled bool // ... and for so long that it surely waits
}

func heldOf(row [][]byte) held { return held{truth(row[0]), truth(row[1])} }

// replicates notes what the last commit says, and tells operators when that gets worse.
func (s *Store) replicates(h held) {
	s.replicated.Store(h.named && h.settled)
	before := s.named
	if s.named = h.named; before == h.named || s.options.Relaxed {
		return
	}
	if h.named {
		s.options.Log.Info("the database has a synchronous standby")
		s.clear(standbyKind)
		return
	}
	s.options.Log.Warn("the database no longer has a synchronous standby, so what is answered is lost with its server")
	s.raise(condition.Condition{
		Kind: standbyKind, Severity: condition.Warning,
		Text: "the database's server no longer waits for a standby, so what is answered is lost with it: see synchronous_standby_names there",
	})
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
	s.raise(condition.Condition{
		Kind: conditionKind, Severity: condition.Critical, NotReady: true,
		Text: "the database is out of reach, so nothing is stored before it is back: " + cause.Error(),
	})
}

func (s *Store) raise(c condition.Condition) {
	if s.options.Conditions != nil {
		s.options.Conditions.Raise(c)
	}
}

func (s *Store) clear(kind string) {
	if s.options.Conditions != nil {
		s.options.Conditions.Clear(kind, "")
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
	if seq, err = s.claim(ctx, c); err == nil {
		err = s.askStandbys(ctx, c)
	}
	if err != nil {
		c.drop()
		return 0, err
	}
	s.writer = c
	s.readers.renew(s.epoch)
	s.options.Log.Info("connection to the database is back")
	s.clear(conditionKind)
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
