package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// scanned is a log to walk through, of more messages than a page has.
type scanned struct {
	*rig
	topic *Topic
	sizes []int64 // by offset less base
	base  int64
}

func newScanned(r *rig, rt *rapid.T) *scanned {
	s := &scanned{rig: r, topic: r.topic("orders", someKind.Draw(rt, "topic"), storage.Retention{})}
	s.base = s.topic.Next()
	for range rapid.IntRange(0, 4).Draw(rt, "commits") {
		n := rapid.SampledFrom([]int{1, 3, backRows, 700, scanRows + 1}).Draw(rt, "messages")
		large := rapid.SampledFrom([]int{0, 0, 40_000, scanBytes + 1}).Draw(rt, "large")
		every := 1 + n/3
		recs := make([]storage.Record, n)
		for i := range recs {
			body := s.text(int64(len(s.sizes)))
			if i%every == 0 {
				body += strings.Repeat(".", large)
			}
			recs[i] = storage.Record{ID: "id", Body: []byte(body)}
			s.sizes = append(s.sizes, recs[i].Size())
		}
		for _, p := range r.publish(s.topic, recs...) {
			if p.Err != nil {
				r.Fatal(p.Err)
			}
		}
	}
	if left := rapid.IntRange(0, len(s.sizes)).Draw(rt, "left"); left > 0 {
		r.topic("orders", s.topic.Kind(), storage.Retention{MaxCount: int64(left)})
		time.Sleep(2 * retentionInterval)
	}
	return s
}

// text begins the body of a message.
func (s *scanned) text(i int64) string { return strconv.FormatInt(i, 10) + " " }

func TestScanGoesThroughTheLog(t *testing.T) {
	inBubbles(t, faultreport.ScaleAlways(t, 4, 400), func(r *rig, rt *rapid.T) {
		s := newScanned(r, rt)
		n := len(s.sizes)
		for range 8 {
			offset := func(name string) int64 { return s.base + int64(rapid.IntRange(-3, n+3).Draw(rt, name)) }
			q := Scan{
				From: offset("from"), To: offset("to"),
				Back:  rapid.Bool().Draw(rt, "back"),
				Brief: rapid.Bool().Draw(rt, "brief"),
				Rows:  rapid.SampledFrom([]int64{0, 0, 1, 5, backRows, scanRows, scanRows + 1}).Draw(rt, "rows"),
				Bytes: rapid.SampledFrom([]int64{0, 0, 1, 900, scanBytes, scanBytes + 1}).Draw(rt, "bytes"),
			}
			stop := rapid.SampledFrom([]int{0, 1, 7, scanRows}).Draw(rt, "stop")
			s.check(q, stop)
		}
	})
}

// check compares a walk, ended by its visitor after some messages (0: not), with one
// step after the other.
func (s *scanned) check(q Scan, stop int) {
	s.Helper()
	first, end := s.topic.First(), s.topic.Next()
	at, step := max(min(q.From, end), first), int64(1)
	if q.Back {
		at, step = min(q.From, end-1), -1
	}
	var want []int64
	size := int64(0)
	for ; at >= first && at < end && (at-q.To)*step < 0; at += step {
		if q.Rows > 0 && int64(len(want)) == q.Rows || q.Bytes > 0 && size >= q.Bytes || stop > 0 && len(want) == stop {
			break
		}
		want = append(want, at)
		size += s.sizes[at-s.base]
	}
	var got int
	n, next, err := s.topic.Scan(context.Background(), q, func(r *storage.Record) bool {
		if got == len(want) || r.Offset != want[got] {
			s.Fatalf("%+v of %d to %d: message %d is %d, want %d", q, first, end, got, r.Offset, want)
		}
		i := r.Offset - s.base
		if r.Size() != s.sizes[i] || !q.Brief && (r.Omitted > 0 || !strings.HasPrefix(string(r.Body), s.text(i))) {
			s.Fatalf("%+v: message %d has %d bytes, %d omitted: %.10q", q, i, r.Size(), r.Omitted, r.Body)
		}
		got++
		return got != stop
	})
	if err != nil || got != len(want) || n != int64(got) || next != at {
		s.Fatalf("%+v of %d to %d: %d visited (it says %d), next %d; want %d, next %d; %v", q, first, end, got, n, next, len(want), at, err)
	}
}

// A reader that pages backwards must come to an end when the log loses its beginning.
func TestScanBackFromBelowTheLogSeesNothing(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{MaxCount: 5})
		r.mustPublish(topic, make([]string, 10)...)
		time.Sleep(2 * retentionInterval)
		n, next, err := topic.Scan(context.Background(), Scan{From: 4, To: -1, Back: true}, func(*storage.Record) bool { return true })
		if n != 0 || next != 4 || err != nil {
			r.Errorf("%d messages below the log, next %d: %v", n, next, err)
		}
	})
}

// A memory topic makes room while a reader is active.
func TestScanGoesOnBehindWhatIsDroppedMeanwhile(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("ticks", storage.KindMemory, storage.Retention{MaxCount: 10})
		for range 10 {
			r.mustPublish(topic, "")
		}
		first := topic.First()
		var got []int64
		n, next, err := topic.Scan(context.Background(), Scan{From: first, To: first + 10}, func(m *storage.Record) bool {
			if got = append(got, m.Offset-first); len(got) == 1 {
				r.mustPublish(topic, make([]string, 4)...)
			}
			return true
		})
		if n != 7 || next != first+10 || err != nil || got[1] != 4 {
			r.Errorf("%d messages, next %d, offsets %d: %v; want 0, then 4 to 9", n, next-first, got, err)
		}
	})
}

func TestScanEndsWithItsContext(t *testing.T) {
	inBubble(t, Options{TailBytes: 1}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.mustPublish(topic, make([]string, 3000)...)
		ctx, stop := context.WithCancel(context.Background())
		n, next, err := topic.Scan(ctx, Scan{To: 3000, Brief: true}, func(*storage.Record) bool {
			stop()
			return true
		})
		if !errors.Is(err, context.Canceled) || n == 3000 || next != n {
			r.Errorf("%d messages, next %d: %v", n, next, err)
		}
	})
}
