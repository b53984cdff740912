package broker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/access"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

var errCrash = errors.New("the process is gone")

// rig is a running broker on a SQLite file, or another engine. It lives in a synctest bubble: time
// passes only while the test sleeps, and synctest.Wait returns when all goroutines,
// the disk included, have nothing more to do.
type rig struct {
	bubbles.T
	path   string
	engine func() (storage.Store, error) // opens the store; nil: SQLite at path
	opts   Options
	store  *storetest.Faulty
	b      *Broker
	broker *bubbles.Running
}

// inBubble runs a test of a broker on a new file.
func inBubble(t *testing.T, opts Options, test func(r *rig)) {
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
	open := r.engine
	if open == nil {
		open = func() (storage.Store, error) {
			return sqlite.Open(context.Background(), sqlite.Options{Path: r.path, Durability: sqlite.Relaxed})
		}
	}
	store, err := open()
	if err != nil {
		r.Fatal(err)
	}
	r.store = storetest.NewFaulty(store, nil)
	w := storage.NewWriter(r.store, storage.WriterLimits{Upkeep: 2 * time.Second})
	if r.b, err = Open(context.Background(), r.opts, Storage{r.store, w}); err != nil {
		r.Fatal(err)
	}
	r.broker = bubbles.Run(r.b.Run)
}

// close stops the broker gracefully.
func (r *rig) close() {
	if err := errors.Join(r.broker.End(), r.store.Close()); err != nil {
		r.Errorf("stop: %v", err)
	}
}

// crash loses everything that is not stored now and opens what is left.
func (r *rig) crash() {
	r.Helper()
	r.store.Break(errCrash)
	_ = r.broker.End()
	if err := r.store.Close(); err != nil {
		r.Fatal(err)
	}
	r.open()
}

// topic declares one.
func (r *rig) topic(name string, kind storage.Kind, retention storage.Retention) *Topic {
	r.Helper()
	t, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: name, Kind: kind, Retention: LimitsOf(retention)})
	if err != nil {
		r.Fatal(err)
	}
	return t
}

// group declares one.
func (r *rig) group(spec GroupSpec) *Group {
	r.Helper()
	g, _, err := r.b.declareGroup(context.Background(), spec)
	if err != nil {
		r.Fatal(err)
	}
	return g
}

// publish stores messages and waits until nothing moves.
func (r *rig) publish(t *Topic, recs ...storage.Record) []publication {
	r.Helper()
	answered := false
	p := r.b.NewPublishing(func() { answered = true })
	for _, rec := range recs {
		p.Add(Message{Topic: t, Record: rec, Call: t.Calls()})
	}
	_ = p.Publish(context.Background())
	synctest.Wait()
	if !answered {
		r.Fatal("a publish was not answered")
	}
	answer := make([]publication, len(recs))
	for i := range recs {
		if _, answer[i].Err = p.Result(i); answer[i].Err == nil {
			answer[i].Record = p.parts[p.items[i].part].op.Records[p.items[i].rec]
		}
	}
	return answer
}

// publication is what became of one message.
type publication struct {
	Record storage.Record
	Err    error
}

// mustPublish stores messages with the given tags.
func (r *rig) mustPublish(t *Topic, tags ...string) {
	r.Helper()
	recs := make([]storage.Record, len(tags))
	for i, tag := range tags {
		recs[i].Tag = tag
	}
	for _, p := range r.publish(t, recs...) {
		if p.Err != nil {
			r.Fatal(p.Err)
		}
	}
}

// subscribe adds a consumer.
func (r *rig) subscribe(g *Group, session string) *consumer {
	r.Helper()
	c := &consumer{session: session}
	sub, err := g.Subscribe(c)
	if err != nil {
		r.Fatal(err)
	}
	c.sub = sub
	return c
}

// consumer is a Sink that keeps what it is given and reports nothing by itself,
// unless it is eager: then it takes every batch at once.
type consumer struct {
	session string
	sub     *Subscription
	eager   bool          // set before credit is given
	hold    chan struct{} // set before credit is given: sending takes until it is closed

	mu    sync.Mutex
	got   []*Batch
	times []time.Time // of got
	ended bool
}

func (c *consumer) Name() string    { return "consumer-" + c.session }
func (c *consumer) Session() string { return c.session }

func (c *consumer) Provides() {}

func (c *consumer) Deliver(b *Batch) {
	c.mu.Lock()
	c.got = append(c.got, b)
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	if c.eager {
		b.Done(len(b.Items))
	}
}

func (c *consumer) Flush() {
	if c.hold != nil {
		<-c.hold
	}
}

func (c *consumer) Ended(*Subscription) {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
}

// take gives credit, waits until nothing moves, and returns what came.
func (c *consumer) take(credit int64) (batches []*Batch) {
	c.sub.SetCredit("take", credit)
	synctest.Wait()
	return c.drain()
}

func (c *consumer) drain() []*Batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	batches := c.got
	c.got, c.times = nil, nil
	return batches
}

// offsets lists what batches carry, with the count of each delivery.
func offsets(batches []*Batch) (list []int64, counts []int64) {
	for _, b := range batches {
		for _, item := range b.Items {
			list = append(list, item.Record.Offset)
			counts = append(counts, item.Count)
		}
	}
	return list, counts
}

// settle acks one delivery and returns the answer.
func (g *Group) ackNow(offset int64, handle string) error {
	answer := errors.New("not answered")
	g.Ack(offset, handle, func(err error) { answer = err })
	synctest.Wait()
	return answer
}

// nackNow gives one delivery back and returns the answer.
func (g *Group) nackNow(offset int64, handle string, delay int64) error {
	answer := errors.New("not answered")
	g.Nack(offset, handle, Return{Delay: delay, Cause: "test"}, func(err error) { answer = err })
	synctest.Wait()
	return answer
}

func at(offset int64) Position { return Position{At: AtOffset, Offset: offset} }

// unsettled is how many messages the group has still to settle.
func (g *Group) unsettled() (n int64) {
	at, filter := g.Position()
	_, _, _ = g.t.Scan(context.Background(), Scan{From: at.Cursor, To: g.t.Next(), Brief: true}, func(r *storage.Record) bool {
		if (r.Damaged() || filter.Match(r.Tag)) && !at.Settled.Has(r.Offset) {
			n++
		}
		return true
	})
	return n
}

func ptr[T any](v T) *T { return &v }

// named is an actor with a name.
func named(name string) storage.Actor { return storage.Actor{Name: name} }

// caller may do everything under a name.
type caller string

func (c caller) Actor() storage.Actor                  { return named(string(c)) }
func (caller) Check(access.Verb, string, string) error { return nil }
func (caller) Anonymous() bool                         { return false }
func (caller) Quota() *access.Quota                    { return nil }
