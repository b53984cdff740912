package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

func TestRetentionDropsTheOldest(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit storage.Retention
		want  int64 // the oldest of 10 messages of 100 bytes, one a second
	}{
		{"no limit", storage.Retention{}, 0},
		{"count", storage.Retention{MaxCount: 4}, 6},
		{"bytes", storage.Retention{MaxBytes: 350}, 7},
		{"bytes, exactly", storage.Retention{MaxBytes: 300}, 7},
		{"age", storage.Retention{MaxAge: 4500}, 6}, // looked at 1 s after the last message
		{"all at once", storage.Retention{MaxCount: 8, MaxBytes: 500, MaxAge: 1 << 40}, 5},
		{"nothing may stay", storage.Retention{MaxBytes: 1}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				topic := r.topic("orders", 0, storage.Retention{})
				for range 10 {
					time.Sleep(time.Second)
					r.publish(topic, storage.Record{Body: make([]byte, 100)})
				}
				r.topic("orders", 0, c.limit)
				time.Sleep(retentionInterval)
				synctest.Wait()
				if first := topic.First(); first != c.want {
					r.Errorf("the log begins at %d, want %d", first, c.want)
				}
				if def := topic.Definition(); def.Bytes != (10-c.want)*100 {
					r.Errorf("the topic has %d bytes, want %d", def.Bytes, (10-c.want)*100)
				}
				r.crash()
				topic, err := r.b.findTopic("orders")
				if err != nil {
					r.Fatal(err)
				}
				if def := topic.Definition(); def.First != c.want || def.Bytes != (10-c.want)*100 {
					r.Errorf("after a restart the log begins at %d with %d bytes", def.First, def.Bytes)
				}
			})
		})
	}
}

// While no message expires, nothing is read for it: with thousands of idle topics that
// was a third of a second of work each second.
func TestRetentionReadsNothingUntilAMessageExpires(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{MaxAge: 60_000})
		r.mustPublish(topic, "first")
		time.Sleep(30 * time.Second)
		r.mustPublish(topic, "second")
		before := r.store.Reads()
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if reads := r.store.Reads() - before; reads != 0 {
			r.Errorf("%d reads in 29 seconds in which nothing expired, want 0", reads)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if first := topic.First(); first != 1 {
			r.Errorf("after 62 seconds the log begins at %d, want 1", first)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if first := topic.First(); first != 2 {
			r.Errorf("after 92 seconds the log begins at %d, want 2", first)
		}
	})
}

func TestConsumerGoesOnBehindWhatWasDropped(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders"})
		r.mustPublish(topic, make([]string, 3000)...) // more than one step of trimming
		r.topic("orders", 0, storage.Retention{MaxCount: 2})
		time.Sleep(retentionInterval)
		synctest.Wait()
		list, _ := offsets(r.subscribe(g, "c").take(10))
		if len(list) != 2 || list[0] != 2998 || list[1] != 2999 {
			r.Errorf("delivered %d, want 2998 and 2999", list)
		}
	})
}
