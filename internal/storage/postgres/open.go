package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// The roles of sessions, which their application_name has.
const (
	writerRole = "writer"
	readerRole = "reader"
)

// Options say where and how to store. The zero value of a field but URL means its default.
type Options struct {
	// URL of the database, as libpq has it: several hosts are tried in turn until one takes writes.
	// What it leaves out is taken from libpq's variables and password file.
	URL string
	// Node is the broker's name among those that use the database. Default: the host's name.
	Node string
	// Relaxed lets a server answer before what it has committed is on a disk, or replicated.
	Relaxed bool
	// CommitTimeout is how long a server may take for a commit. One that takes longer is left for
	// another. Default 5 s.
	CommitTimeout time.Duration
	// Patience is how long the store tries to find out what became of a commit before it gives up.
	// Default 60 s.
	Patience time.Duration
	// StopPatience is Patience once the broker stops. Default 10 s.
	StopPatience time.Duration
	// ReadTimeout is how long a server may take to answer a question. Default 30 s.
	ReadTimeout time.Duration
	// Readers is how many connections read. Default 4.
	Readers int
	// Address is where clients reach the broker, for others to know.
	Address string
	// Waiting has [Open] wait while another broker has the database, and take its place when that one stops, or
	// is dead. It is called when the wait begins, and whenever another broker is waited for. Nil: Open does not wait.
	Waiting func(Node)
	// Conditions are told what is wrong with the store. May be nil.
	Conditions *condition.Board
	// Log takes warnings. By default they are dropped.
	Log *slog.Logger

	lease time.Duration // leaseTime; tests have another
	beat  time.Duration // beatEvery; tests have another
}

func (o Options) withDefaults() Options {
	if o.Node == "" {
		o.Node, _ = os.Hostname()
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = 5 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	if o.StopPatience == 0 {
		o.StopPatience = 10 * time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 30 * time.Second
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.lease == 0 {
		o.lease = leaseTime
	}
	if o.beat == 0 {
		o.beat = beatEvery
	}
	return o
}

// Store is a [storage.Store] in a PostgreSQL database.
type Store struct {
	options  Options
	dialer   *dialer
	identity string
	version  int64 // of the schema, before it was brought up to date

	// Of the goroutine that calls Commit, Maintain and Close.
	lease
	writer  *conn // nil while there is no connection
	catalog *catalog
	batch   *batch
	failed  error // why nothing more is written
	closed  bool

	stopping chan struct{} // closed when the broker stops
	stopped  time.Time     // when the goroutine that commits noticed that

	named bool // the server has names of standbys to wait for

	measured   time.Time  // when size was
	measuring  sync.Mutex // held while it is
	size       atomic.Int64
	replicated atomic.Bool
	background sync.WaitGroup

	recent  recent
	readers *readers
}

var (
	_ storage.Store      = (*Store)(nil)
	_ storage.Maintainer = (*Store)(nil)
)

// Open connects to a database, brings its schema up to date and takes its lease: while another broker
// has that, it waits if it may, or the error is [storage.ErrInUse]. A database of a newer version is [storage.ErrForeign].
func Open(ctx context.Context, options Options) (*Store, error) {
	options = options.withDefaults()
	d, err := newDialer(options.URL, options.Relaxed)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{options: options, dialer: d, lease: newLease(options.Node), stopping: make(chan struct{})}
	s.readers = newReaders(options.Readers, s.readerFor)
	if err := s.open(ctx); err != nil {
		s.writer.leave()
		s.readers.close()
		s.background.Wait()
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.writer, err = s.dialer.dial(ctx, application(s.holder, writerRole)); err != nil {
		return err
	}
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	// A schema is changed by the one who has the lease, except the first, without which there is none.
	found, err := s.schema(ctx)
	if err == nil && found < 1 {
		found, err = newest, s.within(ctx, func(ctx context.Context) error { return migrate(ctx, s.dialer) })
	}
	if err != nil {
		return err
	}
	if found > newest {
		return fmt.Errorf("%w: schema %d is newer than this zbus knows (%d); use the zbus that wrote it, or a newer one", storage.ErrForeign, found, newest)
	}
	err = s.within(ctx, func(ctx context.Context) (err error) {
		s.identity, err = s.writer.value(ctx, "SELECT id FROM identity")
		return err
	})
	if err != nil {
		return err
	}
	s.version = found
	if err := s.take(ctx); err != nil {
		return err
	}
	if err := s.upgrade(ctx, found, newest); err != nil {
		return err
	}
	if err := s.within(ctx, s.record); err != nil {
		return err
	}
	return s.within(ctx, s.load)
}

// within gives f as long as a server may take to answer.
func (s *Store) within(ctx context.Context, f func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, s.options.ReadTimeout)
	defer stop()
	return f(ctx)
}

// schema is the version of the schema that is there, below 1 if there is none.
func (s *Store) schema(ctx context.Context) (version int64, err error) {
	err = s.within(ctx, func(ctx context.Context) error {
		version, err = schemaOf(ctx, s.writer)
		return err
	})
	return version, err
}

// load loads the catalog.
func (s *Store) load(ctx context.Context) error {
	s.readers.renew(s.epoch)
	l, err := load(ctx, s.writer)
	if err != nil {
		return err
	}
	if s.catalog, err = l.catalog(ctx, s.writer); err != nil {
		return err
	}
	s.batch = &batch{catalog: s.catalog, given: s.catalog.Last}
	if err := s.askStandbys(ctx, s.writer); err != nil {
		return err
	}
	if !s.named {
		s.options.Log.Warn("the database has no synchronous standby, so what is answered is lost with its server; see zbus store check")
	}
	s.recent.show(s.catalog, s.seq)
	s.measure()
	return nil
}

// Identity tells the database from any other.
func (s *Store) Identity() string { return s.identity }

// Close implements [storage.Store]. It gives the lease back.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.readers.close()
	s.background.Wait()
	if s.writer == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), s.options.CommitTimeout)
	defer stop()
	if s.failed == nil {
		if err := s.release(ctx); err != nil {
			s.options.Log.Warn("the lease of the database was not given back: the next start waits for its end", "err", err)
		}
	}
	s.writer.leave()
	return nil
}

// explain says what to do about an error of Open.
func explain(err error) error {
	switch codeOf(err) {
	case noSuchDatabase:
		return fmt.Errorf("%w: create it with: createdb --owner USER NAME: %w", storage.ErrNotFound, err)
	case insufficientRight:
		return fmt.Errorf("%w: the user may not create or use tables there; make it the database's owner: %w", storage.ErrForeign, err)
	}
	if errors.Is(err, storage.ErrInUse) || errors.Is(err, storage.ErrForeign) || errors.Is(err, storage.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
