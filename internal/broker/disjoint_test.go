package broker

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// What concerns different topics does not wait for one another's commits: it shares them.
func TestChangesOfDifferentTopicsShareCommits(t *testing.T) {
	const topics = 16
	for _, c := range []struct {
		name string
		do   func(r *rig, g *Group) error
	}{
		{"transactions", func(r *rig, g *Group) error {
			_, _, err := r.b.transact(context.Background(), Transaction{
				Messages: []Message{{Topic: g.t, Record: storage.Record{Body: []byte("a")}}},
				Moves:    []GroupMove{{g, at(1), "test"}},
			})
			return err
		}},
		{"relocations", func(_ *rig, g *Group) error {
			_, err := g.relocate(context.Background(), at(1), "relocate", named("ann"), "test")
			return err
		}},
		{"declarations", func(r *rig, g *Group) error {
			_, _, err := r.b.declareGroup(context.Background(), GroupSpec{Topic: g.t.name, Name: "second"})
			return err
		}},
		{"removals", func(r *rig, g *Group) error {
			return r.b.removeGroup(context.Background(), g.t.name, g.name, "", named("ann"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Options{}, func(r *rig) {
				var groups []*Group
				for i := range topics {
					name := fmt.Sprintf("t%d", i)
					r.mustPublish(r.topic(name, 0, storage.Retention{}), "a", "b")
					groups = append(groups, r.group(GroupSpec{Topic: name, Name: "g"}))
				}
				synctest.Wait()
				before, release := len(r.store.Commits()), r.store.HoldSync()
				var wg sync.WaitGroup
				for _, g := range groups {
					wg.Go(func() {
						if err := c.do(r, g); err != nil {
							r.Errorf("%s: %v", g.t.name, err)
						}
					})
				}
				for range 5000 { // they have come as far as they can, be it a lock
					runtime.Gosched()
				}
				close(release)
				wg.Wait()
				synctest.Wait()
				if n := len(r.store.Commits()) - before; n > topics/2 {
					r.Errorf("%d changes of different topics took %d commits, want few", topics, n)
				}
			})
		})
	}
}

// A group whose topic is being removed is gone with it: to remove it then finds nothing.
func TestGroupOfATopicThatIsBeingRemovedIsNotRemovedTwice(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("orders", 0, storage.Retention{})
		r.group(GroupSpec{Topic: "orders", Name: "g"})
		synctest.Wait()
		release := r.store.HoldSync()
		topic, group := make(chan error, 1), make(chan error, 1)
		go func() { topic <- r.b.removeTopic(context.Background(), "orders", "", named("ann")) }()
		synctest.Wait()
		go func() { group <- r.b.removeGroup(context.Background(), "orders", "g", "", named("ann")) }()
		for range 5000 { // it has come as far as it can
			runtime.Gosched()
		}
		close(release)
		if err := <-topic; err != nil {
			r.Error(err)
		}
		if err := <-group; CodeOf(err) != NotFound || err == nil {
			r.Errorf("the group was removed after its topic: %v, want not found", err)
		}
	})
}

// BenchmarkTransactions compares transactions of 16 workers, each on topics of its own,
// with their publishes alone.
func BenchmarkTransactions(b *testing.B) {
	for _, c := range []struct {
		name string
		do   func(*Broker, *Group) error
	}{
		{"publish", func(br *Broker, g *Group) error {
			_, err := br.System().Store(context.Background(), []Message{{Topic: g.t, Record: storage.Record{Body: []byte("a")}}})
			return err
		}},
		{"transaction", func(br *Broker, g *Group) error {
			_, _, err := br.transact(context.Background(), Transaction{
				Messages: []Message{{Topic: g.t, Record: storage.Record{Body: []byte("a")}}},
				Moves:    []GroupMove{{g, Position{At: AtLatest}, "test"}},
			})
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkWorkers(b, 16, c.do) })
	}
}

func benchmarkWorkers(b *testing.B, workers int, do func(*Broker, *Group) error) {
	broker, stop := benchBroker(b, sqlite.Fsync)
	var wg sync.WaitGroup
	for i := range workers {
		name := fmt.Sprintf("t%d", i)
		if _, _, err := broker.declareTopic(context.Background(), TopicSpec{Name: name}); err != nil {
			b.Fatal(err)
		}
		g, _, err := broker.declareGroup(context.Background(), GroupSpec{Topic: name})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			for range b.N / workers {
				if err := do(broker, g); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	stop()
}
