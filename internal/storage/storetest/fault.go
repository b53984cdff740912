package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/storage"
)

// ErrMisuse is what a [Faulty] store answers to a call that the contract rules
// out: anything but Close after a commit failed.
var ErrMisuse = errors.New("store used after its state became unknown")

// Fault says how one commit goes wrong. The zero Fault lets it work.
type Fault struct {
	// Before is returned instead of committing: nothing is stored.
	Before error
	// After is returned after committing: all is stored, but the answer is lost.
	After error
	// Entered, unless nil, is closed when the commit begins.
	Entered chan struct{}
	// If, unless nil, says which commit it is that FailNext means: the next one of which
	// it reports true.
	If func(ops []storage.Op) bool
	// Release, unless nil, blocks the commit until it is closed.
	Release chan struct{}
}

// Faulty passes every call on to another [storage.Store], except that commits go
// wrong as they are told. Its own methods may be called by any number of
// goroutines.
type Faulty struct {
	storage.Store

	mu      sync.Mutex     // not held while a commit runs or waits
	faults  map[int]Fault  // guarded by mu; by number of commit, the first is 1
	next    *Fault         // guarded by mu: how the next commit goes, unless nil
	commits [][]storage.Op // guarded by mu: what every commit was asked, in order
	upkeeps int            // guarded by mu: calls of Maintain
	upkeep  error          // guarded by mu: what Maintain returns
	sync    error          // guarded by mu: what Sync returns
	hold    chan struct{}  // guarded by mu: Sync waits until it is closed; nil: it does not
	broken  error          // guarded by mu: what every commit from now on returns
	unknown bool           // guarded by mu: a call failed other than by ErrFull or ErrNotStored
	misused bool           // guarded by mu: the store was used although unknown

	reads atomic.Int64 // calls of Read and OffsetAt
}

// Reads is how often messages were read or searched for by time.
func (f *Faulty) Reads() int64 { return f.reads.Load() }

// Read counts the call.
func (f *Faulty) Read(ctx context.Context, topic storage.TopicID, from int64, page storage.Page, dst []storage.Record) ([]storage.Record, error) {
	f.reads.Add(1)
	return f.Store.Read(ctx, topic, from, page, dst)
}

// OffsetAt counts the call.
func (f *Faulty) OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (int64, error) {
	f.reads.Add(1)
	return f.Store.OffsetAt(ctx, topic, time)
}

// NewFaulty wraps a store. faults has what happens to which commit, counted from
// 1; it must not be changed afterwards.
func NewFaulty(store storage.Store, faults map[int]Fault) *Faulty {
	return &Faulty{Store: store, faults: faults}
}

// Break makes every commit and Maintain from now on fail with err without
// storing anything: to those above, the process has lost its disk. A commit
// that is under way is not affected; when Break returns, it may still be.
func (f *Faulty) Break(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken, f.upkeep = err, err
}

// FailCommits makes every commit from now on fail with err, without storing anything.
func (f *Faulty) FailCommits(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
}

// FailNext says how the next commit goes wrong.
func (f *Faulty) FailNext(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = &fault
}

// FailUpkeep makes Maintain fail from now on.
func (f *Faulty) FailUpkeep(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upkeep = err
}

// FailSync makes Sync fail from now on, also one that waits.
func (f *Faulty) FailSync(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync = err
}

// HoldSync keeps every Sync from now on from returning until the channel that it
// returns is closed.
func (f *Faulty) HoldSync() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = make(chan struct{})
	return f.hold
}

// Sync implements [storage.Syncer].
func (f *Faulty) Sync() error {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	f.mu.Lock()
	err := f.sync
	f.mu.Unlock()
	if y, ok := f.Store.(storage.Syncer); ok && err == nil {
		err = y.Sync()
	}
	return f.failed(err)
}

// SyncDue implements [storage.Syncer]. It is true once Sync was told to wait or to
// fail.
func (f *Faulty) SyncDue() bool {
	f.mu.Lock()
	told := f.hold != nil || f.sync != nil
	f.mu.Unlock()
	y, ok := f.Store.(storage.Syncer)
	return told || ok && y.SyncDue()
}

// Commits lists the ops of every commit begun so far.
func (f *Faulty) Commits() [][]storage.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([][]storage.Op(nil), f.commits...)
}

// Upkeeps is how often Maintain was called.
func (f *Faulty) Upkeeps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.upkeeps
}

// Misused reports whether the store was used after its state became unknown.
func (f *Faulty) Misused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.misused
}

// Commit implements [storage.Store].
func (f *Faulty) Commit(ops []storage.Op) ([]error, error) {
	fault, err := f.begin(ops)
	if err != nil {
		return nil, err
	}
	if fault.Entered != nil {
		close(fault.Entered)
	}
	if fault.Release != nil {
		<-fault.Release
	}
	if fault.Before != nil {
		return nil, f.failed(fault.Before)
	}
	errs, err := f.Store.Commit(ops)
	if err == nil && fault.After != nil {
		errs, err = nil, fault.After
	}
	return errs, f.failed(err)
}

func (f *Faulty) begin(ops []storage.Op) (Fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unknown {
		f.misused = true
		return Fault{}, ErrMisuse
	}
	f.commits = append(f.commits, append([]storage.Op(nil), ops...))
	fault := f.faults[len(f.commits)]
	if f.next != nil && (f.next.If == nil || f.next.If(ops)) {
		fault, f.next = *f.next, nil
	}
	if f.broken != nil {
		fault.Before = f.broken
	}
	return fault, nil
}

// failed notes what an error means for the calls that follow, and returns it.
func (f *Faulty) failed(err error) error {
	if err != nil && !errors.Is(err, storage.ErrFull) && !errors.Is(err, storage.ErrNotStored) {
		f.mu.Lock()
		f.unknown = true
		f.mu.Unlock()
	}
	return err
}

// Maintain implements [storage.Maintainer].
func (f *Faulty) Maintain() error {
	f.mu.Lock()
	f.upkeeps++
	err := f.upkeep
	if f.unknown {
		f.misused, err = true, ErrMisuse
	}
	f.mu.Unlock()
	if m, ok := f.Store.(storage.Maintainer); ok && err == nil {
		err = m.Maintain()
	}
	return f.failed(err)
}
