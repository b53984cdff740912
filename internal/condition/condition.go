// Package condition holds what is wrong with a broker right now, in one place for all
// who show it: the readiness check, the metrics, the HTTP API and the console.
//
// A condition is a state, not an event. The part that finds it raises it, and clears
// it when it is over.
package condition

import (
	"cmp"
	"log/slog"
	"sort"
	"sync"
	"time"
)

// Severity says how much a condition matters.
type Severity string

const (
	Warning  Severity = "warning"  // everything works; an operator should look at it
	Critical Severity = "critical" // something is refused, or data is at risk
)

// Condition is one thing that is wrong. Kind and Subject together identify it.
type Condition struct {
	Kind     string    // a fixed word, such as "disk" or "clock"
	Subject  string    // what it concerns, such as a topic's name; "" for the broker as a whole
	Severity Severity  //
	NotReady bool      // GET /readyz answers 503 while it holds
	Text     string    // one sentence: what is wrong, and what to do about it
	Since    time.Time // when it was first raised; set by the Board
}

// maxConditions bounds what a Board holds: subjects can come from what is stored.
const maxConditions = 1000

// Board holds the conditions of one broker. Its methods may be called by any number of
// goroutines. A nil Board takes everything and holds nothing.
type Board struct {
	log *slog.Logger

	mu  sync.Mutex
	all map[key]Condition // guarded by mu
}

type key struct{ kind, subject string }

// New returns an empty Board, which tells log what comes and goes.
func New(log *slog.Logger) *Board {
	return &Board{log: log, all: map[key]Condition{}}
}

// Raise adds a condition, or replaces the one with the same kind and subject, whose
// Since it keeps. A new one, and one whose severity or readiness has changed, is logged
// once. Beyond 1,000 conditions new ones are logged and not held.
func (b *Board) Raise(c Condition) {
	if b == nil {
		return
	}
	k := key{c.Kind, c.Subject}
	b.mu.Lock()
	old, known := b.all[k]
	c.Since = old.Since
	if !known {
		c.Since = time.Now()
	}
	if known || len(b.all) < maxConditions {
		b.all[k] = c
	}
	b.mu.Unlock()
	if known && old.Severity == c.Severity && old.NotReady == c.NotReady {
		return
	}
	say := b.log.Warn
	if c.Severity == Critical {
		say = b.log.Error
	}
	say(c.Text, "condition", c.Kind, "subject", c.Subject, "ready", !c.NotReady)
}

// Clear removes a condition. That it is over is logged, if it held.
func (b *Board) Clear(kind, subject string) {
	if b == nil {
		return
	}
	k := key{kind, subject}
	b.mu.Lock()
	old, known := b.all[k]
	delete(b.all, k)
	b.mu.Unlock()
	if known {
		b.log.Info("condition is over", "condition", kind, "subject", subject, "for", time.Since(old.Since).Round(time.Millisecond))
	}
}

// List returns the conditions that hold, the critical ones first, then by kind and
// subject.
func (b *Board) List() []Condition {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	all := make([]Condition, 0, len(b.all))
	for _, c := range b.all {
		all = append(all, c)
	}
	b.mu.Unlock()
	sort.Slice(all, func(i, j int) bool {
		x, y := &all[i], &all[j]
		return cmp.Or(cmp.Compare(x.Severity, y.Severity), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject)) < 0
	})
	return all
}
