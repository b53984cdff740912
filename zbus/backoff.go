package zbus

import "time"

// Backoff says how long a message rests after an attempt to handle it has failed, before it is
// delivered again. Attempts count from 1. What is less than nothing is nothing, and a week is the
// most. Several goroutines may call it.
type Backoff func(attempt int) time.Duration

// ExponentialBackoff rests for first after the first attempt, and twice as long after each other
// one, but for most at most.
func ExponentialBackoff(first, most time.Duration) Backoff {
	return func(attempt int) time.Duration {
		delay := first
		for ; attempt > 1 && delay > 0 && delay < most; attempt-- {
			if delay *= 2; delay < 0 { // too much for a Duration
				return most
			}
		}
		return min(delay, most)
	}
}

// BackoffSteps rests for the first of the delays after the first attempt, for the second after the
// second, and so on; for the last one after all others. Without any it does not rest.
func BackoffSteps(delays ...time.Duration) Backoff {
	delays = append([]time.Duration(nil), delays...)
	return func(attempt int) time.Duration {
		if len(delays) == 0 {
			return 0
		}
		return delays[min(max(attempt, 1), len(delays))-1]
	}
}

// maxDelay is the longest that a server has a message rest.
const maxDelay = 7 * 24 * time.Hour

// after is how long a message rests after an attempt.
func (b Backoff) after(attempt int) time.Duration { return min(max(b(attempt), 0), maxDelay) }
