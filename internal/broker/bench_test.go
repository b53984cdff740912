package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

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
func (*taker) Transmit()           {}

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
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) { benchmarkDelivery(b, groups) })
	}
}

func benchmarkDelivery(b *testing.B, groups int) {
	store, err := sqlite.Open(context.Background(), sqlite.Options{
		Path: filepath.Join(b.TempDir(), "zbus.db"), Durability: sqlite.Relaxed,
	})
	if err != nil {
		b.Fatal(err)
	}
	w := storage.NewWriter(store, storage.WriterLimits{})
	writer := run(w.Run)
	broker, err := Open(context.Background(), store, w, Options{})
	if err != nil {
		b.Fatal(err)
	}
	brokerage := run(broker.Run)
	topic, _, err := broker.DeclareTopic(context.Background(), TopicSpec{Name: "t"})
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	done := make(chan struct{}, 1)
	for i := range groups {
		g, _, err := broker.DeclareGroup(context.Background(), GroupSpec{Topic: "t", Name: fmt.Sprint("g", i)})
		if err != nil {
			b.Fatal(err)
		}
		c := &taker{left: &left, done: done}
		if c.sub, err = g.Subscribe(c); err != nil {
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
			p.Add(topic, storage.Record{ID: "0123", Headers: `{"sender":"x"}`, Body: body}, false, (63-i)*300)
		}
		p.Publish()
		<-answered
		if groups > 0 {
			<-done
		}
		p.Reset()
	}
	b.ReportMetric(float64(b.N*64*max(groups, 1))/b.Elapsed().Seconds(), "messages/s")
	for _, end := range []func() error{brokerage.end, writer.end, store.Close} {
		if err := end(); err != nil {
			b.Fatal(err)
		}
	}
}
