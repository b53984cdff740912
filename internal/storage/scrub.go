package storage

import "time"

// Scrub is how far a store is with reading everything that it has, to find damage
// before the damaged part is needed.
type Scrub struct {
	Every    time.Duration // from the end of one round to the next; 0: there are none
	Running  bool
	Progress float64 // of the round that runs, or 1 when it is over: 0 to 1
	Messages int64   // read in this round, or in the last one, as the next two
	Bytes    int64
	Damaged  int64 // messages that are damaged or missing
	Findings int64 // other things that are wrong
	Read     int64 // bytes in all rounds since the start
	Finished time.Time
}
