package stats

import "time"

// series is the recent past of one counter.
type series struct {
	at    [rateSpan + 1]time.Time
	value [rateSpan + 1]int64
	n     int     // how many samples there were
	out   float64 // of a topic: the rate of its groups
}

func (x *series) add(now time.Time, value int64) {
	i := x.n % len(x.at)
	x.at[i], x.value[i] = now, value
	x.n++
}

// rate is the mean over all samples there are.
func (x *series) rate() float64 { return x.over(rateSpan) }

// last is the rate between the last two samples.
func (x *series) last() float64 { return x.over(1) }

func (x *series) over(samples int) float64 {
	samples = min(samples, x.n-1)
	if samples < 1 {
		return 0
	}
	to, from := (x.n-1)%len(x.at), (x.n-1-samples)%len(x.at)
	seconds := x.at[to].Sub(x.at[from]).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(x.value[to]-x.value[from]) / seconds
}

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
