package broker

import "github.com/rushmore/zbus-go/internal/storage"

// ageMarks tell how far a topic was at some times. They age messages whose stamps do
// not: when the clock was ahead for a moment, the stamps from then on are in the future,
// for years perhaps, since stamps of a topic never decrease.
type ageMarks []ageMark

// ageMark says that the messages below next are not newer than at, on Broker.clock.
type ageMark struct{ at, next int64 }

// marksPerAge is how many marks a topic has for its maximum age: so exact is deletion by
// them.
const marksPerAge = 16

// add notes how far the topic is, unless that was noted a short time ago.
func (m *ageMarks) add(now, next, maxAge int64) {
	if n := len(*m); n == 0 || now-(*m)[n-1].at >= max(maxAge/marksPerAge, 1) {
		*m = append(*m, ageMark{now, next})
	}
}

// below takes the marks that are older than a time, and returns the offset below which
// messages are.
func (m *ageMarks) below(time int64) (offset int64) {
	n := 0
	for ; n < len(*m) && (*m)[n].at < time; n++ {
		offset = (*m)[n].next
	}
	*m = (*m)[n:]
	return offset
}

// age says what is too old in a topic: messages with stamps below limit, if plausible is
// true, and those with offsets below aged.
func (t *Topic) age(def *storage.Topic) (limit, aged int64, plausible bool) {
	maxAge := def.Retention.MaxAge
	if maxAge == 0 {
		t.marks = nil
		return 0, 0, false
	}
	wall, plausible := t.b.time.look()
	now := t.b.clock()
	if def.LastTime > wall+clockJump {
		t.marks.add(now, def.Next, maxAge)
	}
	if plausible {
		aged = t.marks.below(now - maxAge)
	}
	return wall - maxAge, aged, plausible
}
