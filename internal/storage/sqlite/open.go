package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Durability says what a power loss may take.
type Durability int

const (
	// Fsync: nothing that Commit returned for.
	Fsync Durability = iota
	// Relaxed: at most what was committed during the last SyncInterval, always
	// the newest. A killed process still loses nothing.
	Relaxed
)

// String is the name of the setting, "fsync" or "relaxed".
func (d Durability) String() string {
	if d == Relaxed {
		return "relaxed"
	}
	return "fsync"
}

// Options say where and how to store. The zero value of a field but Path means
// its default.
type Options struct {
	// Path of the database file. Its directory must exist. SQLite keeps two
	// more files next to it, with -wal and -shm added to the name.
	Path string
	// Durability is Fsync by default.
	Durability Durability
	// SyncInterval is how much of the past Relaxed puts at risk. Default 200 ms.
	SyncInterval time.Duration
	// CacheBytes is the page cache of the writing connection. Each reader has
	// a quarter of it. Default 8 MiB.
	CacheBytes int64
	// Conditions are told what is wrong with the store. May be nil.
	Conditions *condition.Board
	// Log takes warnings. By default they are dropped.
	Log *slog.Logger

	fresh    freshLimits // tests have others
	imageLog int64       // maxImageLog; tests have another
}

func (o Options) withDefaults() Options {
	if o.SyncInterval == 0 {
		o.SyncInterval = 200 * time.Millisecond
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 8 << 20
	}
	if o.fresh == (freshLimits{}) {
		o.fresh = defaultFresh()
	}
	if o.imageLog == 0 {
		o.imageLog = maxImageLog
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is a [storage.Store] in one SQLite file. No other process may write to
// the file while it is open, and this process must not open it otherwise.
type Store struct {
	options Options

	// Of the goroutine that calls Commit, Maintain and Close.
	closed     bool
	writer     *conn
	gatherer   *gatherer // of writer
	picture    *picture
	batch      *batch
	noRoom     bool      // the last checkpoint found no space, and the log says so
	mergeAfter time.Time // there was no space to merge: not again before

	failed atomic.Pointer[error] // why nothing more may be written; set once
	torn   atomic.Bool           // what readers are told to read may not be there: see carrier
	sync   syncer

	recent  recent
	copier  *checkpointer
	readers *readers
	images  images
}

var _ storage.Store = (*Store)(nil)

// Open opens the database at options.Path, and creates it if there is no file.
// An older schema is brought up to date. ctx bounds the migration.
//
// A file that is damaged is refused with [storage.ErrDamaged]; one that is not
// ours, or was written by a newer version, with [storage.ErrInvalid]. Refused
// files are not changed. After an unclean stop the file is checked first, a large
// one but for its messages.
func Open(ctx context.Context, options Options) (*Store, error) {
	options = options.withDefaults()
	if err := prepare(ctx, options); err != nil {
		return nil, fmt.Errorf("open %s: %w", options.Path, err)
	}
	s := &Store{
		options: options,
		copier:  &checkpointer{start: make(chan struct{}, 1), done: make(chan copied, 1)},
		readers: newReaders(readerSetup(options)),
	}
	s.images.none.L = &s.images.mu
	if err := s.open(); err != nil {
		_ = s.release(s.readers.close())
		return nil, fmt.Errorf("open %s: %w", options.Path, err)
	}
	go s.copier.run()
	return s, nil
}

// open opens all connections but most readers, and loads the picture. What it opened before an
// error is in s.
func (s *Store) open() (err error) {
	o := s.options
	if s.gatherer, err = newGatherer(&s.torn); err != nil {
		return err
	}
	w := writerSetup(o)
	w.vfs = s.gatherer.name
	if s.writer, err = open(w); err != nil {
		return err
	}
	if err := s.copier.open(o, &s.torn); err != nil {
		return err
	}
	if err := s.readers.openFirst(); err != nil { // release needs one, too
		return err
	}
	if s.picture, err = loadPicture(s.writer); err != nil {
		return translate(err)
	}
	s.batch = newBatch(s.picture, s.options.fresh)
	s.recent.topics = make(map[storage.TopicID]shown, len(s.picture.topics))
	for _, t := range s.picture.topics {
		s.recent.show(s.picture, t)
	}
	// A log that a killed process left may not be on disk yet. It has to be
	// before anybody is shown what it holds.
	if err := s.tolerateFull(s.checkpointHere(checkpointRestart, time.Now())); err != nil {
		return err
	}
	return s.sync.open(o)
}

// Close implements [storage.Store]. It waits for calls and images that are reading. After
// a failed Commit it leaves the write-ahead log as it is, for the next Open.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.images.close()
	close(s.copier.start)
	for c := range s.copier.done {
		if c.err != nil && s.failed.Load() == nil {
			_ = s.fail(c.err)
		}
	}
	idle := s.readers.close()
	var err error
	if s.failed.Load() == nil {
		_, err = checkpoint(s.writer, checkpointRestart)
		if err != nil {
			err = fmt.Errorf("last checkpoint: %w", translate(err))
		}
	}
	return errors.Join(err, s.release(idle))
}

// release closes what is open. When the connection that is closed last can
// write, SQLite copies the log a last time and removes it. That must not be
// tried on a disk that failed, so then a reader goes last.
func (s *Store) release(idle []*conn) error {
	conns := append([]*conn{s.copier.conn}, idle...)
	if s.failed.Load() == nil {
		conns = append(conns, s.writer)
	} else {
		conns = slices.Insert(conns, 0, s.writer)
	}
	var errs []error
	for _, c := range conns {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	if s.gatherer != nil {
		s.gatherer.close()
	}
	// After the connections: closing any other handle of a file drops the process's
	// POSIX locks on it.
	errs = append(errs, s.copier.release(), s.sync.close())
	return errors.Join(errs...)
}
