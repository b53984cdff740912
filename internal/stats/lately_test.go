package stats

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
)

// What came to a topic in the last five minutes is known to those who ask later, and
// costs nothing for a topic to which nothing came.
func TestRatesOfTheLastMinutesAreKeptForTopicsToWhichSomethingCame(t *testing.T) {
	b := open(t)
	topics := map[string]*broker.Topic{}
	for _, name := range []string{"busy", "idle"} {
		topic, _, err := b.System().DeclareTopic(t.Context(), broker.TopicSpec{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		topics[name] = topic
	}
	s := New(b, Options{Connections: func() int64 { return 0 }})
	start := time.Now()
	now := start
	s.sample(t.Context(), now)
	second := func(messages int) {
		for range messages {
			publish(t, b, topics["busy"], "")
		}
		now = now.Add(time.Second)
		s.sample(t.Context(), now)
	}
	for i := range 20 {
		second(i / 10 * 3) // ten seconds nothing, then three a second
	}
	list, mark, end := s.Lately()
	if len(list) != 1 || list[0] != topics["busy"] {
		t.Fatalf("%d topics, want the busy one alone", len(list))
	}
	if !end.Equal(start.Add(20 * time.Second)) {
		t.Errorf("the last value is of %s after the start, want 20 s", end.Sub(start))
	}
	want := []float64{0, 0, 0, 1.5, 3}
	is := func(mark int, want ...float64) {
		t.Helper()
		near := func(x, y float64) bool { return math.Abs(x-y) <= 0.001 }
		if got := s.Past(topics["busy"], mark); !slices.EqualFunc(got, want, near) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	is(mark, want...)
	for range 5 {
		second(0)
	}
	is(mark, want...) // an answer that is being written stays as it was begun
	// No more than five minutes; then it is forgotten.
	for range 295 {
		second(0)
	}
	list, last, _ := s.Lately()
	if in := s.Past(topics["busy"], last); len(list) != 1 || len(in) != latelyKept || in[0] != 1.5 || in[1] != 0 {
		t.Fatalf("%v, want 60 values, the first of five minutes ago", in)
	}
	is(mark) // what was then is overwritten
	for range 10 {
		second(0)
	}
	if list, _, _ = s.Lately(); len(list) != 0 {
		t.Errorf("%v is kept, want nothing", list)
	}
}
