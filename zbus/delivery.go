package zbus

import (
	"context"
	"iter"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Delivery is a message that a subscription has got. Its fields may be read by any
// number of goroutines; Body is the delivery's own.
type Delivery struct {
	Topic  string // as the producer wrote it
	Group  string
	ID     string
	Key    string // of Message.Key
	Tag    string
	Body   []byte
	Offset int64     // of the message in its topic; -1 if the server does not say
	Time   time.Time // when the message was stored; zero if the server does not say
	// Attempt counts the deliveries of the message to the group, from 1.
	Attempt int
	// Sender identifies the connection that published the message, on the server.
	Sender string

	m      wire.Message // by reference only
	s      *Subscription
	epoch  uint64 // of the connection that it came by
	credit int    // the subscription had left after it
	handle string // proves to the server whose delivery it is
	done   atomic.Bool
	due    atomic.Int64 // when the ack timeout is over, since Client.began; 0: never

	// Guarded by Client.mu.
	ctx    context.Context         // of the handler; set before it runs
	cancel context.CancelCauseFunc // ends it, in explicit groups
	timer  *time.Timer             // does so in time, with NoExtend
	at     int                     // in Subscription.running
	lost   bool                    // it is no longer the client's

	next chan struct{} // of a cluster's messages: closed when it asks for the next one
}

// read takes what a delivery is from its message, which has come.
func (d *Delivery) read() {
	d.Body, d.Offset, d.Attempt = d.m.Body, -1, 1
	for i := range d.m.Fields {
		f := &d.m.Fields[i]
		switch f.Name {
		case wire.HeaderTopic:
			d.Topic = f.Value
		case wire.HeaderOriginID:
			d.ID = f.Value
		case headerKey:
			d.Key = f.Value
		case wire.HeaderTag:
			d.Tag = f.Value
		case wire.HeaderSender:
			d.Sender = f.Value
		case wire.HeaderHandle:
			d.handle = f.Value
		case wire.HeaderOffset:
			d.Offset = number(f.Value, -1)
		case wire.HeaderTimestamp:
			if ms := number(f.Value, -1); ms >= 0 {
				d.Time = time.UnixMilli(ms)
			}
		case wire.HeaderDeliveryCount:
			d.Attempt = int(number(f.Value, 1))
		case wire.HeaderRetry: // of older servers: how often it came before
			d.Attempt = int(number(f.Value, 0)) + 1
		case wire.HeaderWindow:
			d.credit = int(number(f.Value, 0))
		}
	}
}

func number(text string, otherwise int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// Header returns the value of a header that was published with the message, or "".
// The name is in lower case.
func (d *Delivery) Header(name string) string { return d.m.Get(name) }

// Headers ranges over the headers that were published with the message, without
// those of the delivery.
func (d *Delivery) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range d.m.Fields {
			if !wire.Private(f.Name) && !yield(f.Name, f.Value) {
				return
			}
		}
	}
}

// Explicit reports whether the message has to be settled: its group is an explicit
// one. In the others a message is consumed by being delivered, and Ack and Nack do
// nothing.
func (d *Delivery) Explicit() bool { return d.s.explicit }

// Ack settles the message for good and returns when that is stored. Of several
// calls of Ack and Nack only the first counts; the others return nil at once. An error
// that is ErrConflict says that the delivery is no longer this one's: the
// connection was lost, it took longer than the group's ack timeout, or the group was
// moved. The message comes again then, perhaps to others.
func (d *Delivery) Ack(ctx context.Context) error {
	return d.settle(ctx, "ack", wire.CmdAck, redelivery{})
}

// Nack gives the message back, to be delivered again after the delay, at most a week. The reason
// is for people, up to 500 bytes of it, and may be empty: should this have been the last attempt,
// it is on the dead letter as the header dead-cause. For the rest it is like Ack.
func (d *Delivery) Nack(ctx context.Context, reason string, delay time.Duration) error {
	return d.settle(ctx, "nack", wire.CmdNack, redelivery{delay: delay, reason: reason})
}

// DeadLetter makes the message a dead letter of its group: it is not delivered again. The reason
// goes with it, in the header dead-cause, up to 500 bytes. The group needs a limit of deliveries
// ([GroupSpec].MaxDeliver), or it is ErrInvalid. For the rest it is like Ack.
func (d *Delivery) DeadLetter(ctx context.Context, reason string) error {
	return d.settle(ctx, "dead-letter", wire.CmdNack, redelivery{reason: reason, dead: true})
}

// redelivery is how a message is given back. The zero value says nothing, as of an ack.
type redelivery struct {
	delay  time.Duration
	reason string
	dead   bool
}

func (d *Delivery) settle(ctx context.Context, op, cmd string, how redelivery) error {
	if !d.Explicit() || d.done.Swap(true) {
		return nil
	}
	c := d.s.c
	r := c.newRequest(classRequest, lossBound)
	r.epoch = d.epoch
	c.do(ctx, r, cmd, func(w *frameWriter) { d.encode(w, how) })
	err := r.err(op, d.s.target())
	c.recycle(r)
	return err
}

// settleLater is settle without an answer: one comes only if the message is not the
// subscription's, and is logged. Called with Client.mu held.
func (d *Delivery) settleLater(cmd string, how redelivery) {
	if !d.Explicit() || d.done.Swap(true) {
		return
	}
	c := d.s.c
	if !c.connected || d.epoch != c.epoch {
		return // it comes again
	}
	if cmd == wire.CmdAck && d.handle != "" {
		c.ackLater(d)
		return
	}
	c.number++
	c.post(cmd, c.epoch, func(w *frameWriter) {
		w.id(c.prefix, classSettle, c.number)
		w.dst = append(w.dst, "ack: false\r\n"...)
		d.encode(w, how)
	})
}

func (d *Delivery) encode(w *frameWriter, how redelivery) {
	w.field(wire.HeaderTopic, d.s.topic)
	w.field(wire.HeaderConsumeGroup, d.s.group)
	w.int(wire.HeaderOffset, d.Offset)
	if d.handle != "" {
		w.field(wire.HeaderHandle, d.handle)
	}
	if how.delay > 0 {
		w.int(wire.HeaderDelay, max(1, how.delay.Milliseconds()))
	}
	if how.reason != "" {
		w.field(wire.HeaderReason, oneLine(how.reason))
	}
	if how.dead {
		w.field(wire.HeaderDead, "true")
	}
	w.body(nil)
}
