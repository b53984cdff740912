package storage

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// pipeline is what the writer's goroutines hand to each other.
type pipeline struct {
	committed  []commitGroup // guarded by Writer.mu: to be synced
	synced     []commitGroup // guarded by Writer.mu: to be answered
	open       int           // guarded by Writer.mu: groups committed and not answered
	committing bool          // guarded by Writer.mu
	syncing    bool          // guarded by Writer.mu
	ready      bool          // guarded by Writer.mu: a commit has ended since the last sync did
	idle       bool          // guarded by Writer.mu: sync also if nothing was committed
	syncErr    error         // guarded by Writer.mu: why there are no more syncs
	gather     gather        // guarded by Writer.mu
}

// commitGroup is the tickets of one commit.
type commitGroup struct {
	tickets []*Ticket
	errs    []error // of all their ops
	err     error   // of all their ops: of the commit, or of the sync after it
}

// aheadBytes is how much has to wait for a commit to be made while a sync runs.
// Less than that waits for the end of the sync and is committed then, together
// with what came until then: two small commits would cost more than one, and one
// made early would leave what comes after it to the sync after the next.
const aheadBytes = 24 << 10

// Run commits what is submitted until ctx ends; then it takes nothing more,
// commits what it has and returns nil. It returns an error when a commit or a
// sync failed and the state of the store is unknown: the process has to stop and
// load again from disk. When it returns every ticket was answered.
//
// Three goroutines share the work, so that the processor and the disk work at the
// same time: this one commits, one syncs, one answers. What need not be synced to
// be answered ([Syncer.SyncDue]) is answered by the one that committed it.
func (w *Writer) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	written, synced := make(chan struct{}), make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		defer close(synced)
		w.sync(written, stop)
	})
	others.Go(func() { w.answer(synced) })
	err := w.write(ctx)
	close(written)
	others.Wait()
	// Should both have failed, the first to do so made the other one fail.
	err = errors.Join(err, w.syncErr)
	w.close(err)
	return err
}

// write commits until ctx ends or a commit fails.
func (w *Writer) write(ctx context.Context) error {
	upkeep := time.NewTicker(w.limits.Upkeep)
	defer upkeep.Stop()
	for {
		batch := w.take(false)
		if len(batch) == 0 {
			select {
			case <-w.wake:
				// Other goroutines that are about to submit may do so first.
				runtime.Gosched()
				continue
			case <-upkeep.C:
				w.mu.Lock()
				w.idle = true
				w.mu.Unlock()
				signal(w.settle)
			case <-ctx.Done():
				return w.drain()
			}
		} else if err := w.commit(batch); err != nil {
			return err
		} else if ctx.Err() != nil {
			return w.drain() // also when there is always more to do
		}
		if w.maintainer == nil {
			continue
		}
		if err := w.maintainer.Maintain(); err != nil {
			return unavailable(err)
		}
	}
}

// drain takes nothing more and commits what is left.
func (w *Writer) drain() error {
	w.close(nil)
	for batch := w.take(true); len(batch) > 0; batch = w.take(true) {
		if err := w.commit(batch); err != nil {
			return err
		}
	}
	return nil
}

// due reports whether it is time to commit what waits. It turns true by what Submit
// adds, by the begin and by the end of a sync, and each of these wakes the goroutine
// that commits. Called with w.mu held.
func (w *Writer) due() bool {
	if w.syncing {
		return w.waiting >= aheadBytes
	}
	return !w.ready && (w.waiting >= w.limits.CommitBytes || !w.gather.waits(len(w.pending) > 0))
}

// take removes the next batch from the queue, if it is time to commit it: during
// a sync when there is much, and between two syncs once, or at any time if all is
// set.
func (w *Writer) take(all bool) []*Ticket {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !all && !w.due() {
		return nil
	}
	n, size := 0, int64(0)
	for n < len(w.pending) && (n == 0 || size < w.limits.CommitBytes) {
		size += w.pending[n].Bytes
		n++
	}
	if n > 0 && !w.syncing {
		w.gathered()
	}
	w.waiting -= size
	w.committing = n > 0
	batch := w.pending[:n:n]
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil // a spent array would keep its tickets alive
	}
	return batch
}

// gathered notes that company is no longer waited for. Called with w.mu held.
func (w *Writer) gathered() {
	if waited := w.gather.end(); waited > 0 {
		w.gathers.Add(1)
		w.gatherTime.Add(int64(waited))
	}
}

// commit writes one batch. In a crash before Store.Commit returned nothing of it
// is stored, or all; nothing was answered in either case.
func (w *Writer) commit(batch []*Ticket) error {
	ops := batch[0].Ops
	if len(batch) > 1 {
		ops = make([]Op, 0, 2*len(batch))
		for _, t := range batch {
			ops = append(ops, t.Ops...)
		}
	}
	g := commitGroup{tickets: batch}
	began := time.Now()
	g.errs, g.err = w.store.Commit(ops)
	w.commits.Add(1)
	w.commitTime.Add(int64(time.Since(began)))
	var fatal error
	switch {
	case g.err == nil, errors.Is(g.err, ErrFull), errors.Is(g.err, ErrNotStored):
	case errors.Is(g.err, ErrFenced):
		fatal, g.err = unavailable(g.err), unavailable(g.err)
	default:
		fatal, g.err = unavailable(g.err), unknown(g.err)
	}
	due := w.syncer != nil && w.syncer.SyncDue()
	w.mu.Lock()
	w.committing = false
	now := !due && w.open == 0
	if !now {
		w.committed = append(w.committed, g)
		w.open++
		w.ready = !w.syncing
	}
	w.mu.Unlock()
	if now {
		w.answerGroup(&g)
	} else {
		signal(w.settle)
	}
	return fatal
}

// sync syncs what was committed and lets it be answered, until done is closed and
// nothing is left. From the sync on it is on disk, no matter who learns of it.
// After a failed sync it stops the writer.
func (w *Writer) sync(done <-chan struct{}, stop func()) {
	var err error
	for last := false; !last; {
		select {
		case <-w.settle:
		case <-done:
			last = true
		}
		for groups, ok := w.beginSync(last); ok; groups, ok = w.beginSync(last) {
			took := time.Duration(0)
			if err == nil {
				began := time.Now()
				err = w.syncer.Sync()
				took = time.Since(began)
				w.syncs.Add(1)
				w.syncTime.Add(int64(took))
			}
			w.endSync(groups, took, err, stop)
		}
	}
}

// beginSync takes what was committed, and reports false when there is nothing or
// when it is better to wait for the commit of what has come during the last sync.
func (w *Writer) beginSync(last bool) (groups []commitGroup, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.committed) == 0 && !w.idle, w.syncer == nil:
		return nil, false
	case len(w.committed) > 0 && !last && !w.ready && (w.committing || len(w.pending) > 0 || w.gather.waits(true)):
		return nil, false
	}
	w.gathered()
	w.gather.over = true
	groups, w.committed, w.idle = w.committed, nil, false
	w.syncing, w.ready = true, false
	if w.waiting >= aheadBytes {
		signal(w.wake)
	}
	return groups, true
}

// endSync hands what was synced to the goroutine that answers. After a failed sync
// the fate of what was committed is unknown. Nothing more is taken then, and what
// waits is answered, too: it is not stored.
func (w *Writer) endSync(groups []commitGroup, took time.Duration, err error, stop func()) {
	answered := 0
	for i := range groups {
		answered += len(groups[i].tickets)
	}
	w.mu.Lock()
	w.syncing = false
	w.gather.begin(took, answered, func() {
		signal(w.wake)
		signal(w.settle)
	})
	if err != nil {
		if w.syncErr == nil {
			w.syncErr = unavailable(err)
		}
		for i := range groups {
			groups[i].err = cmp.Or(groups[i].err, unknown(err))
		}
		if len(w.pending) > 0 {
			groups = append(groups, commitGroup{tickets: w.pending, err: w.syncErr})
		}
		w.pending, w.waiting, w.closed = nil, 0, w.syncErr
		stop()
	}
	w.synced = append(w.synced, groups...)
	w.mu.Unlock()
	signal(w.wake)
	signal(w.tell)
}

// answer calls Done for what is synced until done is closed and nothing is left.
func (w *Writer) answer(done <-chan struct{}) {
	for last := false; !last; {
		select {
		case <-w.tell:
		case <-done:
			last = true
		}
		w.mu.Lock()
		groups := w.synced
		w.synced = nil
		w.mu.Unlock()
		for i := range groups {
			w.answerGroup(&groups[i])
			groups[i] = commitGroup{}
		}
		w.mu.Lock()
		w.open -= len(groups)
		w.mu.Unlock()
	}
}

// answerGroup calls Done for the tickets of one commit.
func (w *Writer) answerGroup(g *commitGroup) {
	size := int64(0)
	for _, t := range g.tickets {
		size += t.Bytes
	}
	w.mu.Lock()
	w.bytes -= size
	w.mu.Unlock()
	for _, t := range g.tickets {
		if g.err != nil {
			t.fail(g.err)
			continue
		}
		t.Errs, g.errs = g.errs[:len(t.Ops):len(t.Ops)], g.errs[len(t.Ops):]
		t.Done(t)
	}
}
