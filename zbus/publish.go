package zbus

import (
	"context"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Receipt says where a message is that was published.
type Receipt struct {
	// Offset is that of the message in its topic, on the server that has stored it; -1 if
	// the server does not say.
	Offset int64
	// Time is when the message was stored, by the server's clock, in milliseconds; zero if the
	// server does not say.
	Time time.Time
	// Duplicate says that the topic knew the ID: nothing was stored, and Offset and Time are
	// those of the message that was stored with it before.
	Duplicate bool
}

// placed is a receipt as it is kept with a request.
type placed struct {
	offset, ms int64 // -1: not known
	duplicate  bool
}

// placeOfAnswer reads the answer to a publish.
func placeOfAnswer(m *wire.Message) placed {
	p := placed{offset: -1, ms: -1}
	for i := range m.Fields {
		switch f := &m.Fields[i]; f.Name {
		case wire.HeaderOffset:
			p.offset = number(f.Value, -1)
		case wire.HeaderDup:
			p.duplicate = f.Value == "true"
		}
	}
	p.ms = number(string(m.Body), -1)
	return p
}

// receipt is the outcome of a publish.
func (r *request) receipt(topic string) (Receipt, error) {
	if err := r.err("publish", topic); err != nil {
		return Receipt{}, err
	}
	got := Receipt{Offset: r.at.offset, Duplicate: r.at.duplicate}
	if r.at.ms >= 0 {
		got.Time = time.UnixMilli(r.at.ms)
	}
	return got, nil
}

// newPublish creates the request that stores a message, and what writes it.
func (c *Client) newPublish(topic string, m *Message) (*request, func(*frameWriter)) {
	r := c.newRequest(classPublish, lossUnknown)
	if c.opts.Retry && !m.AllowDuplicate {
		r.loss = lossRepeat
	}
	again := r.loss == lossRepeat
	return r, func(w *frameWriter) { w.publish(topic, m, again) }
}

// Publish stores a message in a topic, and returns where it is when it is stored, as durably
// as the server is set to. With any other outcome but ErrUnknownOutcome it is not stored:
// among them are ErrNotFound for a topic that is not there, ErrUnavailable and
// ErrFull. After ErrUnknownOutcome a message with an ID can be published again; see also
// Options.Retry.
//
// While there is no connection it waits for one, as long as ctx and Options.ReconnectTimeout
// allow; what had not been sent is sent then. Of several servers, one that has the topic stores the
// message.
func (c *Client) Publish(ctx context.Context, topic string, m Message) (Receipt, error) {
	if c.set != nil {
		return c.set.publish(ctx, nil, topic, m)
	}
	done, err := c.ready(ctx, topic, &m)
	if err != nil {
		return Receipt{}, err
	}
	r, encode := c.newPublish(topic, &m)
	c.do(ctx, r, wire.CmdProduce, encode)
	receipt, err := r.receipt(topic)
	c.recycle(r)
	if done != nil {
		done(receipt, err)
	}
	return receipt, err
}

// ready has middleware see a message, and refuses one that would not arrive as it is. done, if it
// is not nil, is to have the outcome.
func (c *Client) ready(ctx context.Context, topic string, m *Message) (done func(Receipt, error), err error) {
	if done, err = around(c.opts.Middleware).publish(ctx, topic, m); err != nil {
		return nil, err
	}
	if err = m.check("publish", topic); err != nil && done != nil {
		done(Receipt{}, err)
	}
	return done, err
}

// Future is the outcome of a message that was given to [Client.PublishAsync]. Any number of
// goroutines may use it.
type Future struct {
	c       *Client
	topic   string
	done    chan struct{}
	told    func(Receipt, error) // by middleware, which is to have the outcome; may be nil
	receipt Receipt              // set before done is closed, as is err
	err     error
}

// Done is closed when the outcome is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait waits for the outcome and returns it, which is what [Client.Publish] would return.
// When ctx ends first, its cause is returned; the message may be stored yet, and the outcome
// can be waited for again.
func (f *Future) Wait(ctx context.Context) (Receipt, error) {
	select {
	case <-f.done:
		return f.receipt, f.err
	default:
	}
	select {
	case <-f.done:
		return f.receipt, f.err
	case <-ctx.Done():
		return Receipt{}, context.Cause(ctx)
	}
}

// settled is part of sink.
func (f *Future) settled(r *request) {
	receipt, err := r.receipt(f.topic)
	f.c.recycle(r)
	f.end(receipt, err)
}

// end gives the future its outcome.
func (f *Future) end(receipt Receipt, err error) {
	f.receipt, f.err = receipt, err
	if f.told != nil {
		f.told(receipt, err)
	}
	close(f.done)
}

// PublishAsync queues a message and returns without waiting for its outcome. Messages
// published by one goroutine are stored in order. ctx bounds only the wait for room in the
// queue: see Options.MaxPending. The message may be changed when PublishAsync has returned.
// One that can't be queued has its outcome at once. With several servers those in order are the messages
// that go to one of them, as those of one key do while its server stays the same, also when they have waited for it.
// Options.MaxPending is for all servers together.
func (c *Client) PublishAsync(ctx context.Context, topic string, m Message) *Future {
	if c.set != nil {
		return c.set.publishAsync(ctx, topic, m)
	}
	f := &Future{c: c, topic: topic, done: make(chan struct{})}
	told, err := c.ready(ctx, topic, &m)
	if err != nil {
		f.end(Receipt{}, err)
		return f
	}
	f.told = told
	r, encode := c.newPublish(topic, &m)
	r.sink = f
	if fail := c.submit(ctx, r, wire.CmdProduce, encode); fail != nil {
		f.end(Receipt{}, fail.error("publish", topic))
	}
	return f
}

// PublishBatch stores messages in a topic, in order, and returns where each is when all of
// them are stored. Otherwise the error is a [*BatchError] that says of each what became of
// it: others may be stored, and have their receipts. The batch is written at once, as far as
// there is room in the queue. With several servers it is one batch for each of those that the messages go
// to.
func (c *Client) PublishBatch(ctx context.Context, topic string, messages []Message) ([]Receipt, error) {
	if c.set != nil {
		return c.set.publishBatch(ctx, topic, messages)
	}
	b := &batch{
		c: c, topic: topic, requests: make([]*request, len(messages)), done: make(chan int, len(messages)),
		receipts: make([]Receipt, len(messages)), errs: make([]error, len(messages)),
	}
	waiting := b.submit(ctx, messages)
	for ended := ctx.Done(); waiting > 0; {
		select {
		case i := <-b.done:
			waiting--
			r := b.requests[i]
			b.requests[i] = nil
			receipt, err := r.receipt(topic)
			b.note(i, receipt, err)
			c.recycle(r)
		case <-ended:
			ended = nil
			waiting -= b.abandon(ctx)
		}
	}
	if b.failed {
		return b.receipts, &BatchError{Errs: b.errs}
	}
	return b.receipts, nil
}

// batch is the messages of one PublishBatch. All but settled are for the caller of that.
type batch struct {
	c        *Client
	topic    string
	requests []*request // nil once their outcome was taken
	done     chan int   // capacity: all of them
	receipts []Receipt
	errs     []error
	failed   bool
	told     []func(Receipt, error) // by middleware; nil without any
}

func (b *batch) settled(r *request) { b.done <- r.index }

// note takes the outcome of a message.
func (b *batch) note(i int, receipt Receipt, err error) {
	b.receipts[i], b.errs[i] = receipt, err
	b.failed = b.failed || err != nil
	if b.told != nil && b.told[i] != nil {
		b.told[i](receipt, err)
	}
}

// observe has middleware see all messages, and returns what they have become.
func (b *batch) observe(ctx context.Context, messages []Message) []Message {
	if len(b.c.opts.Middleware) == 0 {
		return messages
	}
	messages, b.told = slices.Clone(messages), make([]func(Receipt, error), len(messages))
	for i := range messages {
		b.told[i], b.errs[i] = around(b.c.opts.Middleware).publish(ctx, b.topic, &messages[i])
	}
	return messages
}

// submit queues all messages, and returns how many have an outcome later.
func (b *batch) submit(ctx context.Context, messages []Message) (waiting int) {
	c := b.c
	refused := make(map[int]error)
	messages = b.observe(ctx, messages)
	c.mu.Lock()
	for i := range messages {
		err := b.errs[i]
		if err == nil {
			err = messages[i].check("publish", b.topic)
		}
		if err == nil {
			err = b.put(ctx, i, &messages[i])
		}
		if err != nil {
			refused[i] = err
		} else {
			waiting++
		}
	}
	wake := waiting > 0 && c.wakeLocked()
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
	for i, err := range refused {
		b.note(i, Receipt{}, err)
	}
	return waiting
}

// put queues one message. Called with c.mu held.
func (b *batch) put(ctx context.Context, i int, m *Message) error {
	if ctx.Err() != nil {
		return stopped(ctx, false).error("publish", b.topic)
	}
	f := b.c.await(ctx)
	if f == nil {
		r, encode := b.c.newPublish(b.topic, m)
		r.sink, r.index = b, i
		if f = b.c.put(r, wire.CmdProduce, encode); f == nil {
			b.requests[i] = r
			return nil
		}
	}
	return f.error("publish", b.topic)
}

// abandon gives up what is under way, and returns how much that was.
func (b *batch) abandon(ctx context.Context) (n int) {
	for i, r := range b.requests {
		if r != nil && b.c.abandon(ctx, r) {
			b.requests[i] = nil
			b.note(i, Receipt{}, r.err("publish", b.topic))
			n++
		}
	}
	return n
}
