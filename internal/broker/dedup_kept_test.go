package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// kept is how many ids of dropped messages are stored.
func (r *rig) kept() (n int) {
	r.Helper()
	state, err := r.store.Load(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	for _, k := range state.Kept {
		n += len(k.IDs)
	}
	return n
}

// duplicates stores messages and compares the offsets of those that were there.
func (r *rig) duplicates(topic *Topic, want map[string]int64) {
	r.Helper()
	for id, offset := range want {
		list, err := r.b.System().Store(context.Background(), given(topic, id))
		if err != nil {
			r.Fatal(err)
		}
		if s := list[0]; s.Duplicate != (offset >= 0) || s.Duplicate && s.Offset != offset {
			r.Errorf("id %q: %+v, want a duplicate of %d", id, s, offset)
		}
	}
}

// The ids of dropped messages are known for the window, on both sides of a restart,
// and no longer.
func TestIDsOfDroppedMessagesAreKnownForTheWindow(t *testing.T) {
	drops := map[string]func(r *rig){
		"empty": func(r *rig) {
			if err := r.b.emptyTopic(context.Background(), "orders", "", named("ann")); err != nil {
				r.Fatal(err)
			}
		},
		"retention": func(r *rig) {
			r.topic("orders", 0, storage.Retention{MaxCount: 1})
			time.Sleep(2 * retentionInterval)
			r.topic("orders", 0, storage.Retention{})
		},
	}
	restarts := map[string]func(r *rig){
		"none":  func(*rig) {},
		"stop":  func(r *rig) { r.close(); r.open() },
		"crash": func(r *rig) { r.crash() },
	}
	for how, drop := range drops {
		for what, restart := range restarts {
			t.Run(how+"/"+what, func(t *testing.T) {
				known(t, func(r *rig, topic *Topic) {
					r.publish(topic, storage.Record{ID: "native", Headers: `{"sender":"c"}`})
					r.stores(given(topic, "a", "b"), 1, 2)
					time.Sleep(window / 2)
					r.stores(given(topic, "c", "last"), 3, 4)
					drop(r)
					synctest.Wait()
					if n := r.kept(); n < 3 || n > 4 {
						r.Errorf("%d ids are kept, want those of 3 or 4 messages", n)
					}
					restart(r)
					topic, err := r.b.findTopic("orders")
					if err != nil {
						r.Fatal(err)
					}
					r.duplicates(topic, map[string]int64{"a": 1, "b": 2, "c": 3, "last": 4, "native": -1})
					restart(r)
					time.Sleep(window/2 + 10*time.Second)
					if topic, err = r.b.findTopic("orders"); err != nil {
						r.Fatal(err)
					}
					r.duplicates(topic, map[string]int64{"b": -1})
					time.Sleep(2 * window)
					synctest.Wait()
					if n := r.kept(); n > 0 {
						r.Errorf("%d ids are kept beyond the window", n)
					}
				})
			})
		}
	}
}

// No more ids are kept than are known.
func TestKeptIDsAreBounded(t *testing.T) {
	known(t, func(r *rig, topic *Topic) {
		r.b.home().ids.most = 4
		r.topic("orders", 0, storage.Retention{MaxCount: 1})
		for i := range 40 {
			r.stores(given(topic, string(rune('a'+i))), int64(i))
			time.Sleep(retentionInterval)
		}
		synctest.Wait()
		if n := r.kept(); n > 6 {
			r.Errorf("%d ids are kept, 4 are known", n)
		}
	})
}

// A dead letter has the id of its message, which nobody gave to its topic.
func TestDeadLettersHaveNoKnownID(t *testing.T) {
	inBubble(t, Options{DedupWindow: window}, func(r *rig) {
		g := r.explicitGroup(0, 1)
		r.stores(given(g.t, "a"), 0)
		b := r.pull(g, 1)[0]
		if err := g.nackNow(0, b.Handle(0), 0); err != nil {
			r.Fatal(err)
		}
		time.Sleep(time.Second) // that it is settled is stored; else a second letter is
		synctest.Wait()
		r.crash()
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil {
			r.Fatal(err)
		}
		r.stores(given(dead, "a"), 1)
	})
}
