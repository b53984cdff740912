package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ticket is what one caller has written in one go: some ops, and what to do
// when their fate is known.
type Ticket struct {
	Ops []Op
	// Errs is set before Done is called: one entry an op, nil for success. With
	// ErrUnknown the op may be stored; with any other error it is not.
	Errs []error
	// Done is called once, after the transaction is committed and synced (or
	// failed): one call at a time for all tickets, in the order of their
	// submission. It must not block.
	Done func(*Ticket)
	// Bytes is what the ticket is charged for while it waits.
	Bytes int64
}

// fail gives every op of the ticket the same error and calls Done.
func (t *Ticket) fail(err error) {
	t.Errs = make([]error, len(t.Ops))
	for i := range t.Errs {
		t.Errs[i] = err
	}
	t.Done(t)
}

// WriterLimits bounds what the Writer takes on.
type WriterLimits struct {
	// CommitBytes ends a batch: a commit takes tickets until this many bytes are
	// reached. Default 4 MiB.
	CommitBytes int64
	// PendingBytes is the most that may be unanswered; beyond it Submit answers
	// ErrOverloaded. Default 128 MiB.
	PendingBytes int64
	// Upkeep is how often Maintainer.Maintain and Syncer.Sync are called while nothing
	// is written. Default 100 ms.
	Upkeep time.Duration
}

func (l WriterLimits) withDefaults() WriterLimits {
	if l.CommitBytes == 0 {
		l.CommitBytes = 4 << 20
	}
	if l.PendingBytes == 0 {
		l.PendingBytes = 128 << 20
	}
	if l.Upkeep == 0 {
		l.Upkeep = 100 * time.Millisecond
	}
	return l
}

// Writer is the only one that changes a Store. It takes whatever arrived during
// the last commit, runs one transaction, waits for its sync, and answers all: an
// idle writer commits a single op at once, a busy one commits hundreds together.
// Where syncs are slow it waits a little for those whom it has just answered: see
// gather. How the work is shared is said at [Writer.Run] (pipeline.go).
//
// Its methods may be called by any number of goroutines.
type Writer struct {
	store      Store
	syncer     Syncer     // the store, or nil
	maintainer Maintainer // the store, or nil
	limits     WriterLimits
	wake       chan struct{} // capacity 1: one token says "look whether to commit"
	settle     chan struct{} // capacity 1: one token says "look whether to sync"
	tell       chan struct{} // capacity 1: one token says "look whom to answer"

	mu      sync.Mutex // held for a few assignments only
	pending []*Ticket  // guarded by mu
	bytes   int64      // guarded by mu: Bytes of the tickets not answered
	waiting int64      // guarded by mu: Bytes of pending
	closed  error      // guarded by mu: why nothing more is taken
	pipeline
	totals
}

// totals are written by the goroutines that commit and sync, and read by anybody.
type totals struct {
	commits, commitTime, syncs, syncTime, gathers, gatherTime atomic.Int64 // times in nanoseconds
}

// WriterTotals are what the Writer has done since it was made.
type WriterTotals struct {
	Commits    int64
	CommitTime time.Duration // spent in Store.Commit
	Syncs      int64
	SyncTime   time.Duration // spent in Syncer.Sync
	Gathers    int64         // waits for company before a commit
	GatherTime time.Duration // spent in them
}

// Totals says what the Writer has done so far.
func (w *Writer) Totals() WriterTotals {
	return WriterTotals{
		Commits: w.commits.Load(), CommitTime: time.Duration(w.commitTime.Load()),
		Syncs: w.syncs.Load(), SyncTime: time.Duration(w.syncTime.Load()),
		Gathers: w.gathers.Load(), GatherTime: time.Duration(w.gatherTime.Load()),
	}
}

// Stopped says why the Writer takes nothing more, or returns nil.
func (w *Writer) Stopped() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// NewWriter creates a Writer for a store. Nothing is written until Run is called.
func NewWriter(store Store, limits WriterLimits) *Writer {
	w := &Writer{
		store: store, limits: limits.withDefaults(),
		wake: make(chan struct{}, 1), settle: make(chan struct{}, 1), tell: make(chan struct{}, 1),
	}
	w.syncer, _ = store.(Syncer)
	w.maintainer, _ = store.(Maintainer)
	return w
}

// Submit hands a ticket over and returns at once. After an error (ErrOverloaded,
// ErrUnavailable) nothing was taken and Done is not called.
func (w *Writer) Submit(t *Ticket) error {
	w.mu.Lock()
	if w.closed != nil {
		defer w.mu.Unlock()
		return w.closed
	}
	if w.bytes > 0 && w.bytes+t.Bytes > w.limits.PendingBytes {
		w.mu.Unlock()
		return ErrOverloaded
	}
	w.pending = append(w.pending, t)
	w.gather.add()
	w.bytes += t.Bytes
	w.waiting += t.Bytes
	now := !w.committing && w.due() // who commits looks again afterwards
	w.mu.Unlock()
	if now {
		signal(w.wake)
	}
	return nil
}

// signal puts the token into a channel of capacity 1, if it is not there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Do submits ops as one ticket and waits for the commit. The first error of an
// op is returned. When ctx ends before that the error is ErrUnknown, as the ops may
// still be committed; when it has ended already, nothing is submitted.
func (w *Writer) Do(ctx context.Context, ops ...Op) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan struct{})
	t := &Ticket{Ops: ops, Done: func(*Ticket) { close(done) }}
	if err := w.Submit(t); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return unknown(context.Cause(ctx))
	}
	for _, err := range t.Errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Backlog is how many bytes were submitted and not yet answered.
func (w *Writer) Backlog() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// close refuses new tickets. After an error it fails those that wait: they were not
// given to the store.
func (w *Writer) close(err error) {
	w.mu.Lock()
	if w.closed == nil || err != nil {
		w.closed = fmt.Errorf("%w: shutting down", ErrUnavailable)
		if err != nil {
			w.closed = err
		}
	}
	var left []*Ticket
	if err != nil {
		left, w.pending, w.waiting = w.pending, nil, 0
	}
	for _, t := range left {
		w.bytes -= t.Bytes
	}
	w.mu.Unlock()
	for _, t := range left {
		t.fail(err)
	}
}

// unknown is the error of ops whose commit or sync has failed with err.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrUnknown, err) }

// unavailable is the error of ops that the Store was never given, since it has
// failed with err before. A Store returns no ErrUnknown, so this is never both.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
