package crashtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/zbus"
)

// A group that turns thousands of messages into dead letters, and is then removed, does not hold up the acks
// of other groups.
func TestAcksDuringDeadLetters(t *testing.T) {
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
		Test: "dead-letters", Fault: "another group makes dead letters of 10,000 messages, each at its first delivery",
		Promise: "the p99 of an ack is at most twice that beside a group that acks them, plus 50 ms, and each message has its dead letter", Runs: rounds,
	}
	var p99 contrast
	var took []time.Duration
	for n := range rounds {
		beside := func(name string, outcome error) (p99, lasted time.Duration) {
			topic, over := fmt.Sprintf("%s-%d", name, n), make(chan error, 1)
			p.publishPoison(topic, 10_000)
			began := time.Now()
			go func() { over <- handle(t.Context(), p.address, topic, 10_000, outcome) }()
			p99 = a.p99(func(acks int) bool {
				select {
				case err := <-over:
					if err != nil {
						t.Fatal(err)
					}
					lasted = time.Since(began)
				default:
				}
				return lasted == 0 || acks < 30
			})
			return p99, lasted
		}
		without, _ := beside("Acked", nil)
		with, lasted := beside("Dead", errors.New("poison"))
		p99.without, p99.with, took = append(p99.without, without), append(p99.with, with), append(took, lasted)
	}
	p99.judge(f)
	f.Add("dead letters of 10,000 ms", milliseconds(median(took)))
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
		if _, err := a.client.Publish(a.t.Context(), "Acked", zbus.Message{Body: []byte("x")}); err != nil {
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

// publishPoison publishes messages that are not consumed yet.
func (p *process) publishPoison(topic string, messages int) {
	p.t.Helper()
	c := p.dial()
	defer c.Close()
	c.must(field(wire.HeaderCmd, wire.CmdDeclare), field(wire.HeaderTopic, topic))
	c.fill(topic, []byte("poison"), messages)
}

// handle has the only consumer of a topic handle all messages with an outcome, waits until
// they are acked or have their letters, and removes the group. It has a connection of its own.
func handle(ctx context.Context, address, topic string, messages int, outcome error) error {
	client, err := zbus.Dial(ctx, address, zbus.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	spec := &zbus.GroupSpec{Explicit: true, MaxDeliver: 1, AckWindow: 1000, Start: zbus.Earliest()}
	options := zbus.SubscribeOptions{Window: 1000, Concurrency: 100, Backoff: zbus.BackoffSteps(time.Millisecond), Declare: spec}
	consumer, err := client.Subscribe(ctx, topic, "g", options, func(context.Context, *zbus.Delivery) error { return outcome })
	if err != nil {
		return err
	}
	defer consumer.Close()
	for {
		g, err := client.QueryGroup(ctx, topic, "g")
		if err != nil {
			return err
		}
		done := g.Lag == 0 && g.InFlight == 0
		if outcome != nil {
			letters, err := lettersOf(ctx, client, topic)
			if err != nil || letters > int64(messages) {
				return fmt.Errorf("%d letters of %d messages, %w", letters, messages, err)
			}
			done = letters == int64(messages)
		}
		if done {
			return client.RemoveGroup(ctx, topic, "g")
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

// lettersOf is how many dead letters a topic has.
func lettersOf(ctx context.Context, client *zbus.Client, topic string) (int64, error) {
	dead, err := client.QueryTopic(ctx, topic+".dead")
	if errors.Is(err, zbus.ErrNotFound) { // none yet
		return 0, nil
	}
	return dead.Messages, err
}
