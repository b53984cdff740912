package stats

import "time"

// mark is what a counter was at a time.
type mark struct {
	at    time.Time
	value int64
}

// trace is the recent past of a counter: what it is, and marks of what it was. Of thousands of
// topics and groups most have counters that do not change: those have no marks.
type trace struct {
	newest mark
	since  time.Time // without marks: the value has not changed from here to newest; zero: there is none
	marks  []mark    // a ring
	n      int       // how many marks there were
}

// add notes what the counter is. Marks are at least step apart; every is how often a flat one
// would have got them. So many are kept.
func (x *trace) add(now time.Time, value int64, step, every time.Duration, kept int) {
	switch {
	case x.since.IsZero():
		x.newest, x.since = mark{now, value}, now
		return
	case x.marks == nil && value == x.newest.value:
		x.newest.at = now
		return
	case x.marks == nil:
		x.begin(every, kept)
	}
	x.newest = mark{now, value}
	if now.Sub(x.back(0).at) < step {
		return
	}
	x.marks[x.n%kept] = x.newest
	x.n++
	if oldest := x.back(kept - 1); x.n >= kept && oldest.value == value {
		x.marks, x.since, x.n = nil, oldest.at, 0
	}
}

// begin makes the marks of the time in which the counter did not change.
func (x *trace) begin(every time.Duration, kept int) {
	x.marks, x.n = make([]mark, kept), 0
	for ago := min(x.newest.at.Sub(x.since)/every, time.Duration(kept-1)); ago >= 0; ago-- {
		x.marks[x.n] = mark{x.newest.at.Add(-ago * every), x.newest.value}
		x.n++
	}
}

// back is a mark: the newest is 0. There has to be one; the oldest there is stands for those before.
func (x *trace) back(marks int) mark {
	marks = min(marks, x.n-1, len(x.marks)-1)
	return x.marks[(x.n-1-marks)%len(x.marks)]
}

// over is by how much the counter grew a second, since so many marks ago.
func (x *trace) over(marks int) float64 {
	if x.marks == nil {
		return 0
	}
	oldest := x.back(marks)
	seconds := x.newest.at.Sub(oldest.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(x.newest.value-oldest.value) / seconds
}
