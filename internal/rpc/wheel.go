package rpc

import "math"

// Deadlines are rounded up to ticks of 2^23 ns (8.4 ms), and kept in the slots of a
// wheel. A turn is 8.6 s: what is due in a later turn stays where it is when its slot
// comes by.
const (
	tickBits   = 23
	wheelSlots = 1024
)

func (i Instant) tick() int64 { return int64(i) >> tickBits }

// wheel orders calls by their deadline. Adding and removing one costs the same
// whatever their number. Guarded by Table.mu.
type wheel struct {
	slots [wheelSlots]*Call
	now   int64 // every tick up to this one is done
}

// add takes a call that is due at c.due, which is not in the past.
func (w *wheel) add(c *Call) {
	slot := &w.slots[c.due%wheelSlots]
	c.earlier, c.later = nil, *slot
	if *slot != nil {
		(*slot).earlier = c
	}
	*slot = c
}

// remove takes a call out.
func (w *wheel) remove(c *Call) {
	if c.earlier != nil {
		c.earlier.later = c.later
	} else {
		w.slots[c.due%wheelSlots] = c.later
	}
	if c.later != nil {
		c.later.earlier = c.earlier
	}
	c.earlier, c.later = nil, nil
}

// advance takes out what is due at tick to or before, as a chain by Call.later.
func (w *wheel) advance(to int64) (due *Call) {
	from := max(w.now+1, to-wheelSlots+1)
	for tick := from; tick <= to; tick++ {
		for c := w.slots[tick%wheelSlots]; c != nil; {
			next := c.later
			if c.due <= to {
				w.remove(c)
				c.due = 0 // it is no longer in a slot
				c.later, due = due, c
			}
			c = next
		}
	}
	w.now = max(w.now, to)
	return due
}

// next is the first tick at which something may be due.
func (w *wheel) next() int64 {
	for tick := w.now + 1; tick <= w.now+wheelSlots; tick++ {
		if w.slots[tick%wheelSlots] != nil {
			return tick
		}
	}
	return math.MaxInt64
}
