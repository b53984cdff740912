package broker

import "container/heap"

// flight is one message that a consumer of an explicit group holds, or that came
// back and waits for its next delivery.
type flight struct {
	offset  int64
	count   int64         // deliveries so far
	due     int64         // on Broker.clock, in ms: when it times out (in flight) or may go again (returned)
	sub     *Subscription // who holds it; nil when returned
	sent    bool          // its batch was reported as written
	storing bool          // its dead letter is being stored
	cause   string        // why it came back last
	index   int           // place in the heap

	condemned bool // it is not to be delivered again, however often it was
}

// flights is a set of messages found by offset and ordered by due time (then
// offset). Map and heap are one type, so they cannot disagree.
type flights struct {
	byOffset map[int64]*flight
	queue    flightHeap
}

func (f *flights) len() int { return len(f.queue) }

func (f *flights) get(offset int64) *flight { return f.byOffset[offset] }

// put adds a message; one that is there under the same offset is replaced.
func (f *flights) put(x *flight) {
	if f.byOffset == nil {
		f.byOffset = make(map[int64]*flight)
	}
	if old := f.byOffset[x.offset]; old != nil {
		heap.Remove(&f.queue, old.index)
	}
	f.byOffset[x.offset] = x
	heap.Push(&f.queue, x)
}

func (f *flights) remove(x *flight) {
	heap.Remove(&f.queue, x.index)
	delete(f.byOffset, x.offset)
}

// first is the message that is due earliest, or nil.
func (f *flights) first() *flight {
	if len(f.queue) == 0 {
		return nil
	}
	return f.queue[0]
}

// below lists the messages with offsets below one.
func (f *flights) below(offset int64) (list []*flight) {
	for _, x := range f.queue {
		if x.offset < offset {
			list = append(list, x)
		}
	}
	return list
}

func (f *flights) clear() { f.byOffset, f.queue = nil, nil }

type flightHeap []*flight

func (h flightHeap) Len() int { return len(h) }

func (h flightHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].offset < h[j].offset
}

func (h flightHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *flightHeap) Push(x any) {
	f := x.(*flight)
	f.index = len(*h)
	*h = append(*h, f)
}

func (h *flightHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
