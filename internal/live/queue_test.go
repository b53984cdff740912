package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

func newQueue() *queue {
	q := new(queue)
	q.init()
	return q
}

// next gives what the queue has to show next.
func (q *queue) next() (view, bool) {
	_, w, _ := q.take()
	if w == nil {
		return view{}, false
	}
	return q.look(w)
}

func TestFiguresThatWereNotSentGiveWayToNewerOnes(t *testing.T) {
	q, w := newQueue(), new(watch)
	for seq := range int64(3) {
		q.offer(w, &figure{seq: seq + 1})
	}
	q.offer(w, &figure{seq: 1}) // too late
	if x, ok := q.next(); !ok || x.figure.seq != 3 {
		t.Errorf("got %+v", x)
	}
	q.offer(w, &figure{seq: 3})
	if x, ok := q.next(); ok {
		t.Errorf("sent again: %+v", x)
	}
	q.offer(w, &figure{seq: 4})
	q.forget(w)
	if x, ok := q.next(); ok {
		t.Errorf("sent after the end of the watch: %+v", x)
	}
}

func TestBeatComesUnlessEveryWatchGotFigures(t *testing.T) {
	q, one, two := newQueue(), new(watch), new(watch)
	beat := func() bool {
		q.offerBeat([]byte("beat"))
		return q.takeBeat() != nil
	}
	if beat() {
		t.Error("a beat without a watch")
	}
	q.watching(2)
	q.offer(one, &figure{seq: 1})
	if beat() {
		t.Error("a beat before the figures")
	}
	if _, ok := q.next(); !ok || q.takeBeat() == nil {
		t.Error("no beat after the figures of one of two")
	}
	q.offer(one, &figure{seq: 2})
	q.offer(two, &figure{seq: 2})
	q.next()
	q.next()
	if beat() {
		t.Error("a beat although both got figures")
	}
	if !beat() {
		t.Error("no beat although nothing happened")
	}
}

func TestQueueThatIsClosedWaitsForAnswersThatWereAnnounced(t *testing.T) {
	q := newQueue()
	q.expect(10)
	q.close()
	if q.put(item{raw: []byte("x")}) {
		t.Error("something was taken in")
	}
	if _, _, over := q.take(); over {
		t.Error("it is over before the answer is there")
	}
	q.arrive(&published{}, 10)
	items, _, over := q.take()
	if len(items) != 1 || over || q.held != 0 {
		t.Errorf("got %d items, over %t, %d bytes held", len(items), over, q.held)
	}
	q.sent(items)
	if _, _, over := q.take(); !over || q.bytes != 0 {
		t.Errorf("over %t, %d bytes left", over, q.bytes)
	}
	q.finish()
	q.expect(0)
	if q.arrive(&published{}, 0); len(q.items) != 0 {
		t.Error("an answer was kept that nobody sends")
	}
}

func TestTailShowsAsManyASecondAsWereAskedFor(t *testing.T) {
	w := &watch{limit: 5}
	for _, x := range []struct {
		tick int64
		want int
	}{{1, 5}, {2, 0}, {3, 1}, {4, 0}, {5, 1}, {11, 3}, {1000, 5}} {
		got := w.allowance(x.tick)
		if got != x.want {
			t.Errorf("tick %d: %d, want %d", x.tick, got, x.want)
		}
		w.tokens -= float64(got)
	}
}

func TestTailPicksTheNewestAndCountsTheOthers(t *testing.T) {
	p := picked{watch: &watch{from: 2}, room: 3}
	for offset := range int64(10) {
		p.see(&storage.Record{Offset: offset})
	}
	if len(p.recs) != 3 || p.recs[0].Offset != 7 || p.seen != 3 {
		t.Errorf("got %d from %d on, %d seen", len(p.recs), p.recs[0].Offset, p.seen)
	}
}

func TestTailOfASlowViewerKeepsTheNewestAndSaysHowManyAreMissing(t *testing.T) {
	q := newQueue()
	w := &watch{limit: 3}
	messages := func(texts ...string) (list [][]byte) {
		for _, x := range texts {
			list = append(list, []byte(x))
		}
		return list
	}
	q.offerTail(w, messages("1", "2"), 0)
	q.offerTail(w, messages("3", "4", "5"), 7)
	x, ok := q.next()
	if text := fmt.Sprintf("%s", x.messages); !ok || x.missed != 9 || text != "[3 4 5]" {
		t.Errorf("got %s, %d missed", text, x.missed)
	}
	big := strings.Repeat("x", tailRing)
	q.offerTail(w, messages(big, "1", "2"), 0)
	if x, _ := q.next(); len(x.messages) != 2 || x.missed != 1 || w.bytes != 0 {
		t.Errorf("got %d messages, %d missed", len(x.messages), x.missed)
	}
	if _, ok := q.next(); ok {
		t.Error("there is more")
	}
}
