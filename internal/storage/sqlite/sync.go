package sqlite

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"
)

// syncer makes commits durable. A commit only writes to the write-ahead log;
// syncing that file afterwards makes it, and every commit before, survive a power
// loss: SQLite recovers the longest sound beginning of the log. So the next
// transaction can be written while the last one is being synced.
type syncer struct {
	log     *os.File      // the write-ahead log, held open; SQLite keeps the file as long
	every   time.Duration // 0: every Sync syncs
	began   time.Time     // when it was opened; carries the monotonic clock
	commits atomic.Int64  // transactions committed

	last atomic.Int64 // when the last sync began, in nanoseconds since began

	synced int64 // transactions known to be on disk; of the goroutine that calls Sync

	mu sync.Mutex
	at wal.Position // guarded by mu: behind the last transaction
}

// note takes note of a transaction, behind which the log ends there.
func (y *syncer) note(p wal.Position) {
	y.mu.Lock()
	y.at = p
	y.mu.Unlock()
	y.commits.Add(1)
}

// position is where the log ended when the last transaction had been committed.
func (y *syncer) position() wal.Position {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.at
}

func (y *syncer) open(o Options) (err error) {
	if o.Durability == Relaxed {
		// Early by a quarter, for the caller that comes by only so often.
		y.every = o.SyncInterval * 3 / 4
	}
	y.began = time.Now()
	y.last.Store(-int64(y.every)) // the first sync is due
	y.log, err = os.OpenFile(o.Path+"-wal", os.O_RDWR, 0)
	return err
}

func (y *syncer) close() error {
	if y.log == nil {
		return nil
	}
	return y.log.Close()
}

// due reports whether it is time for the next sync. It must not depend on the wall
// clock: when that steps back, what is answered would not be on disk.
func (y *syncer) due() bool {
	return y.every == 0 || int64(time.Since(y.began))-y.last.Load() >= int64(y.every)
}

// SyncDue implements [storage.Syncer]. When durability is relaxed, only what comes
// after most of SyncInterval has to wait for a sync.
func (s *Store) SyncDue() bool { return s.sync.due() }

// Sync implements [storage.Syncer]. When durability is relaxed it syncs only if
// the last time is most of SyncInterval ago, so it has to be called four times in
// that time while nothing is committed, too.
func (s *Store) Sync() error {
	if err := s.usable(); err != nil {
		return err
	}
	y := &s.sync
	commits := y.commits.Load()
	if commits == y.synced || !y.due() {
		return nil
	}
	began, at := int64(time.Since(y.began)), y.position()
	if err := syncData(y.log); err != nil {
		return s.fail(fmt.Errorf("sync %s: %w", y.log.Name(), err))
	}
	// Before anybody is answered: a killed process leaves what is written, synced or not.
	if err := s.mark.reached(at); err != nil {
		return s.fail(ioError(err))
	}
	y.synced = commits
	y.last.Store(began)
	return nil
}
