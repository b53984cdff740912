package stats

import (
	"math"
	"testing"
	"time"
)

// A counter that did not change for long, and has no marks then, has the same rates as one whose
// marks were kept, before, while and after it grows.
func TestATraceWithoutMarksHasTheRatesOfOneThatKeptThem(t *testing.T) {
	start := time.Now()
	var seconds series
	var last minute
	var at []mark
	value := int64(7)
	for n := range 400 {
		if n > 200 && n <= 210 || n == 300 {
			value += int64(n % 7)
		}
		now := start.Add(time.Duration(n) * Interval)
		at = append(at, mark{now, value})
		seconds.add(now, value)
		last.add(now, value)
		wantRate(t, n, "ten seconds", seconds.rate(), at, rateSpan)
		wantRate(t, n, "the last sample", seconds.last(), at, 1)
		switch came := last.rate() * 60; {
		case n > 215 && n < 255 && math.Abs(came-float64(value-7)) > 0.1*float64(value-7):
			t.Fatalf("sample %d: %v came in a minute, want about %d", n, came, value-7)
		case (n <= 200 || n > 280 && n < 300 || n > 370) && came != 0:
			t.Fatalf("sample %d: %v came in a minute in which nothing did", n, came)
		}
	}
	if seconds.marks != nil || last.marks != nil {
		t.Errorf("marks are kept of a counter that has not changed for more than a minute")
	}
}

func wantRate(t *testing.T, n int, what string, got float64, at []mark, samples int) {
	t.Helper()
	from, to := at[max(0, n-samples)], at[n]
	want := 0.0
	if n > 0 {
		want = float64(to.value-from.value) / to.at.Sub(from.at).Seconds()
	}
	if math.Abs(got-want) > 1e-9 {
		t.Fatalf("sample %d: %v a second over %s, want %v", n, got, what, want)
	}
}
