package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Ticket is what one caller has written in one go: some ops, and what to do
// when their fate is known.
type Ticket struct {
	Ops []Op
	// Errs is set before Done is called: one entry an op, nil for success.
	Errs []error
	// Done is called once, after the transaction is committed and synced (or
	// failed). One goroutine calls it for all tickets, in the order of their
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
	// Upkeep is how often Store.Maintain and Store.Sync are called while nothing
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
// the last commit, runs one transaction, has it synced, and answers everyone: an
// idle writer commits a single op at once, a busy one commits hundreds together.
// There is no timer in between. Two goroutines share the work, so that the next
// transaction is written while the last one is synced.
//
// Its methods may be called by any number of goroutines.
type Writer struct {
	store  Store
	limits WriterLimits
	wake   chan struct{} // capacity 1: one token says "look at pending"
	settle chan struct{} // capacity 1: one token says "look at committed"

	mu        sync.Mutex // held for a few assignments only
	pending   []*Ticket  // guarded by mu
	committed []group    // guarded by mu: not yet synced and answered
	bytes     int64      // guarded by mu: Bytes of the tickets not answered
	closed    error      // guarded by mu: why nothing more is taken
}

// group is the tickets of one commit.
type group struct {
	tickets []*Ticket
	errs    []error // of all their ops
	err     error   // of the commit: nothing was stored
}

// NewWriter makes a Writer for a store. Nothing is written until Run is called.
func NewWriter(store Store, limits WriterLimits) *Writer {
	return &Writer{
		store: store, limits: limits.withDefaults(),
		wake: make(chan struct{}, 1), settle: make(chan struct{}, 1),
	}
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
	w.bytes += t.Bytes
	w.mu.Unlock()
	signal(w.wake)
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
// op is returned. When ctx ends first, the ops may still be committed.
func (w *Writer) Do(ctx context.Context, ops ...Op) error {
	done := make(chan struct{})
	t := &Ticket{Ops: ops, Done: func(*Ticket) { close(done) }}
	if err := w.Submit(t); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
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

// Run commits what is submitted until ctx ends; then it takes nothing more,
// commits what it has and returns nil. It returns an error when a commit or a
// sync failed and the state of the store is unknown: the process has to stop and
// load again from disk. When it returns every ticket was answered.
func (w *Writer) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	synced := make(chan error, 1)
	go func() { synced <- w.answer(done, stop) }()
	err := w.write(ctx)
	close(done)
	// Should both have failed, the first to do so made the other one fail.
	err = errors.Join(err, <-synced)
	w.close(err)
	return err
}

// write commits until ctx ends or a commit fails.
func (w *Writer) write(ctx context.Context) error {
	upkeep := time.NewTicker(w.limits.Upkeep)
	defer upkeep.Stop()
	for {
		var batch []*Ticket
		if !w.ahead() {
			batch = w.take()
		}
		if len(batch) == 0 {
			select {
			case <-w.wake:
				continue
			case <-upkeep.C:
				signal(w.settle)
			case <-ctx.Done():
				return w.drain()
			}
		} else if err := w.commit(batch); err != nil {
			return err
		} else if ctx.Err() != nil {
			return w.drain() // also when there is always more to do
		}
		if err := w.store.Maintain(); err != nil {
			return unavailable(err)
		}
	}
}

// drain takes nothing more and commits what is left.
func (w *Writer) drain() error {
	w.close(nil)
	for batch := w.take(); len(batch) > 0; batch = w.take() {
		if err := w.commit(batch); err != nil {
			return err
		}
	}
	return nil
}

// ahead reports whether a commit waits for the sync before its own to end. Until
// then more can arrive for the next one: fewer, larger commits cost less, and
// writing further ahead would make nobody's answer come sooner.
func (w *Writer) ahead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.committed) > 0
}

// take removes the next batch from the queue.
func (w *Writer) take() []*Ticket {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, int64(0)
	for n < len(w.pending) && (n == 0 || size < w.limits.CommitBytes) {
		size += w.pending[n].Bytes
		n++
	}
	batch := w.pending[:n:n]
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil // a spent array would keep its tickets alive
	}
	return batch
}

// commit writes one batch. In a crash before Store.Commit returned nothing of it
// is stored, or all; nobody was told anything in either case.
func (w *Writer) commit(batch []*Ticket) error {
	ops := batch[0].Ops
	if len(batch) > 1 {
		ops = make([]Op, 0, 2*len(batch))
		for _, t := range batch {
			ops = append(ops, t.Ops...)
		}
	}
	g := group{tickets: batch}
	g.errs, g.err = w.store.Commit(ops)
	fatal := g.err != nil && !errors.Is(g.err, ErrFull)
	if fatal {
		g.err = unavailable(g.err)
	}
	w.mu.Lock()
	w.committed = append(w.committed, g)
	w.mu.Unlock()
	signal(w.settle)
	if fatal {
		return g.err
	}
	return nil
}

// answer syncs what was committed and answers it, until done is closed and
// nothing is left. From the sync on it is on disk, whoever gets to hear of it.
// After a failed sync it stops the writer and answers everything with the error.
func (w *Writer) answer(done <-chan struct{}, stop func()) (err error) {
	for last := false; !last; {
		select {
		case <-w.settle:
		case <-done:
			last = true
		}
		w.mu.Lock()
		groups := w.committed
		w.committed = nil
		w.mu.Unlock()
		signal(w.wake)
		if err == nil {
			if err = w.store.Sync(); err != nil {
				err = unavailable(err)
				w.close(err)
				stop()
			}
		}
		for i := range groups {
			w.answerGroup(&groups[i], err)
			groups[i] = group{}
		}
	}
	return err
}

// answerGroup calls Done for the tickets of one commit.
func (w *Writer) answerGroup(g *group, err error) {
	size := int64(0)
	for _, t := range g.tickets {
		size += t.Bytes
	}
	w.mu.Lock()
	w.bytes -= size
	w.mu.Unlock()
	if g.err != nil {
		err = g.err
	}
	for _, t := range g.tickets {
		if err != nil {
			t.fail(err)
			continue
		}
		t.Errs, g.errs = g.errs[:len(t.Ops):len(t.Ops)], g.errs[len(t.Ops):]
		t.Done(t)
	}
}

// close refuses new tickets. After an error it fails those that wait.
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
		left, w.pending = w.pending, nil
	}
	for _, t := range left {
		w.bytes -= t.Bytes
	}
	w.mu.Unlock()
	for _, t := range left {
		t.fail(err)
	}
}

func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
