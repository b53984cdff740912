package stats

import "time"

// series is the recent past of one counter.
type series struct{ trace }

func (x *series) add(now time.Time, value int64) {
	x.trace.add(now, value, 0, Interval, rateSpan+1)
}

// rate is the mean over all samples there are.
func (x *series) rate() float64 { return x.over(rateSpan) }

// last is the rate between the last two samples.
func (x *series) last() float64 { return x.over(1) }

// ring keeps the last points.
type ring struct {
	kept   int
	points []Point
	added  int
}

func (r *ring) add(p Point) {
	if len(r.points) < r.kept {
		r.points = append(r.points, p)
	} else {
		r.points[r.added%r.kept] = p
	}
	r.added++
}

// last are the n newest points, or all there are, oldest first.
func (r *ring) last(n int) []Point {
	n = min(n, len(r.points))
	all := make([]Point, 0, n)
	for i := r.added - n; i < r.added; i++ {
		all = append(all, r.points[i%r.kept])
	}
	return all
}

// mean is one point for several: means of rates, and the last of what is a level.
func mean(points []Point) Point {
	p := points[len(points)-1]
	p.In, p.Out, p.Calls = 0, 0, 0
	for _, q := range points {
		p.In += q.In
		p.Out += q.Out
		p.Calls += q.Calls
	}
	n := float64(len(points))
	p.In, p.Out, p.Calls = p.In/n, p.Out/n, p.Calls/n
	return p
}
