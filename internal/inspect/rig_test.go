package inspect

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// dropsWithin is how long retention takes at most to drop what is over a limit.
const dropsWithin = 2 * time.Second

// rig is a running broker on a SQLite file, as those see it who read its logs. It lives in a
// synctest bubble.
type rig struct {
	bubbles.T
	path    string
	opts    broker.Options
	limit   int64 // of plans
	store   *storetest.Faulty
	b       *broker.Broker
	v       broker.View
	plans   *Plans
	running *bubbles.Running
}

// inBubble runs a test of a broker on a new file.
func inBubble(t *testing.T, opts broker.Options, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, path: t.TempDir() + "/zbus.db", opts: opts}
		r.open()
		defer func() { r.close() }()
		test(r)
	})
}

func (r *rig) open() {
	r.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Options{Path: r.path, Durability: sqlite.Relaxed})
	if err != nil {
		r.Fatal(err)
	}
	r.store = storetest.NewFaulty(store, nil)
	if r.b, err = broker.Open(context.Background(), r.opts, broker.Storage{Reader: r.store, Committer: storage.NewWriter(r.store, storage.WriterLimits{Upkeep: 2 * time.Second})}); err != nil {
		r.Fatal(err)
	}
	r.running = bubbles.Run(r.b.Run)
	r.v, r.plans = r.b.As(ann{}, access.Admin), NewPlans(r.b, r.limit)
}

func (r *rig) close() {
	if err := errors.Join(r.running.End(), r.store.Close()); err != nil {
		r.Errorf("stop: %v", err)
	}
}

// crash loses everything that is not stored now and opens what is left.
func (r *rig) crash() {
	r.Helper()
	r.store.Break(errors.New("the process is gone"))
	_ = r.running.End()
	if err := r.store.Close(); err != nil {
		r.Fatal(err)
	}
	r.open()
}

// topic declares one.
func (r *rig) topic(name string, kind storage.Kind, retention storage.Retention) *broker.Topic {
	r.Helper()
	t, _, err := r.v.DeclareTopic(context.Background(), broker.TopicSpec{Name: name, Kind: kind, Retention: broker.LimitsOf(retention)})
	if err != nil {
		r.Fatal(err)
	}
	return t
}

// group declares one.
func (r *rig) group(spec broker.GroupSpec) *broker.Group {
	r.Helper()
	g, _, err := r.v.DeclareGroup(context.Background(), spec)
	if err != nil {
		r.Fatal(err)
	}
	return g
}

// explicitGroup declares a topic of n messages and a group that acks them.
func (r *rig) explicitGroup(n int) *broker.Group {
	r.Helper()
	t := r.topic("orders", 0, storage.Retention{})
	g := r.group(broker.GroupSpec{Topic: "orders", Settle: new(storage.SettleExplicit)})
	r.mustPublish(t, make([]string, n)...)
	return g
}

// again finds the group "orders" in a restarted broker.
func (r *rig) again() *broker.Group {
	r.Helper()
	g, err := r.v.Group("orders", "")
	if err != nil {
		r.Fatal(err)
	}
	return g
}

// publish stores messages in one commit, fills in where and when, and waits until nothing moves.
func (r *rig) publish(t *broker.Topic, recs ...storage.Record) {
	r.Helper()
	messages := make([]broker.Message, len(recs))
	for i, rec := range recs {
		messages[i] = broker.Message{Topic: t, Record: rec}
	}
	stored, err := r.v.Store(context.Background(), messages)
	if err != nil {
		r.Fatal(err)
	}
	for i, s := range stored {
		recs[i].Offset, recs[i].Time = s.Offset, s.Time
	}
	synctest.Wait()
}

// mustPublish stores messages with the given tags.
func (r *rig) mustPublish(t *broker.Topic, tags ...string) {
	r.Helper()
	recs := make([]storage.Record, len(tags))
	for i, tag := range tags {
		recs[i].Tag = tag
	}
	r.publish(t, recs...)
}

// move relocates a group.
func (r *rig) move(g *broker.Group, to broker.Position) (broker.Move, error) {
	return r.v.Relocate(context.Background(), g, to, "relocate", "")
}

// entries is the journal of a group, newest entry first.
func (r *rig) entries(g *broker.Group) []storage.JournalEntry {
	r.Helper()
	list, err := g.Journal(context.Background(), 0, 1000)
	if err != nil || len(list) == 0 {
		r.Fatalf("journal of %s: %d entries, %v", g.Name(), len(list), err)
	}
	return list
}

// revert undoes a journal entry.
func (r *rig) revert(e storage.JournalEntry) storage.JournalEntry {
	r.Helper()
	_, done, err := r.v.Revert(context.Background(), e.ID, "a mistake")
	if err != nil {
		r.Fatalf("revert of %+v: %v", e, err)
	}
	return done
}

// subscribe adds a consumer.
func (r *rig) subscribe(g *broker.Group, session string) *consumer {
	r.Helper()
	c := &consumer{session: session}
	sub, err := g.Subscribe(c)
	if err != nil {
		r.Fatal(err)
	}
	c.sub = sub
	return c
}

// consumer is a Sink that keeps what it is given. An eager one takes every batch at once.
type consumer struct {
	session string
	sub     *broker.Subscription
	eager   bool // set before credit is given

	mu    sync.Mutex
	got   []*broker.Batch
	ended bool
}

func (c *consumer) Name() string    { return "consumer-" + c.session }
func (c *consumer) Session() string { return c.session }
func (c *consumer) Flush()          {}

func (c *consumer) Deliver(b *broker.Batch) {
	c.mu.Lock()
	c.got = append(c.got, b)
	c.mu.Unlock()
	if c.eager {
		b.Done(len(b.Items))
	}
}

func (c *consumer) Ended(*broker.Subscription) {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
}

// take gives credit, waits until nothing moves, and returns what came.
func (c *consumer) take(credit int64) []*broker.Batch {
	c.sub.SetCredit("take", credit)
	synctest.Wait()
	return c.drain()
}

func (c *consumer) drain() []*broker.Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	batches := c.got
	c.got = nil
	return batches
}

// offsets lists what batches carry, with the count of each delivery.
func offsets(batches []*broker.Batch) (list []int64, counts []int64) {
	for _, b := range batches {
		for _, item := range b.Items {
			list, counts = append(list, item.Record.Offset), append(counts, item.Count)
		}
	}
	return list, counts
}

// ackNow acks one delivery and returns the answer.
func ackNow(g *broker.Group, offset int64, handle string) error {
	answer := errors.New("not answered")
	g.Ack(offset, handle, func(err error) { answer = err })
	synctest.Wait()
	return answer
}

// nackNow gives one delivery back and returns the answer.
func nackNow(g *broker.Group, offset int64, handle string, delay int64) error {
	answer := errors.New("not answered")
	g.Nack(offset, handle, broker.Return{Delay: delay, Cause: "test"}, func(err error) { answer = err })
	synctest.Wait()
	return answer
}

func ptr[T any](v T) *T { return &v }

// ann may do everything.
type ann struct{}

func (ann) Actor() storage.Actor                    { return storage.Actor{Name: "ann"} }
func (ann) Check(access.Verb, string, string) error { return nil }
func (ann) Anonymous() bool                         { return false }
func (ann) Quota() *access.Quota                    { return nil }
