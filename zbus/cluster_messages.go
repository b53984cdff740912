package zbus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"

	"github.com/rushmore/zbus-go/internal/wire"
)

// publishBatch stores messages, each on one server as publish does, those for one server in order. A
// message that its server has certainly not stored goes to the next one.
func (cl *cluster) publishBatch(ctx context.Context, topic string, messages []Message) ([]Receipt, error) {
	cl.begun()
	defer cl.ended()
	receipts, errs := make([]Receipt, len(messages)), make([]error, len(messages))
	parts := make(map[*Client][]int) // the messages of each server; of nil: of none
	p := cl.patience()
	first := cl.first(topic, "")
	for i := range messages {
		to := first
		if messages[i].Key != "" {
			to = cl.first(topic, messages[i].Key)
		}
		parts[to] = append(parts[to], i)
	}
	for c, part := range parts {
		if c == nil {
			for _, i := range part {
				receipts[i], errs[i] = cl.publish(ctx, p, topic, messages[i])
			}
			continue
		}
		some := make([]Message, len(part))
		for n, i := range part {
			some[n] = messages[i]
		}
		got, err := c.PublishBatch(ctx, topic, some)
		var failed *BatchError
		_ = errors.As(err, &failed) // it is nothing else
		for n, i := range part {
			if receipts[i] = got[n]; failed == nil || failed.Errs[n] == nil {
				continue
			}
			if errs[i] = failed.Errs[n]; cl.elsewhere(errs[i]) {
				receipts[i], errs[i] = cl.publish(ctx, p, topic, messages[i])
			}
		}
	}
	if errors.Join(errs...) != nil {
		return receipts, &BatchError{Errs: errs}
	}
	return receipts, nil
}

// first is the server that is asked first; nil: there is none now.
func (cl *cluster) first(topic, key string) *Client {
	if clients, _ := cl.choose(topic, key); len(clients) > 0 {
		return clients[0]
	}
	return nil
}

// publishAsync queues a message for one server. One that the server has certainly not stored goes to the
// next one.
func (cl *cluster) publishAsync(ctx context.Context, topic string, m Message) *Future {
	f := &Future{topic: topic, done: make(chan struct{})}
	if fail := cl.begin(ctx, len(m.Body)); fail != nil {
		f.end(Receipt{}, fail.error("publish", topic))
		return f
	}
	m.Body, m.Headers = bytes.Clone(m.Body), maps.Clone(m.Headers) // another server may get them later
	rest := context.WithoutCancel(ctx)
	t, inner := cl.enqueue(topic, m.Key), (*Future)(nil)
	if c := cl.first(topic, m.Key); c != nil && cl.isDue(t) {
		inner = cl.give(ctx, c, t, topic, m)
	}
	go func() {
		defer cl.all.Done()
		r, err := cl.publishInTurn(rest, t, inner, topic, m)
		cl.free(len(m.Body))
		f.end(r, err)
		cl.ended()
	}()
	return f
}

// mostHeld is how many bytes of bodies PublishAsync holds at most, but for a single message.
const mostHeld = 64 << 20

// begin waits for room for one more message, until free. Without an error it counts in cl.all.
func (cl *cluster) begin(ctx context.Context, size int) *failure {
	select {
	case cl.room <- struct{}{}:
	default:
		select {
		case cl.room <- struct{}{}:
		case <-ctx.Done():
			return stopped(ctx, false)
		case <-cl.life.Done():
			return closed()
		}
	}
	f := cl.hold(ctx, size)
	if f != nil {
		<-cl.room
	}
	return f
}

// hold waits until a body may be held.
func (cl *cluster) hold(ctx context.Context, size int) *failure {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for !cl.closed && cl.held > 0 && cl.held+size > mostHeld {
		if cl.less == nil {
			cl.less = make(chan struct{})
		}
		less := cl.less
		cl.mu.Unlock()
		var f *failure
		select {
		case <-less:
		case <-cl.life.Done():
			f = closed()
		case <-ctx.Done():
			f = stopped(ctx, false)
		}
		cl.mu.Lock()
		if f != nil {
			return f
		}
	}
	if cl.closed {
		return closed()
	}
	cl.all.Add(1)
	cl.working++
	cl.held += size
	return nil
}

// free gives the room of a message to others.
func (cl *cluster) free(size int) {
	<-cl.room
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.held -= size
	if cl.less != nil {
		close(cl.less)
		cl.less = nil
	}
}

// messages ranges over the messages of a group on all servers.
func (cl *cluster) messages(ctx context.Context, topic, group string, opts SubscribeOptions) iter.Seq2[*Delivery, error] {
	group = cmp.Or(group, topic)
	return func(yield func(*Delivery, error) bool) {
		come, manual := make(chan *Delivery), opts.Manual
		opts.Manual, opts.Concurrency, opts.pulled = true, 1, true
		over := make(chan struct{})
		sub, err := cl.subscribe(ctx, topic, group, opts, func(ctx context.Context, d *Delivery) error {
			next := make(chan struct{})
			d.next = next
			select {
			case come <- d:
			case <-ctx.Done(): // it comes again, or the client is closed
				return nil
			case <-over:
				d.s.stop() // before this returns, and the next one is asked for
				return nil
			}
			select {
			case <-next:
			case <-over:
				d.s.stop()
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		defer sub.Close()
		defer close(over)
		for {
			select {
			case d := <-come:
				if d.gone() || d.Explicit() && ctx.Err() != nil {
					close(d.next)
					continue
				}
				around(cl.opts.Middleware).received(d)
				if !yield(d, nil) {
					return
				}
				d.handled(manual)
			case <-sub.Done():
				err := sub.Err()
				if err == nil {
					err = stopped(ctx, false).error("consume", topic+"/"+group)
				}
				yield(nil, err)
				return
			}
		}
	}
}

// gone reports whether a delivery is lost: it comes again, and is not to be handled.
func (d *Delivery) gone() bool {
	c := d.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.s.explicit && (d.lost || d.expired(c.clock()))
}

// handled lets a delivery of a cluster's messages go, and acks it unless others do.
func (d *Delivery) handled(manual bool) {
	if !manual {
		d.s.c.mu.Lock()
		d.settleLater(wire.CmdAck, redelivery{})
		d.s.c.mu.Unlock()
		d.s.c.nudge()
	}
	close(d.next)
}
