package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

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
	// Floor is how many bytes have to be left for messages to be taken: in the file
	// system, or unused in the database. 0 is a tenth of the file system, at most
	// 256 MiB.
	Floor int64
	// Reserve is the path of a file that holds room for what has to be written when
	// there is no other. "": none.
	Reserve string
	// CacheBytes is the page cache of the writing connection. Each reader has
	// a quarter of it. Default 8 MiB.
	CacheBytes int64
	// Conditions are told what is wrong with the store. May be nil.
	Conditions *condition.Board
	// AcceptLoss is the ID of a [storage.Loss]: what it says is missing may be.
	AcceptLoss string
	// Used says that there has been a database at Path. Without it one is created.
	Used bool
	// Identity is what [Store.Identity] was of the database that was at Path last. "": not
	// known. Another one, or none, is a [storage.Loss].
	Identity string
	// PlainIO leaves the files of an open store to SQLite and its own file system, without
	// what this package does there to save system calls, so that it can be ruled out as the
	// cause of trouble. It is slower; a read that fails is reported as damage; and damage to
	// a round of the log that a process was killed in while it began is not noticed.
	PlainIO bool
	// Log takes warnings. By default they are dropped.
	Log *slog.Logger

	fresh    freshLimits // tests have others
	imageLog int64       // maxImageLog; tests have another
	witness  [16]byte    // of the directory; tests that cut the power have another
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
	if o.witness == ([16]byte{}) {
		o.witness = witness(filepath.Dir(o.Path))
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
	lock    *os.File // keeps other brokers away; see lockFile

	// Of the goroutine that calls Commit, Maintain and Close.
	closed     bool
	writer     *conn
	follower   logFollower // of what writer writes
	catalog    *catalog
	batch      *batch
	guard      guard
	shrinker   shrinker
	noRoom     bool // the last checkpoint found no space, and the log says so
	generation generation
	mergeAfter time.Time // there was no space to merge: not again before
	ends       ends

	mark   *mark                 // nil when there was no room for one
	failed atomic.Pointer[error] // why nothing more may be written; set once
	torn   atomic.Bool           // what readers are told to read may not be there: see vfs.CheckpointIO
	sync   syncer

	recent  recent
	scrub   scrubber
	copier  *checkpointer
	readers *readers
	images  images
}

var (
	_ storage.Store      = (*Store)(nil)
	_ storage.Syncer     = (*Store)(nil)
	_ storage.Maintainer = (*Store)(nil)
)

// Open opens the database at options.Path, and creates it if there is no file.
// An older schema is brought up to date. ctx bounds the migration.
//
// A file that is damaged is refused with [storage.ErrDamaged]; one that is not ours, was
// written by a newer version, or has triggers, views or anything else that is not ours,
// with [storage.ErrForeign]; one that another process has open with [storage.ErrInUse].
// Refused files are not changed. After an unclean stop the file is checked first, a large
// one but for its messages. When something that was answered is missing, the error is a
// [storage.Loss].
func Open(ctx context.Context, options Options) (*Store, error) {
	options = options.withDefaults()
	lock, err := lockExisting(options.Path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", options.Path, err)
	}
	s := &Store{
		options: options, lock: lock,
		copier:  &checkpointer{start: make(chan task, 1), done: make(chan copied, 1)},
		readers: newReaders(readerSetup(options)),
	}
	s.images.none.L = &s.images.mu
	err = s.openGuard()
	var found *markState
	if err == nil {
		found, err = prepare(ctx, options)
	}
	if err == nil {
		err = s.lockCreated()
	}
	if err == nil {
		err = s.open(found)
	}
	if err != nil {
		s.failed.Store(&err) // the log stays as it is
		_ = errors.Join(s.release(s.readers.close(), false), s.mark.close())
		return nil, fmt.Errorf("open %s: %w", options.Path, err)
	}
	s.mark.start(func(err error) { _ = s.fail(err) })
	go s.copier.run()
	return s, nil
}

// open opens all connections but most readers, and loads the catalog. What it opened before an
// error is in s.
func (s *Store) open(found *markState) (err error) {
	o := s.options
	log, err := wal.ReadRound(o.Path + "-wal")
	if err != nil {
		return err
	}
	// Before any that can write: should this fail, one that can't has to be closed last. See
	// release.
	if err := s.readers.openFirst(); err != nil {
		return err
	}
	w := writerSetup(o)
	if o.PlainIO {
		s.follower = &observer{sync: &s.sync, guard: &s.guard, begin: s.begin, found: log}
	} else {
		g, err := vfs.NewWALWriter(&s.torn, log, s.begin)
		if err != nil {
			return err
		}
		s.follower, w.vfs = g, g.Name()
	}
	if s.writer, err = open(w); err != nil {
		return err
	}
	if err := s.copier.open(o, &s.torn); err != nil {
		return err
	}
	unsummed, err := s.load()
	if err != nil {
		return translate(err)
	}
	s.batch = newBatch(s.catalog, s.options.fresh)
	if err := s.openIndex(); err != nil {
		return err
	}
	s.recent.topics = make(map[storage.TopicID]shown, len(s.catalog.Topics))
	for _, t := range s.catalog.Topics {
		s.recent.show(s.catalog, t)
	}
	if err := s.openMark(found, log); err != nil {
		return err
	}
	// A log that a killed process left may not be on disk yet. It has to be
	// before anybody is shown what it holds.
	if err := s.tolerateFull(s.checkpointHere(checkpointRestart, time.Now())); err != nil {
		return err
	}
	if err := s.sync.open(o); err != nil {
		return err
	}
	if err := s.watch(time.Now()); err != nil {
		return err
	}
	if err := s.addSums(unsummed); err != nil {
		return translate(err)
	}
	return s.bump(time.Now(), true)
}

// load loads the catalog and says what is wrong with it. It writes nothing: the mark does
// not know the log yet.
func (s *Store) load() ([]unsummed, error) {
	catalog, l, err := loadCatalog(s.writer)
	if err != nil {
		return nil, err
	}
	s.catalog = catalog
	for _, f := range l.findings {
		s.options.Log.Error("damage found", "path", s.options.Path, "found", f.String())
	}
	return l.unsummed, nil
}

// addSums gives rows of an older version their checksums. Without them, for want of room
// or after a crash, the next start adds them.
func (s *Store) addSums(rows []unsummed) error {
	if len(rows) == 0 {
		return nil
	}
	err := s.explicit(func() error {
		for _, u := range rows {
			if _, err := s.writer.exec(u.statement, number(nil, u.args)); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		s.committed()
	case isFull(err):
		return nil
	}
	return err
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
		if c.err != nil && !c.punch && s.failed.Load() == nil {
			_ = s.fail(c.err)
		}
	}
	idle := s.readers.close()
	s.mark.halt()
	var spent bool
	var err error
	if s.failed.Load() == nil {
		spent, err = s.finish()
	}
	return errors.Join(err, s.release(idle, spent), s.mark.close())
}

// finish copies all of the log, and has the mark say so before the log is removed. Where
// it is not spent, the next start continues with it.
func (s *Store) finish() (spent bool, err error) {
	if err := s.storeAllEnds(); err != nil {
		return false, s.fail(err)
	}
	if err := s.bump(time.Now(), true); err != nil {
		return false, err
	}
	w, err := checkpoint(s.writer, checkpointRestart)
	if err != nil {
		return false, fmt.Errorf("last checkpoint: %w", translate(err))
	}
	if w.left() > 0 || w.busy {
		return false, nil
	}
	err = s.closeMark()
	return err == nil, err
}

// release closes what is open. When the connection that is closed last can
// write, SQLite copies the log a last time and removes it. That must not be
// tried on a disk that failed, nor before the mark says that the log is spent, so then a
// reader goes last, and keeps the log (setup.keepLog): SQLite would remove one that is
// copied, and nothing says that the copy was synced.
func (s *Store) release(idle []*conn, spent bool) error {
	conns := append([]*conn{s.copier.conn}, idle...)
	if spent {
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
	if s.follower != nil {
		s.follower.Close()
	}
	// After the connections: closing any other handle of a file drops the process's
	// POSIX locks on it.
	errs = append(errs, s.copier.release(), s.sync.close(), s.guard.close(), unlock(s.lock))
	return errors.Join(errs...)
}
