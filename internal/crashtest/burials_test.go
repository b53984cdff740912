package crashtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/zbus"
)

// A group that buries thousands of messages, and is removed then, does not hold up the acks
// of other groups.
func TestAcksDuringBurials(t *testing.T) {
	rounds := faultreport.Scale(t, 2, 10)
	p := realBroker(t, "fsync")
	p.start()
	client, err := zbus.Dial(t.Context(), p.address, zbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a := ackers(t, client)
	f := &faultreport.Record{
		Test: "burials", Fault: "another group buries 10,000 messages, each at its first delivery",
		Promise: "the p99 of an ack is at most twice as long plus 50 ms, and each message has its dead letter", Runs: rounds,
	}
	var p99 contrast
	var took []time.Duration
	for n := range rounds {
		p99.without = append(p99.without, a.p99(func(acks int) bool { return acks < 300 }))
		buried, began := make(chan error, 1), time.Now()
		go func() { buried <- bury(t.Context(), client, fmt.Sprintf("Graves-%d", n), 10_000) }()
		done := false
		p99.with = append(p99.with, a.p99(func(acks int) bool {
			select {
			case err := <-buried:
				if err != nil {
					t.Fatal(err)
				}
				took, done = append(took, time.Since(began)), true
			default:
			}
			return !done || acks < 100
		}))
	}
	p99.judge(f)
	f.Add("burial of 10,000 ms", milliseconds(median(took)))
	f.Save(t)
	p.terminate()
}

// acker publishes messages to an explicit group and acks them, one at a time.
type acker struct {
	t      *testing.T
	client *zbus.Client
	taken  chan *zbus.Delivery
}

func ackers(t *testing.T, client *zbus.Client) *acker {
	t.Helper()
	a := &acker{t: t, client: client, taken: make(chan *zbus.Delivery, 1)}
	options := zbus.SubscribeOptions{Manual: true, Window: 1, Declare: &zbus.GroupSpec{Explicit: true}}
	if _, err := client.Subscribe(t.Context(), "Acked", "g", options, func(_ context.Context, d *zbus.Delivery) error {
		a.taken <- d
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return a
}

// p99 is how long acks take while more are wanted.
func (a *acker) p99(more func(acks int) bool) time.Duration {
	a.t.Helper()
	var times []time.Duration
	for more(len(times)) {
		if err := a.client.Publish(a.t.Context(), "Acked", zbus.Message{Body: []byte("x")}); err != nil {
			a.t.Fatal(err)
		}
		d := <-a.taken
		began := time.Now()
		if err := d.Ack(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[len(times)*99/100]
}

// bury publishes messages to a topic whose only consumer fails with all of them, waits for
// their letters, and removes the group.
func bury(ctx context.Context, client *zbus.Client, topic string, messages int) error {
	spec := &zbus.GroupSpec{Explicit: true, MaxDeliver: 1, AckWindow: 1000}
	options := zbus.SubscribeOptions{Window: 1000, Concurrency: 100, RetryDelay: time.Millisecond, Declare: spec}
	failing, err := client.Subscribe(ctx, topic, "g", options, func(context.Context, *zbus.Delivery) error { return errors.New("poison") })
	if err != nil {
		return err
	}
	defer failing.Close()
	all := make([]zbus.Message, messages)
	for i := range all {
		all[i].Body = []byte("poison")
	}
	if err := client.PublishBatch(ctx, topic, all); err != nil {
		return err
	}
	for {
		switch dead, err := client.QueryTopic(ctx, topic+".dead"); {
		case errors.Is(err, zbus.ErrNotFound): // no letter yet
		case err != nil:
			return err
		case dead.Messages > int64(messages):
			return fmt.Errorf("%d letters of %d messages", dead.Messages, messages)
		case dead.Messages == int64(messages):
			return client.RemoveGroup(ctx, topic, "g")
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}
