package stats

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Calls is what became of the calls of a service since it was last asked for, and how many wait
// for a provider now.
type Calls struct {
	Answered, Failed, Waiting int64
	Took, Longest             time.Duration // of the answered ones, together and the longest
}

// record is what happened lately and is not stored yet.
type record struct {
	began  int64 // when this process first looked, by the broker's own clock in milliseconds; 0: not yet
	ran    int64 // up to then nothing that earlier ones found is missing, by the same clock
	at     int64 // the last sample, by the same clock
	before int64 // the one before that
	ahead  int64 // of it is the wall clock
	open   map[storage.Series]*chunk
	saving map[storage.Series]*chunk // being stored, or to be stored as soon as that is possible
	bytes  int                       // of both

	// For what there was no room, up to when all is known of it: found by the last sample, and by
	// the one before. It ends when there is room again.
	lost, was map[storage.Series]int64
}

// How many topics and groups can be active at a time and have their figures kept, and how many
// bytes of figures wait to be stored: in a minute that is a kilobyte of each that is active in
// every second.
const (
	mostOpen    = 20_000
	mostWaiting = 16 << 20
)

// tick begins a sample. Those that come a little early or late count as whole seconds apart, or
// now and then two would fall into one interval and none into the next.
func (r *record) tick(b *broker.Broker) {
	now := b.Micros() / 1000
	r.ahead, r.before = b.Wall()-now, r.at
	r.was, r.lost = r.lost, nil
	if r.began == 0 {
		r.began, r.at, r.before = now, now, now
		r.ran = max(0, b.Ran()-saveAge-2*saveEvery.Milliseconds())
		return
	}
	r.at = max(r.at+1, r.began+(now-r.began+fineStep/2)/fineStep*fineStep)
}

// add keeps what happened to a series since the last sample, if anything did. remained is what
// its lag was then.
func (r *record) add(of storage.Series, f *Figures, remained int64) {
	lost := r.was[of]
	if f.Remaining = f.Lag; f.In == 0 && f.Out == 0 && f.Failed == 0 && f.Timed == 0 && f.Lag == remained && lost == 0 {
		return
	}
	k := r.open[of]
	if r.bytes >= mostWaiting || k == nil && len(r.open) >= mostOpen || k != nil && k.full() {
		if r.lost == nil {
			r.lost = map[storage.Series]int64{}
		}
		r.lost[of] = cmp.Or(lost, r.before)
		return
	}
	if k == nil {
		k = &chunk{}
		r.open[of] = k
	}
	size := len(k.data)
	k.add(&moment{at: r.at, ahead: r.ahead, began: r.began, ran: r.ran, lost: lost, Figures: *f})
	r.bytes += len(k.data) - size
}

// figures are those of a group since the last sample, before x takes it.
func (x *groupSeries) figures(l *looked) Figures {
	f := Figures{
		Out: l.counts.Delivered - x.given.value, Again: l.counts.Redelivered - x.again.value, Failed: l.counts.Dead - x.dead.value,
		Lag: l.lag.Messages, Age: int64(l.lag.Seconds * 1000),
	}
	if x.filter == l.filter && !x.in.since.IsZero() {
		f.In = max(0, l.came-x.in.newest.value)
	}
	if f.Out > 0 {
		f.took(l.group.TakeDeliveries())
	}
	return f
}

// join adds the figures of another group in the same time.
func (f *Figures) join(o *Figures) {
	f.Out += o.Out
	f.Again += o.Again
	f.Failed += o.Failed
	f.Lag += o.Lag
	f.Age = max(f.Age, o.Age)
}

func (f *Figures) took(d broker.Durations) { f.Timed, f.Took, f.Longest = d.N, d.Sum, d.Longest }

// recordTopic keeps the figures of a topic: in is what came, groups what happened to all its groups.
func (s *Sampler) recordTopic(t *broker.Topic, x *topicSeries, in int64, groups *Figures) {
	f := *groups
	f.In, f.Timed, f.Took, f.Longest = in, 0, 0, 0
	switch {
	case !t.Calls():
		if in > 0 {
			f.took(t.TakeCommits())
		}
	case s.services != nil:
		c := s.services(t.Name())
		f.Failed, f.Lag, f.Age = c.Failed, c.Waiting, 0
		f.Timed, f.Took, f.Longest = c.Answered, c.Took.Microseconds(), c.Longest.Microseconds()
	}
	if t.KeepsHistory() {
		s.record.add(storage.Series{Topic: t.ID()}, &f, x.lag)
	}
	x.lag, x.latest = f.Lag, f
}

// Latest is what the last sample found of a topic, or of one of its groups: it is of a second.
func (s *Sampler) Latest(t *broker.Topic, g *broker.Group) (f Figures) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g == nil {
		if x := s.topics[t]; x != nil {
			f = x.latest
		}
	} else if x := s.groups[g]; x != nil {
		f = x.latest
	}
	return f
}

// due takes what is to be stored now, so that each chunk is stored a minute after its first moment:
// those for which it is time, and of the others as many as are too many to wait. When the time is 0
// it takes all. What could not be stored before is returned first, and alone: then again is true.
func (s *Sampler) due(by int64) (list map[storage.Series]*chunk, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.record
	if len(r.saving) > 0 {
		return maps.Clone(r.saving), true
	}
	all := slices.Collect(maps.Keys(r.open))
	sort.Slice(all, func(i, j int) bool { return r.open[all[i]].first < r.open[all[j]].first })
	n := len(all)
	if by > 0 {
		n = 0
		for i, of := range all {
			n = max(n, share(i+1, 1+int(max(0, r.open[of].first-by)/saveEvery.Milliseconds())))
		}
	}
	r.saving = make(map[storage.Series]*chunk, n)
	for _, of := range all[:n] {
		r.saving[of] = r.open[of]
		delete(r.open, of)
	}
	return maps.Clone(r.saving), false
}

// share is how many of some chunks are stored now when there are so many times left to store them:
// none while all can go in the others, saveMost in each, and if they can't, the same number each time.
func share(chunks, times int) int {
	if even := (chunks + times - 1) / times; even > saveMost {
		return even
	}
	return chunks - saveMost*(times-1)
}

// unkept is of how many there was no room for the last figures.
func (s *Sampler) unkept() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.record.lost)
}

// saved takes series from those that wait to be stored.
func (s *Sampler) saved(list []storage.Series) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range list {
		s.record.bytes -= len(s.record.saving[of].data)
		delete(s.record.saving, of)
	}
}
