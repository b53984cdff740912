package live

import (
	"context"
	"slices"
	"sync"

	"github.com/rushmore/zbus-go/internal/broker"
)

// How much may be unanswered or unsent before no more frames are read.
const (
	answerBytes = 1 << 20   // of answers
	pendingOps  = 256       // that wait for the disk
	pendingHeld = 256 << 10 // bytes of their frames
)

// queue is what a socket has still to send. Anybody may add to it, without waiting;
// the socket's writer alone takes.
type queue struct {
	wake chan struct{} // capacity 1: one token tells the writer to look
	room chan struct{} // capacity 1: one token tells the reader to look

	relayed chan struct{} // capacity 1: one token tells a relay to look

	mu      sync.Mutex
	items   []item   // guarded by mu: in order
	spare   []item   // guarded by mu: the slice taken before, to be used again
	bytes   int64    // guarded by mu: of the answers among items
	pending int      // guarded by mu: answers that are still to come
	held    int64    // guarded by mu: bytes of the frames these are for
	taken   bool     // guarded by mu: a frame is being handled, so that what answers it is taken in
	closed  bool     // guarded by mu: nothing but these is taken in
	over    bool     // guarded by mu: nothing at all is
	dirty   []*watch // guarded by mu: those with something to show, each once
	beat    []byte   // guarded by mu: to be sent when there is nothing to show
	watches int      // guarded by mu: how many there are
	shown   int      // guarded by mu: how many got figures since the last beat
}

// item is one thing to send in its turn: an answer, encoded or to be encoded by the
// writer, or a delivery.
type item struct {
	raw    []byte
	answer answer
	cost   int64 // of an answer in memory

	batch *broker.Batch
	sub   *subscription // of batch
}

// answer is one that may be large, so that it is not encoded in a callback.
type answer interface {
	// frame is what to encode.
	frame() any
	// cost is about how many bytes it holds.
	cost() int64
}

func (q *queue) init() {
	q.wake, q.room, q.relayed = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
}

// put adds an item and reports false if it was not taken in.
func (q *queue) put(it item) bool {
	q.mu.Lock()
	ok := !q.closed || q.taken && !q.over && it.batch == nil
	if ok {
		q.add(it)
	}
	q.mu.Unlock()
	signal(q.wake)
	return ok
}

// add is called with q.mu held.
func (q *queue) add(it item) {
	q.items = append(q.items, it)
	q.bytes += it.cost
}

// begin takes a frame on. It reports false once no more answers are taken in: a request that can't be
// answered must not be done.
func (q *queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken = !q.closed
	return q.taken
}

// done is called when a frame that was taken on is handled, and its answer put or expected.
func (q *queue) done() {
	q.mu.Lock()
	q.taken = false
	q.mu.Unlock()
	signal(q.wake)
}

// expect announces the answer to a frame.
func (q *queue) expect(held int64) {
	q.mu.Lock()
	q.pending++
	q.held += held
	q.mu.Unlock()
}

// arrive adds an answer that was expected. It is called from commit callbacks.
func (q *queue) arrive(a answer, held int64) {
	q.mu.Lock()
	q.pending--
	q.held -= held
	if !q.over {
		q.add(item{answer: a, cost: a.cost()})
	}
	q.mu.Unlock()
	signal(q.wake)
	signal(q.room)
}

// ready waits until the next frame may be read, and reports false when ctx ended.
func (q *queue) ready(ctx context.Context) bool {
	for ctx.Err() == nil {
		q.mu.Lock()
		ok := q.bytes <= answerBytes && q.pending < pendingOps && q.held <= pendingHeld
		q.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-q.room:
		case <-ctx.Done():
		}
	}
	return false
}

// take gives the writer what is queued in order, and what is to be shown after it: the
// answer to a watch comes before what the watch shows. over says that nothing more
// will come.
func (q *queue) take() (items []item, next *watch, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items = q.items
	q.items, q.spare = q.spare[:0], nil
	if len(q.dirty) > 0 {
		next = q.dirty[0]
		q.dirty[0] = nil
		if q.dirty = q.dirty[1:]; len(q.dirty) == 0 {
			q.dirty = nil
		}
	}
	return items, next, q.closed && !q.taken && q.pending == 0 && len(items) == 0
}

// sent is called when what take gave is sent. Until then its answers count.
func (q *queue) sent(items []item) {
	if len(items) == 0 && cap(items) == 0 {
		return
	}
	q.mu.Lock()
	for i := range items {
		q.bytes -= items[i].cost
	}
	clear(items)
	q.spare = items[:0]
	q.mu.Unlock()
	signal(q.room)
	signal(q.relayed)
}

// close takes nothing more, but answers that are expected and those to a frame that is being handled.
func (q *queue) close() {
	q.mu.Lock()
	q.closed, q.dirty, q.beat = true, nil, nil
	q.mu.Unlock()
	signal(q.wake)
}

// finish takes nothing more and gives what is left.
func (q *queue) finish() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.over = true, true
	items := q.items
	q.items = nil
	return items
}

// watching counts watches.
func (q *queue) watching(n int) {
	q.mu.Lock()
	q.watches += n
	q.mu.Unlock()
}

// show marks a watch as one with something to show. Called with q.mu held.
func (q *queue) show(w *watch) {
	if !w.dirty && !q.closed && !w.over {
		w.dirty = true
		q.dirty = append(q.dirty, w)
	}
}

// offer shows figures, in place of older ones that were not sent.
func (q *queue) offer(w *watch, f *figure) {
	q.mu.Lock()
	newest := w.seq
	if w.figure != nil {
		newest = w.figure.seq
	}
	if newest < f.seq {
		w.figure = f
		q.shown++
		q.show(w)
	}
	q.mu.Unlock()
	signal(q.wake)
}

// offerBeat says that all is fresh, unless every watch got figures anyway.
func (q *queue) offerBeat(beat []byte) {
	q.mu.Lock()
	due := q.watches > q.shown && !q.closed
	if due {
		q.beat = beat
	}
	q.shown = 0
	q.mu.Unlock()
	if due {
		signal(q.wake)
	}
}

// offerTail shows messages, and how many more there were.
func (q *queue) offerTail(w *watch, messages [][]byte, missed int64) {
	q.mu.Lock()
	w.missed += missed
	for _, m := range messages {
		w.ring = append(w.ring, m)
		w.bytes += len(m)
	}
	drop := 0
	for ; len(w.ring)-drop > w.limit || w.bytes > tailRing && len(w.ring)-drop > 1; drop++ {
		w.bytes -= len(w.ring[drop])
		w.missed++
	}
	w.ring = slices.Delete(w.ring, 0, drop)
	if len(w.ring) > 0 || w.missed > 0 {
		q.show(w)
	}
	q.mu.Unlock()
	signal(q.wake)
}

// forget drops what a watch has to show, for good.
func (q *queue) forget(w *watch) {
	q.mu.Lock()
	w.over, w.figure, w.ring = true, nil, nil
	q.mu.Unlock()
}

// view is what one watch shows.
type view struct {
	figure   *figure
	messages [][]byte
	missed   int64
}

// look gives the writer what the watch that it took has to show at this moment. ok is
// false when nothing is left.
func (q *queue) look(w *watch) (x view, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.dirty = false
	x = view{figure: w.figure, messages: w.ring, missed: w.missed}
	if w.figure != nil {
		w.seq, w.figure = w.figure.seq, nil
	}
	w.ring, w.bytes, w.missed = nil, 0, 0
	return x, !w.over
}

// takeBeat gives the beat to be sent, or nil when there is none or something has to be
// shown before.
func (q *queue) takeBeat() (beat []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.dirty) == 0 {
		beat, q.beat = q.beat, nil
	}
	return beat
}
