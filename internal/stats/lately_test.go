package stats

import (
	"math"
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
		topic, _, err := b.DeclareTopic(t.Context(), broker.TopicSpec{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		topics[name] = topic
	}
	s := New(b, func() int64 { return 0 })
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
	list, end := s.Lately()
	if len(list) != 1 || list[0].Topic != topics["busy"] {
		t.Fatalf("%d topics, want the busy one alone", len(list))
	}
	if !end.Equal(start.Add(20 * time.Second)) {
		t.Errorf("the last value is of %s after the start, want 20 s", end.Sub(start))
	}
	want := []float64{0, 0, 0, 1.5, 3}
	if len(list[0].In) != len(want) {
		t.Fatalf("%v, want %v", list[0].In, want)
	}
	for i := range want {
		if math.Abs(list[0].In[i]-want[i]) > 0.001 {
			t.Errorf("%v, want %v", list[0].In, want)
		}
	}
	// No more than five minutes; then it is forgotten.
	for range 300 {
		second(0)
	}
	list, _ = s.Lately()
	if len(list) != 1 || len(list[0].In) != latelyKept || list[0].In[0] != 1.5 || list[0].In[1] != 0 {
		t.Fatalf("%v, want 60 values, the first of five minutes ago", list)
	}
	for range 10 {
		second(0)
	}
	if list, _ = s.Lately(); len(list) != 0 {
		t.Errorf("%v is kept, want nothing", list)
	}
}
