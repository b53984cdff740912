package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// saveInterval is how long a changed position may stay unsaved when no caller waits
// for it. A crash repeats at most the deliveries of that time.
const saveInterval = 20 * time.Millisecond

// saver stores the positions of a shard's groups. One save is under way at a time; changes
// during it go into the next one, so acks share commits the way
// publishes do.
type saver struct {
	s      *shard
	wake   chan struct{} // capacity 1: some group is dirty
	urgent chan struct{} // capacity 1: a caller waits for the save

	// turn is held from where positions are looked at until the writer, which keeps the
	// order, has them, so that none is overtaken by a later one. It is taken after
	// Topic.changes.
	turn sync.Mutex

	mu    sync.Mutex
	dirty map[*Group]struct{} // guarded by mu
}

func (s *saver) init(of *shard) {
	s.s = of
	s.wake = make(chan struct{}, 1)
	s.urgent = make(chan struct{}, 1)
	s.dirty = make(map[*Group]struct{})
}

// toSave has the group's position saved soon, or at once when a caller waits for it.
func (g *Group) toSave(urgent bool) { g.t.shard.saver.mark(g, urgent) }

// mark notes that a group's position changed, and whether a caller waits for the save.
func (s *saver) mark(g *Group, urgent bool) {
	s.mu.Lock()
	s.dirty[g] = struct{}{}
	s.mu.Unlock()
	s.signal(urgent)
}

func (s *saver) signal(urgent bool) {
	c := s.wake
	if urgent {
		c = s.urgent
	}
	select {
	case c <- struct{}{}:
	default:
	}
}

// run saves until ctx ends, then once more.
func (s *saver) run(ctx context.Context) {
	delay := saveInterval
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-s.urgent:
		case <-s.wake:
			timer.Reset(delay)
			select {
			case <-timer.C:
			case <-s.urgent:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		start := time.Now()
		s.save(false)
		// With very many groups a save takes longer than the interval; it must
		// not take most of the writer's time.
		delay = max(saveInterval, 4*time.Since(start))
	}
	s.save(true)
}

// saving is one group's part of a save.
type saving struct {
	g    *Group
	op   *storage.SaveProgress // nil when nothing changed
	acks []func(error)
	err  error
}

// save stores the positions of all groups that are dirty now and waits for it. last says
// that nothing will be saved after it.
func (s *saver) save(last bool) {
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = make(map[*Group]struct{}, len(dirty))
	s.mu.Unlock()
	all, errs := s.submit(dirty)()
	for i := range all {
		p := &all[i]
		if p.op != nil {
			p.err, errs = errs[0], errs[1:]
			if s.finish(p) && !last {
				s.retry(p)
				continue
			}
		}
		for _, done := range p.acks {
			done(p.err)
		}
	}
}

// submit hands the positions of groups to the writer. It returns a function that waits for
// the commit, and returns what was taken and an error for each that has an op.
func (s *saver) submit(dirty map[*Group]struct{}) func() ([]saving, []error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	all := make([]saving, 0, len(dirty))
	var ops []storage.Op
	for g := range dirty {
		p, ok := s.prepare(g)
		if !ok {
			continue
		}
		if p.op != nil {
			ops = append(ops, p.op)
		}
		all = append(all, p)
	}
	if len(ops) == 0 {
		return func() ([]saving, []error) { return all, nil }
	}
	done := make(chan struct{})
	t := &storage.Ticket{Ops: ops, Done: func(*storage.Ticket) { close(done) }}
	if err := s.s.Submit(t); err != nil {
		return func() ([]saving, []error) { return all, slices.Repeat([]error{err}, len(ops)) }
	}
	return func() ([]saving, []error) {
		<-done
		return all, t.Errs
	}
}

// prepare takes a group's unsaved state. A group that is part of another commit is left
// for later.
func (s *saver) prepare(g *Group) (saving, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.moving || g.storingLetters {
		s.mark(g, false)
		return saving{}, false
	}
	p := saving{g: g, acks: g.acks}
	g.acks = nil
	if g.gone {
		p.err = groupNotFound(g.name)
	} else {
		p.op = g.saveOp(g.progress())
	}
	return p, true
}

// finish notes the outcome at the group, and reports whether it is open: what could
// not be stored this time is tried again, and acks wait for that. A conflict
// means that the group was relocated or removed in between, and its old position is void.
func (s *saver) finish(p *saving) (again bool) {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	switch {
	case p.err == nil:
		p.g.saved(p.op)
	case errors.Is(p.err, storage.ErrFull), errors.Is(p.err, storage.ErrNotStored), errors.Is(p.err, storage.ErrOverloaded):
		again = true
	}
	return again
}

// retry leaves a group and its acks to the next save. To answer them that nothing was
// stored would be a lie: what they settle is part of whatever is saved next.
func (s *saver) retry(p *saving) {
	p.g.mu.Lock()
	p.g.acks = append(p.acks, p.g.acks...)
	p.g.mu.Unlock()
	s.mark(p.g, false)
}
