package stats

import (
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
	ahead  int64 // of it is the wall clock
	open   map[storage.Series]*chunk
	saving map[storage.Series]*chunk // being stored
}

// mostOpen is how many topics and groups can be active at a time and have their figures kept. Each
// takes a kilobyte or so until it is stored.
const mostOpen = 20_000

// tick begins a sample. Those that come a little early or late count as whole seconds apart, or
// now and then two would fall into one interval and none into the next.
func (r *record) tick(b *broker.Broker) {
	now := b.Micros() / 1000
	r.ahead = b.Wall() - now
	if r.began == 0 {
		r.began, r.at = now, now
		r.ran = max(0, b.Ran()-saveAge-2*saveEvery.Milliseconds())
		return
	}
	r.at = max(r.at+1, r.began+(now-r.began+fineStep/2)/fineStep*fineStep)
}

// add keeps what happened to a series since the last sample, if anything did. remained is what
// its lag was then.
func (r *record) add(of storage.Series, f *Figures, remained int64) {
	if f.Remaining = f.Lag; f.In == 0 && f.Out == 0 && f.Failed == 0 && f.Timed == 0 && f.Lag == remained {
		return
	}
	k := r.open[of]
	if k == nil {
		if len(r.open) >= mostOpen {
			return
		}
		k = &chunk{}
		r.open[of] = k
	}
	if k.full() {
		return
	}
	k.add(&moment{at: r.at, ahead: r.ahead, began: r.began, ran: r.ran, Figures: *f})
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
	x.lag = f.Lag
}
