package broker

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"weak"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// chunkAt makes n records of 100 bytes each from an offset on.
func chunkAt(offset int64, n int) []storage.Record {
	chunk := make([]storage.Record, n)
	for i := range chunk {
		chunk[i] = storage.Record{Offset: offset + int64(i), Body: make([]byte, 100)}
	}
	return chunk
}

func TestTailIsTheEndOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tail tail
		first, next := int64(0), int64(0) // what the tail has
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "records")
				tail.push(chunkAt(next, n))
				next += int64(n)
			},
			"shift": func(t *rapid.T) {
				before := tail.bytes
				if cost := tail.shift(); tail.bytes != before-cost {
					t.Fatalf("a chunk of %d leaves %d of %d", cost, tail.bytes, before)
				}
				if len(tail.chunks) == 0 {
					first = next
				} else {
					first = tail.chunks[0][0].Offset
				}
			},
			"trim": func(t *rapid.T) {
				to := rapid.Int64Range(0, next).Draw(t, "to")
				before := tail.bytes
				if cost := tail.trim(to); tail.bytes != before-cost {
					t.Fatalf("trimming %d leaves %d of %d", cost, tail.bytes, before)
				}
				first = max(first, to)
			},
			"": func(t *rapid.T) {
				if want := (next - first) * (100 + recordOverhead); tail.bytes != want {
					t.Fatalf("%d bytes for %d to %d, want %d", tail.bytes, first, next, want)
				}
				for o := max(0, first-2); o < next+2; o++ {
					v := tail.view(o)
					if in := o >= first && o < next; in != (len(v) > 0) || in && v[0].Offset != o {
						t.Fatalf("view from %d of %d to %d: %d records", o, first, next, len(v))
					}
				}
			},
		})
	})
}

// tailTopic is a topic that is only a tail.
func tailTopic() *Topic { return newTopic(&shard{b: &Broker{}}, storage.Topic{}) }

func TestOldestMessagesOfAllTopicsLeaveTheTailFirst(t *testing.T) {
	const size = 10 * (100 + recordOverhead)
	a, b := tailTopic(), tailTopic()
	budget := tailBudget{limit: 3 * size}
	for i, topic := range []*Topic{a, b, a, b} {
		budget.push(topic, chunkAt(int64(i/2*10), 10))
	}
	if budget.used != 3*size || a.tail.bytes != size || b.tail.bytes != 2*size {
		t.Errorf("%d bytes in use, %d and %d in the tails", budget.used, a.tail.bytes, b.tail.bytes)
	}
	budget.push(b, chunkAt(20, 40)) // more than all there may be
	if budget.used != 0 || a.tail.bytes+b.tail.bytes != 0 {
		t.Errorf("%d bytes in use, %d and %d in the tails", budget.used, a.tail.bytes, b.tail.bytes)
	}
}

// A topic that is trimmed all the time never reaches the limit.
func TestTrimmedMessagesLeaveNothingInTheBudget(t *testing.T) {
	kept, trimmed := tailTopic(), tailTopic()
	budget := tailBudget{limit: 1 << 30}
	budget.push(kept, chunkAt(0, 1))
	const n = 100_000
	for i := range int64(n) {
		budget.push(trimmed, chunkAt(i, 1))
		budget.used -= trimmed.tail.trim(i + 1)
	}
	if len(budget.queue) > n/10 {
		t.Errorf("the budget remembers %d chunks, there is 1", len(budget.queue))
	}
	if budget.used != kept.tail.bytes {
		t.Errorf("%d bytes in use, there are %d", budget.used, kept.tail.bytes)
	}
	budget.limit = 0
	budget.push(trimmed, chunkAt(n, 1))
	if budget.used != 0 {
		t.Errorf("%d bytes in use after all had to go", budget.used)
	}
}

// What is kept of all topics keeps none of them that was removed, nor what they lead to.
func TestRemovedTopicIsLetGo(t *testing.T) {
	b, stop := benchBroker(t, sqlite.Relaxed)
	defer stop()
	ctx := context.Background()
	var topics []weak.Pointer[Topic]
	for i := range 20 {
		name := fmt.Sprint("t", i)
		topic, _, err := b.declareTopic(ctx, TopicSpec{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, weak.Make(topic))
		if _, err := b.System().Store(ctx, []Message{{Topic: topic, Record: storage.Record{Body: []byte("body")}}}); err != nil {
			t.Fatal(err)
		}
		if err := b.removeTopic(ctx, name, "", named("ann")); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	left := 0
	for _, topic := range topics {
		if topic.Value() != nil {
			left++
		}
	}
	if left > 2 { // some locals may hold the last ones
		t.Errorf("%d of %d removed topics are still in memory", left, len(topics))
	}
}
