package zbus

import (
	"context"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Publish stores a message in a topic and returns nil when it is stored, as durably as
// the server is set to. With any other outcome but ErrUnknownOutcome it is not stored:
// among them are ErrNotFound for a topic that is not there, ErrUnavailable and
// ErrFull. After ErrUnknownOutcome a message with Dedup can be published again.
//
// While there is no connection it waits for one, as long as ctx and Options.MaxWait
// allow; what had not been sent is sent then.
func (c *Client) Publish(ctx context.Context, topic string, m Message) error {
	if err := m.check("publish", topic); err != nil {
		return err
	}
	r := c.newRequest(classPublish, lossUnknown)
	r.id = m.ID
	c.do(ctx, r, wire.CmdProduce, func(w *frameWriter) {
		w.message(topic, &m)
		w.body(m.Body)
	})
	err := r.err("publish", topic)
	c.recycle(r)
	return err
}

// PublishAsync queues a message and calls done, if not nil, with what Publish would
// return. It returns an error, and done is not called, if the message is not queued.
// ctx bounds only the wait for its turn: see Options.MaxPending.
//
// Messages published by one goroutine are stored in order. done is called by the
// client's reader and must not block; nothing is received until it returns. The message
// may be changed when PublishAsync has returned.
func (c *Client) PublishAsync(ctx context.Context, topic string, m Message, done func(error)) error {
	if err := m.check("publish", topic); err != nil {
		return err
	}
	r := c.newRequest(classPublish, lossUnknown)
	r.id = m.ID
	r.async, r.topic, r.report = c, topic, done
	if done == nil {
		r.report = c.logFailure
	}
	f := c.submit(ctx, r, wire.CmdProduce, func(w *frameWriter) {
		w.message(topic, &m)
		w.body(m.Body)
	})
	if f != nil {
		return f.error("publish", topic)
	}
	return nil
}

// logFailure is for publishes that nobody waits for.
func (c *Client) logFailure(err error) {
	if err != nil {
		c.log.Warn("zbus message not published", "err", err)
	}
}

// PublishBatch stores messages in a topic, in order, without waiting for one before
// it sends the next. It returns nil when all of them are stored, and otherwise a
// [*BatchError] that says of each what became of it: others may be stored.
func (c *Client) PublishBatch(ctx context.Context, topic string, messages []Message) error {
	b := &batch{c: c, requests: make([]*request, len(messages)), done: make(chan int, len(messages))}
	errs := make([]error, len(messages))
	failed, waiting := false, 0
	fail := func(i int, err error) {
		if err != nil {
			errs[i], failed = err, true
		}
	}
	for i := range messages {
		m := &messages[i]
		if err := m.check("publish", topic); err != nil {
			fail(i, err)
			continue
		}
		r := c.newRequest(classPublish, lossUnknown)
		r.id, r.index, r.sink = m.ID, i, b
		b.requests[i] = r
		f := c.submit(ctx, r, wire.CmdProduce, func(w *frameWriter) {
			w.message(topic, m)
			w.body(m.Body)
		})
		if f != nil {
			fail(i, f.error("publish", topic))
			continue
		}
		waiting++
	}
	for ended := ctx.Done(); waiting > 0; {
		select {
		case i := <-b.done:
			waiting--
			fail(i, b.requests[i].err("publish", topic))
			c.recycle(b.requests[i])
			b.requests[i] = nil
		case <-ended:
			ended = nil
			waiting -= b.abandon(ctx, errs, topic)
			failed = true
		}
	}
	if failed {
		return &BatchError{Errs: errs}
	}
	return nil
}

// batch is who waits for the requests of one PublishBatch.
type batch struct {
	c        *Client
	requests []*request // nil once their outcome was taken
	done     chan int   // capacity: all of them
}

func (b *batch) settled(r *request) { b.done <- r.index }

// abandon gives up what is under way, and returns how much that was.
func (b *batch) abandon(ctx context.Context, errs []error, topic string) (n int) {
	for i, r := range b.requests {
		if r != nil && errs[i] == nil && b.c.abandon(ctx, r) {
			errs[i] = r.err("publish", topic)
			n++
		}
	}
	return n
}
