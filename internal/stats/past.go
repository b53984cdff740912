package stats

import (
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Span is how far back a History goes.
type Span struct {
	Step  int64 // milliseconds of an interval
	Count int   // of intervals
	level uint8
}

// Spans are those there are.
func Spans() map[string]Span {
	return map[string]Span{"15m": {fineStep, 900, fineLevel}, "24h": {roughStep, 5760, roughLevel}, "30d": {wholeStep, 4320, wholeLevel}}
}

// History is what became of a topic or group.
type History struct {
	Span

	End   int64  // of the last interval by the wall clock, in Unix milliseconds
	Last  int64  // milliseconds of it that are over
	Parts []Part // oldest first; there are Count of them
	// Starts are those intervals in which the broker was started, as far as something happened
	// to the topic or group after that.
	Starts []int
}

// Part is one interval. One that is not Known ended before anything was kept, or the broker was
// stopped in it, or killed before it was stored, or there was no room for it.
type Part struct {
	Known bool
	Ahead int64 // milliseconds that the wall clock was set back since: so much later was it shown
	Figures
}

// History is what became of a topic, or of a group. What Timed, Took and Longest are of: of a topic
// how long messages waited to be stored, of a service how long calls took, of a group how old
// messages were when they were delivered for the first time.
func (s *Sampler) History(ctx context.Context, of storage.Series, span Span) (*History, error) {
	s.mu.RLock()
	rec := s.record
	if rec.began == 0 {
		rec.tick(s.broker) // of the copy: no sample was taken yet since the start
	}
	var recent [][]byte
	for _, k := range []*chunk{rec.saving[of], rec.open[of]} {
		if k != nil {
			recent = append(recent, slices.Clone(k.data))
		}
	}
	now := moment{at: rec.at, began: rec.began, ran: rec.ran, lost: rec.lost[of]}
	s.mu.RUnlock()
	chunks, err := s.broker.History(ctx, of, fineLevel, span.level)
	if err != nil {
		return nil, err
	}
	b := newBuilder(&rec, span)
	for i := range chunks {
		b.hole = decode(chunks[i].Data, b.add) != nil || b.hole
	}
	b.memory = true
	for _, data := range recent {
		_ = decode(data, b.add)
	}
	return b.end(&now), nil
}

// builder lays moments out on the intervals of a History.
type builder struct {
	h      *History
	rec    *record
	first  int64 // number of the first interval
	last   moment
	some   bool // last is one
	hole   bool // what came after last can't be read, and nothing is known of it
	memory bool // what comes was in memory: it may be stored by now
}

func newBuilder(rec *record, span Span) *builder {
	h := &History{Span: span, Parts: make([]Part, span.Count), Starts: []int{}}
	b := &builder{h: h, rec: rec}
	b.first = rec.at/span.Step - int64(span.Count) + 1
	h.End = (b.first+int64(span.Count))*span.Step + rec.ahead
	h.Last = max(fineStep, rec.at%span.Step)
	return b
}

// part is the interval in which something was, or nil.
func (b *builder) part(at int64) *Part {
	if n := at/b.h.Step - b.first; n >= 0 && n < int64(len(b.h.Parts)) {
		return &b.h.Parts[n]
	}
	return nil
}

func (b *builder) add(m *moment) {
	if b.memory && b.some && m.at <= b.last.at && m.began == b.last.began {
		return
	}
	if b.hole {
		behind := *m
		behind.behind(&b.last, b.some)
		m, b.hole = &behind, false
	}
	b.between(m)
	if p := b.part(m.at); p != nil {
		p.Figures.add(&m.Figures)
		p.Known, p.Ahead = true, m.ahead-b.rec.ahead
		if b.some && b.last.began != m.began || !b.some && m.began/b.h.Step >= b.first {
			b.start(m.began)
		}
	}
	b.last, b.some = *m, true
}

// start notes that the broker was started.
func (b *builder) start(at int64) {
	n := int(at/b.h.Step - b.first)
	if n >= 0 && n < len(b.h.Parts) && !slices.Contains(b.h.Starts, n) {
		b.h.Starts = append(b.h.Starts, n)
	}
}

// between fills the intervals behind the last moment up to one of a process: nothing happened in
// them, and what remained stayed.
func (b *builder) between(m *moment) {
	same, to := b.some && b.last.began == m.began, m.at
	if m.lost > 0 {
		to = min(to, m.lost)
	}
	if b.some && !same {
		b.fill(b.last.at, min(m.ran, to), &b.last)
	}
	if same {
		b.fill(b.last.at, to, &b.last)
	} else {
		b.fill(m.began-1, to, &moment{})
	}
}

// fill makes the intervals behind one time, up to the one with another, be known.
func (b *builder) fill(from, to int64, last *moment) {
	for n := max(from/b.h.Step+1, b.first); n <= to/b.h.Step; n++ {
		p := b.part(n * b.h.Step)
		if p == nil {
			return
		}
		if p.Known {
			continue
		}
		p.Known = true
		if last.Remaining > 0 {
			p.Lag, p.Remaining, p.Age = last.Remaining, last.Remaining, last.Age+min((n+1)*b.h.Step, to)-last.at
		}
	}
}

// end fills what comes behind the last moment, up to now.
func (b *builder) end(now *moment) *History {
	if b.hole {
		now.behind(&b.last, b.some)
	}
	b.between(now)
	return b.h
}
