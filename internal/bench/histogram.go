package bench

import (
	"encoding/json"
	"math/bits"
	"time"
)

// subBuckets per power of two: a value is off by at most 1/64 (1.6 %).
const subBuckets = 64

// Histogram counts durations. Its size does not grow with their number. One
// goroutine at a time may use it.
type Histogram struct {
	counts [64 * subBuckets]uint64
	total  uint64
	max    time.Duration
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
	h.max = max(h.max, d)
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// bucketOf keeps small values exact and the leading six bits of larger ones.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// valueOf is the largest value of a bucket.
func valueOf(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket%subBuckets+subBuckets)+1)<<shift - 1
}

// Quantile is the duration that the share q (0 to 1) of all counted ones does
// not exceed; 0 when none were counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total-1))
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen > rank {
			return min(time.Duration(valueOf(i)), h.max)
		}
	}
	return h.max
}

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 { return h.total }

// MarshalJSON writes the usual quantiles in microseconds.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return json.Marshal(struct {
		P50, P90, P99, P999, Max float64
		Unit                     string
	}{us(h.Quantile(.5)), us(h.Quantile(.9)), us(h.Quantile(.99)), us(h.Quantile(.999)), us(h.max), "us"})
}
