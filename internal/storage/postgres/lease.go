package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

const (
	// leaseTime is how long the row of a broker has to stay as it is until another one may take its
	// place.
	leaseTime = 5 * time.Second
	// beatEvery is how often a broker that commits nothing says that it is there.
	beatEvery = time.Second
	// longGone is how old a row has to be, by the database's clock, to be taken over without a wait. It
	// is more than a failover of the database takes, during which no broker can show that it lives.
	longGone = time.Minute
)

// lease is what the store knows of its own row in "brokers". Of the goroutine that commits.
type lease struct {
	node, holder string
	epoch        int64  // of the connection that writes
	seq          int64  // of the last transaction that is known to be stored
	generation   int64  // of the database, when last seen
	previous     string // who had the database before; "" if it had stopped
	reason       string // why it was taken
	sent         bool   // the transaction after seq has been sent, and its outcome is not known
	beat         time.Time
}

// errLost is wrapped when the database does not have what it has confirmed. It is damage, which no new
// start mends.
var errLost = fmt.Errorf("%w: the database has gone back to an earlier state, and what was answered since is lost", storage.ErrDamaged)

// errCrashed is errLost where a crash of the server may cost the last moments: the next start has what is left.
var errCrashed = fmt.Errorf("%w: the database's server has crashed and lost what was answered last, as relaxed durability lets it", storage.ErrUnavailable)

func newLease(node string) lease {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return lease{node: node, holder: hex.EncodeToString(b)}
}

// application is how a session of the lease is called in pg_stat_activity: at most 63 bytes.
func application(holder, role string) string {
	return "zbus-" + holder[:min(16, len(holder))] + "-" + role
}

// InUse is an [storage.ErrInUse]: another broker has the database.
type InUse struct{ Node string }

// Error implements error.
func (e *InUse) Error() string {
	return fmt.Sprintf("the broker %q has the database, and runs", e.Node)
}

// Unwrap makes it an [storage.ErrInUse].
func (e *InUse) Unwrap() error { return storage.ErrInUse }

// holder is a row of "brokers".
type holder struct {
	name, holder, seen string
	age                time.Duration // by the database's clock
	seq                int64
	address            string
}

// brokers are all that have ever used the database, with or without a lease.
func brokers(ctx context.Context, c *conn) (list []holder, generation int64, err error) {
	rows, err := c.query(ctx, "SELECT b.name, b.holder, b.seen::text, (extract(epoch FROM clock_timestamp() - b.seen) * 1000)::bigint, b.seq,"+
		" coalesce(to_jsonb(b) ->> 'address', ''), i.generation FROM identity i LEFT JOIN brokers b ON true")
	for _, r := range rows {
		if generation = number(r[6]); r[2] == "" {
			continue // there is none yet
		}
		list = append(list, holder{
			name: text([]byte(r[0])), holder: r[1], seen: r[2], age: time.Duration(number(r[3])) * time.Millisecond,
			seq: number(r[4]), address: text([]byte(r[5])),
		})
	}
	return list, generation, err
}

// holders are those that have a lease.
func holders(ctx context.Context, c *conn) ([]holder, error) {
	list, _, err := brokers(ctx, c)
	return slices.DeleteFunc(list, func(h holder) bool { return h.holder == "" }), err
}

// grab takes the lease, and ends that of others, in one transaction. Counting up the generation makes
// those who do it at once follow each other.
func (s *Store) grab(ctx context.Context, c *conn, others []holder) (err error) {
	for _, o := range others {
		terminate(ctx, c, o.holder)
	}
	if _, err := c.query(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = c.query(ctx, "ROLLBACK")
		}
	}()
	generation, err := c.value(ctx, "UPDATE identity SET generation = generation + 1 RETURNING generation")
	if err != nil {
		return err
	}
	for _, o := range others {
		_, err := c.query(ctx, "UPDATE brokers SET holder = '', epoch = epoch + 1 WHERE holder = $1 AND seen::text = $2", o.holder, o.seen)
		if err != nil {
			return err
		}
	}
	left, err := c.value(ctx, "SELECT coalesce(max(name), '') FROM brokers WHERE holder <> ''")
	switch {
	case err != nil:
		return err
	case left != "":
		return &InUse{text([]byte(left))}
	}
	rows, err := c.query(ctx, "INSERT INTO brokers (name, holder, epoch, seq, seen) VALUES ($1, $2, 1, 0, clock_timestamp())"+
		" ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = brokers.epoch + 1, seen = excluded.seen RETURNING epoch, seq",
		s.node, s.holder)
	if err == nil {
		_, err = c.query(ctx, "COMMIT")
	}
	if err != nil {
		return err
	}
	if c.local {
		return fmt.Errorf("%w: the lease was not replicated", storage.ErrUnavailable)
	}
	s.epoch, s.seq, s.generation = number(rows[0][0]), number(rows[0][1]), number(generation)
	s.beat = time.Now()
	s.previous, s.reason = "", "stopped"
	if len(others) > 0 {
		s.previous, s.reason = others[0].name, "silent"
	} else if s.generation == 1 {
		s.reason = "first"
	}
	return nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// terminate ends the sessions of a holder: one that waits for a standby, or is frozen in the middle of
// a transaction, keeps the row locked. Without the right to do so, the lock is waited for.
func terminate(ctx context.Context, c *conn, holder string) {
	defer func(before bool) { c.local = before }(c.local) // the server warns when a session has just ended
	_, _ = c.query(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = $1",
		application(holder, writerRole))
}

// claim makes a new connection the one that writes, and says up to which transaction all is stored.
// When it returns without an error, that is as durable as a commit, and none of an earlier connection
// can follow.
func (s *Store) claim(ctx context.Context, c *conn) (seq int64, err error) {
	terminate(ctx, c, s.holder)
	rows, err := c.query(ctx, "UPDATE brokers SET epoch = epoch + 1, seen = clock_timestamp() WHERE name = $1 AND holder = $2"+
		" RETURNING epoch, seq, (SELECT generation FROM identity)", s.node, s.holder)
	switch {
	case err != nil:
		return 0, err
	case c.local:
		return 0, fmt.Errorf("%w: a standby does not answer", storage.ErrUnavailable)
	case len(rows) == 0:
		return 0, s.fenced(ctx, c)
	}
	epoch, seq, generation := number(rows[0][0]), number(rows[0][1]), number(rows[0][2])
	if last := s.seq; seq < last || seq > last+1 || seq > last && !s.sent || epoch <= s.epoch || generation < s.generation {
		lost := errLost
		if s.options.Relaxed {
			lost = errCrashed
		}
		return 0, fmt.Errorf("%w: transaction %d was stored, and it has %d (epoch %d after %d, generation %d after %d)",
			lost, last, seq, epoch, s.epoch, generation, s.generation)
	}
	s.epoch, s.generation, s.beat = epoch, generation, time.Now()
	return seq, nil
}

// errTaken is wrapped when another broker has taken the lease after a commit was sent, which may have been
// stored before.
var errTaken = errors.New("another broker has the database, and it is not known whether the last commit is stored")

// fenced is the error for a lease that is no longer this store's. It can no longer store anything: if
// seq is unchanged, the transaction that was sent last was not stored either.
func (s *Store) fenced(ctx context.Context, c *conn) error {
	if s.sent {
		rows, err := c.query(ctx, "SELECT seq FROM brokers WHERE name = $1", s.node)
		if err != nil {
			return err
		}
		if len(rows) == 0 || number(rows[0][0]) != s.seq {
			return errTaken
		}
	}
	return fmt.Errorf("%w: another broker has the database, or it has gone back to an earlier state", storage.ErrFenced)
}

// beatNow says that the broker is there. It need not be durable.
func (s *Store) beatNow(ctx context.Context) error {
	rows, err := s.writer.query(ctx, "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS set)"+
		" UPDATE brokers SET seen = clock_timestamp() FROM quick WHERE name = $1 AND holder = $2 AND epoch = $3 AND quick.set = 'off' RETURNING 1",
		s.node, s.holder, s.epoch)
	if err == nil && len(rows) == 0 {
		return fmt.Errorf("%w: another broker has the database", storage.ErrFenced)
	}
	return err
}

// release gives the lease back, so that the next one need not wait.
func (s *Store) release(ctx context.Context) error {
	_, err := s.writer.query(ctx, "UPDATE brokers SET holder = '', epoch = epoch + 1, seen = clock_timestamp() WHERE name = $1 AND holder = $2 AND epoch = $3",
		s.node, s.holder, s.epoch)
	return err
}
