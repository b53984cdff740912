package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// taker is a consumer that takes everything at once and always asks for more.
type taker struct {
	sub  *Subscription
	left *atomic.Int64 // deliveries of all takers still to come
	done chan<- struct{}
}

func (*taker) Name() string        { return "taker" }
func (*taker) Session() string     { return "taker" }
func (*taker) Ended(*Subscription) {}
func (*taker) Flush()              {}

func (c *taker) Deliver(b *Batch) {
	n := len(b.Items)
	b.Done(n)
	if c.left.Add(-int64(n)) == 0 {
		c.done <- struct{}{}
	}
	if b.Items[n-1].Credit < 32 {
		c.sub.SetCredit("more", 64)
	}
}

// BenchmarkDelivery publishes batches of 64 messages, from a publisher that waits
// for each batch, until every group has had them. An op is a batch.
func BenchmarkDelivery(b *testing.B) {
	for _, groups := range []int{0, 1, 4, 100} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) { benchmarkGroups(b, groups, 0) })
	}
}

// benchBroker runs a broker on a new file, until stop is called.
func benchBroker(b testing.TB, durability sqlite.Durability) (broker *Broker, stop func()) {
	store, err := sqlite.Open(context.Background(), sqlite.Options{Path: filepath.Join(b.TempDir(), "zbus.db"), Durability: durability})
	if err != nil {
		b.Fatal(err)
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	if broker, err = Open(context.Background(), Options{}, Storage{store, w}); err != nil {
		b.Fatal(err)
	}
	running := bubbles.Run(broker.Run)
	return broker, func() {
		if err := errors.Join(running.End(), store.Close()); err != nil {
			b.Error(err)
		}
	}
}

func benchmarkGroups(b *testing.B, groups int, settle storage.Settle) {
	broker, stop := benchBroker(b, sqlite.Relaxed)
	topic, _, err := broker.declareTopic(context.Background(), TopicSpec{Name: "t"})
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	done := make(chan struct{}, 1)
	for i := range groups {
		g, _, err := broker.declareGroup(context.Background(), GroupSpec{Topic: "t", Name: fmt.Sprint("g", i), Settle: &settle})
		if err != nil {
			b.Fatal(err)
		}
		c := &taker{left: &left, done: done}
		var sink Sink = c
		if settle == storage.SettleExplicit {
			sink = &acker{c, g}
		}
		if c.sub, err = g.Subscribe(sink); err != nil {
			b.Fatal(err)
		}
		c.sub.SetCredit("first", 64)
	}
	answered := make(chan struct{}, 1)
	p := broker.NewPublishing(func() { answered <- struct{}{} })
	body := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		left.Store(int64(64 * groups))
		for i := range 64 {
			p.Add(Message{Topic: topic, Record: storage.Record{ID: "0123", Headers: `{"sender":"x"}`, Body: body}, More: (63 - i) * 300})
		}
		_ = p.Publish(context.Background())
		<-answered
		if groups > 0 {
			<-done
		}
		p.Reset()
	}
	b.ReportMetric(float64(b.N*64*max(groups, 1))/b.Elapsed().Seconds(), "messages/s")
	stop()
}

// acker is a consumer that takes everything at once and acks it.
type acker struct {
	*taker
	g *Group
}

func (c *acker) Deliver(b *Batch) {
	n := len(b.Items)
	b.Done(n)
	for i := range b.Items {
		c.g.Ack(b.Items[i].Record.Offset, b.Handle(i), func(error) {
			if c.left.Add(-1) == 0 {
				c.done <- struct{}{}
			}
		})
	}
	if b.Items[n-1].Credit < 512 {
		c.sub.SetCredit("more", 1024)
	}
}

// BenchmarkAck is BenchmarkDelivery with explicit groups: a batch is over when every
// group has had the acks of its messages answered.
func BenchmarkAck(b *testing.B) {
	for _, groups := range []int{1, 10} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) { benchmarkGroups(b, groups, storage.SettleExplicit) })
	}
}
