package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What is not read may be damaged for years. So everything is read now and then: as
// much at a time as takes a millisecond or so, each in a read transaction of its own
// that holds up no checkpoint, and slowly.
const (
	scrubAfter = 10 * time.Minute // from the start to the first round
	scrubRate  = 4 << 20          // bytes a second
)

// damageKind is the kind of the conditions about damage; their subjects are topics.
const damageKind = "damage"

// scrubber is the state of the check in the background.
type scrubber struct {
	rate int64 // bytes a second; tests have more

	mu    sync.Mutex
	state storage.Scrub // guarded by mu
}

// Scrubbed is how far the check in the background is.
func (s *Store) Scrubbed() storage.Scrub {
	s.scrub.mu.Lock()
	defer s.scrub.mu.Unlock()
	return s.scrub.state
}

// change changes the state.
func (c *scrubber) change(f func(*storage.Scrub)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.state)
}

// Scrub reads everything that is stored, a while after the start and then again, with
// so much time in between, until ctx ends. Zero means never. It returns before the store
// may be closed.
func (s *Store) Scrub(ctx context.Context, every time.Duration) error {
	s.scrub.change(func(state *storage.Scrub) { state.Every = every })
	if every == 0 {
		return nil
	}
	timer := time.NewTimer(min(scrubAfter, every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := s.scrubOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.options.Log.Error("the check of what is stored has failed", "path", s.options.Path, "err", err)
		}
		timer.Reset(every)
	}
}

// scrubOnce is one round.
func (s *Store) scrubOnce(ctx context.Context) error {
	c := &s.scrub
	c.change(func(state *storage.Scrub) {
		*state = storage.Scrub{Every: state.Every, Read: state.Read, Finished: state.Finished, Running: true}
	})
	defer c.change(func(state *storage.Scrub) { state.Running = false })
	topics, err := s.scrubRows(ctx)
	if err != nil {
		return err
	}
	all, done := int64(0), int64(0)
	for i := range topics {
		all += topics[i].Next - topics[i].First
	}
	for i := range topics {
		t := &topics[i]
		err := s.scrubTopic(ctx, t, func(n int64) {
			done += n
			c.change(func(state *storage.Scrub) { state.Progress = float64(done) / float64(max(all, done, 1)) })
		})
		if errors.Is(err, storage.ErrDamaged) {
			c.change(func(state *storage.Scrub) { state.Findings++ })
			s.raiseDamage(t.Name, condition.Critical, fmt.Sprintf("Topic(%s) can't be read to its end: %v; stop the broker and see zbus recover", t.Name, err))
		} else if err != nil && !errors.Is(err, storage.ErrNotFound) { // it may have been removed
			return err
		}
	}
	c.change(func(state *storage.Scrub) { state.Progress, state.Finished = 1, time.Now() })
	state := s.Scrubbed()
	s.options.Log.Info("everything that is stored was read", "messages", state.Messages, "bytes", state.Bytes, "damaged", state.Damaged, "findings", state.Findings)
	return nil
}

// smallTables are checked as a whole: they are small, and what they say decides about
// all messages.
var smallTables = []string{"topics", "groups", "parked", "dropped", "fresh"}

// scrubRows checks everything but the messages, and lists the topics.
func (s *Store) scrubRows(ctx context.Context) (topics []storedTopic, err error) {
	var l *loaded
	err = s.read(ctx, func(c *conn) error {
		for _, table := range smallTables {
			for row, err := range c.ask("PRAGMA quick_check('" + table + "')") {
				if err != nil {
					return err
				}
				if found := text(row[0]); found != "ok" {
					return fmt.Errorf("table %s: %s: %w", table, found, storage.ErrDamaged)
				}
			}
		}
		if err := c.run("BEGIN"); err != nil { // so that the tables belong together
			return err
		}
		defer func() { _ = c.run("ROLLBACK") }()
		l, err = loadAll(c)
		return err
	})
	if errors.Is(err, storage.ErrDamaged) {
		s.scrub.change(func(state *storage.Scrub) { state.Findings++ })
		s.options.Conditions.Raise(condition.Condition{
			Kind: damageKind, Severity: condition.Critical,
			Text: fmt.Sprintf("the database is damaged: %v; take a backup, and stop the broker and see zbus verify", err),
		})
	}
	if err != nil {
		return nil, err
	}
	s.options.Conditions.Clear(damageKind, "")
	s.scrub.change(func(state *storage.Scrub) { state.Findings += int64(len(l.findings)) })
	for i := range l.topics {
		if t := &l.topics[i]; t.Damage != "" && !s.knownDamage(t.ID) {
			s.raiseDamage(t.Name, condition.Critical, fmt.Sprintf("Topic(%s) is damaged on disk: %s; it is served as it was when the broker started, so take a backup of its messages before it stops", t.Name, t.Damage))
		}
	}
	return l.topics, nil
}

// knownDamage reports whether a topic was damaged when the store was opened, so that it
// is not served.
func (s *Store) knownDamage(id storage.TopicID) bool {
	shown, err := s.recent.of(id)
	return err == nil && shown.damaged
}

// raiseDamage raises the condition of a topic. It stays with a topic that is not served.
func (s *Store) raiseDamage(topic string, severity condition.Severity, text string) {
	s.options.Conditions.Raise(condition.Condition{Kind: damageKind, Subject: topic, Severity: severity, Text: text})
}

// scrubTopic reads the messages of a topic. step is told how many at a time.
func (s *Store) scrubTopic(ctx context.Context, t *storedTopic, step func(n int64)) error {
	var page []storage.Record
	var lost, first, last int64
	for at := t.First; ; {
		began := time.Now()
		var err error
		page, err = s.Read(ctx, t.ID, at, storage.Page{Rows: checkRows, Bytes: checkBytes}, page[:0])
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		size, damaged := int64(0), int64(0)
		for i := range page {
			r := &page[i]
			size += r.Size()
			if !r.Damaged() {
				continue
			}
			if damaged += r.End() - r.Offset; lost == 0 && damaged == r.End()-r.Offset {
				first = r.Offset
			}
			last = r.End() - 1
		}
		lost += damaged
		end := page[len(page)-1].End()
		s.scrub.change(func(state *storage.Scrub) {
			state.Messages += end - page[0].Offset - damaged
			state.Bytes += size
			state.Read += size
			state.Damaged += damaged
		})
		step(end - at)
		at = end
		if err := s.rest(ctx, size, time.Since(began)); err != nil {
			return err
		}
	}
	switch {
	case s.knownDamage(t.ID): // the broker says so
	case lost > 0:
		s.raiseDamage(t.Name, condition.Warning, fmt.Sprintf("%d messages of Topic(%s) are damaged or missing, between offsets %d and %d: they are counted and not delivered; see zbus verify", lost, t.Name, first, last))
	case t.Damage == "": // what was damaged is dropped, maybe
		s.options.Conditions.Clear(damageKind, t.Name)
	}
	return nil
}

// rest waits until so many bytes may have been read, which took so long.
func (s *Store) rest(ctx context.Context, size int64, took time.Duration) error {
	rate := s.scrub.rate
	if rate == 0 {
		rate = scrubRate
	}
	due := time.Duration(float64(size) / float64(rate) * float64(time.Second))
	timer := time.NewTimer(max(due-took, took)) // at most half of the time is spent reading
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
