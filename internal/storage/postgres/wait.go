package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

const (
	// lookEvery is how often a broker that waits looks whether it is its turn.
	lookEvery = 250 * time.Millisecond
	// afterOutage is how many times leaseTime the holder of the lease has to be silent after an outage of the
	// database, in which it could not show that it lives: it has to find the server again first.
	afterOutage = 3
)

// Node is a broker that uses the database, as others see it.
type Node struct {
	Name    string
	Address string // "" if it is not known
	Waiting bool   // it does not have the database
}

// watch is what a broker that waits has seen of the others. Only what it has seen itself, one look after
// the other, counts as silence: after an outage of the database all rows are old.
type watch struct {
	seen  map[string]string // by holder: when it was seen, by the database's clock
	since time.Time         // no holder has shown a sign of life since
	most  time.Duration     // how long that has to last
	last  time.Time         // of the last look that succeeded
	marks map[string]int64  // by name, and the generation by "": the newest that was seen
	owner string            // who was told to be waited for
	said  time.Time         // when this broker last said that it waits
}

// errNotYet: another broker has the lease.
var errNotYet = errors.New("another broker has the database")

// take waits until no other broker has a lease, and takes it. While another one shows signs of life, the
// broker waits on if it may. If not, or if the other one has its name, the error is [storage.ErrInUse].
func (s *Store) take(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.unregister()
		}
	}()
	w := &watch{most: s.options.lease, marks: map[string]int64{}}
	for {
		err := s.look(ctx, w)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errNotYet) {
			if s.options.Waiting == nil || w.owner == "" || !errors.Is(explain(err), storage.ErrUnavailable) {
				return err
			}
			s.options.Log.Warn("the database is out of reach", "err", err)
			s.writer.drop()
			s.writer = nil
		}
		select {
		case <-time.After(min(lookEvery, s.options.lease/10)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look takes the lease if it is free. If another broker has it, the error is errNotYet, or [storage.ErrInUse]
// if it is of no use to wait.
func (s *Store) look(ctx context.Context, w *watch) (err error) {
	ctx, stop := context.WithTimeout(ctx, s.options.ReadTimeout)
	defer stop()
	if s.writer == nil {
		if s.writer, err = s.dialer.dial(ctx, application(s.holder, writerRole)); err != nil {
			return err
		}
	}
	all, generation, err := brokers(ctx, s.writer)
	if err != nil {
		return err
	}
	if err := w.check(all, generation); err != nil && !s.options.Relaxed {
		return err
	}
	others := slices.DeleteFunc(all, func(h holder) bool { return h.holder == "" })
	alive := w.note(others, s.options.lease)
	if alive != nil && (s.options.Waiting == nil || alive.name == s.node) {
		return &InUse{alive.name}
	}
	gone := !slices.ContainsFunc(others, func(h holder) bool { return h.age < longGone })
	if gone || time.Since(w.since) >= w.most {
		err := s.grab(ctx, s.writer, others)
		if s.options.Waiting == nil || !errors.Is(err, storage.ErrInUse) {
			return err
		}
		w.since = time.Now() // another one was quicker
		return errNotYet
	}
	s.tell(ctx, w, &others[0])
	return errNotYet
}

// check says whether the database has gone back since it was looked at first.
func (w *watch) check(all []holder, generation int64) error {
	for _, h := range append(all, holder{seq: generation}) {
		if h.seq < w.marks[h.name] {
			return fmt.Errorf("%w: of the broker %q it had transaction %d, and has %d", errLost, h.name, w.marks[h.name], h.seq)
		}
		w.marks[h.name] = h.seq
	}
	return nil
}

// note compares what is there with what was there at the last look, and gives the one that has shown a
// sign of life.
func (w *watch) note(others []holder, lease time.Duration) (alive *holder) {
	now := time.Now()
	if w.last.IsZero() {
		w.since = now
	} else if now.Sub(w.last) > max(lease/2, lookEvery) { // the database was out of reach, or this broker was frozen
		w.since, w.most = now, afterOutage*lease
	}
	seen := make(map[string]string, len(others))
	for i, o := range others {
		if before, known := w.seen[o.holder]; known && before != o.seen || !known && len(w.seen) > 0 {
			alive = &others[i]
			w.since, w.most = now, lease
		}
		seen[o.holder] = o.seen
	}
	w.seen, w.last = seen, now
	return alive
}

// tell says that this broker waits, and for whom.
func (s *Store) tell(ctx context.Context, w *watch, o *holder) {
	if w.owner != o.name {
		w.owner = o.name
		s.options.Log.Info("waiting for the broker that has the database, or for its end", "node", o.name, "address", o.address)
		if s.options.Waiting != nil {
			s.options.Waiting(Node{Name: o.name, Address: o.address})
		}
	}
	if s.options.Waiting == nil || s.version < waitingSchema || time.Since(w.said) < s.options.beat {
		return
	}
	w.said = time.Now()
	_, err := s.writer.query(ctx, "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)"+
		" INSERT INTO waiting (name, run, address, seen) SELECT $1, $2, $3, clock_timestamp() FROM quick WHERE quick.set = 'off'"+
		" ON CONFLICT (name) DO UPDATE SET run = excluded.run, address = excluded.address, seen = excluded.seen",
		s.node, s.holder, s.options.Address)
	if err != nil {
		s.options.Log.Warn("others do not see that this broker waits", "err", err)
	}
}

// unregister takes back that this broker waits.
func (s *Store) unregister() {
	if s.options.Waiting == nil || s.version < waitingSchema {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	if s.writer == nil || s.writer.IsClosed() { // by the end of the context, in the middle of a question
		c, err := s.dialer.dial(ctx, application(s.holder, writerRole))
		if err != nil {
			return // others stop to see it soon
		}
		s.writer = c
	}
	_, _ = s.writer.query(ctx, "DELETE FROM waiting WHERE name = $1 AND run = $2", s.node, s.holder)
}

// waitingSchema is the first version of the schema that knows brokers that wait.
const waitingSchema = 2

// keptTakeovers is how many are known, at most.
const keptTakeovers = 1000

// record says who has the database now, and why. It need not be a part of taking it.
func (s *Store) record(ctx context.Context) error {
	for sql, args := range map[string][]any{
		"UPDATE brokers SET address = $2 WHERE name = $1":                                     {s.node, s.options.Address},
		"DELETE FROM waiting WHERE name = $1 OR seen < clock_timestamp() - interval '1 hour'": {s.node},
		"DELETE FROM takeovers WHERE generation < $1":                                         {s.generation - keptTakeovers},
		"INSERT INTO takeovers (generation, time, node, previous, reason) SELECT $1, clock_timestamp(), $2," +
			" coalesce(nullif($3, ''), (SELECT node FROM takeovers ORDER BY generation DESC LIMIT 1), ''), $4" +
			" ON CONFLICT DO NOTHING": {s.generation, s.node, s.previous, s.reason},
	} {
		if _, err := s.writer.query(ctx, sql, args...); err != nil {
			return err
		}
	}
	return nil
}
