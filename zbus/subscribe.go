package zbus

import (
	"context"
	"iter"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Handler handles one message. In an explicit group nil acks it and an error nacks
// it, unless the handler has done either itself; elsewhere an error is only logged.
// A panic is an error. The context ends when the client is closed, not with the
// subscription: what was begun is finished. In an explicit group it also ends when the
// delivery is no longer this client's, and the message comes again: the connection was
// lost, the group was moved, or the ack timeout is over; context.Cause is ErrConflict then.
type Handler func(ctx context.Context, d *Delivery) error

// SubscribeOptions say how messages are taken. The zero value is ready to use.
type SubscribeOptions struct {
	// Window is how many messages the client takes in advance, up to 100,000,
	// including those being handled. The server never sends more, so slow handlers
	// hold up no other. Default: 64, and 1 for [Client.Messages] in a group that is
	// not explicit, where messages that came and were not handled are lost.
	Window int
	// Concurrency is how many messages are handled at a time, not more than Window. With 1, the
	// default, they are handled in order.
	Concurrency int
	// PerKey has messages of one Message.Key handled one after the other, in order, also where
	// Concurrency is more than 1. Those without a key are handled as they come. Messages that
	// failed come again later, after others of their key.
	PerKey bool
	// Manual leaves it to the handler to call Ack or Nack, perhaps later.
	Manual bool
	// Backoff is how long a message rests after an attempt has failed. Default:
	// ExponentialBackoff(time.Second, time.Minute).
	Backoff Backoff
	// NoExtend lets the group's ack timeout end deliveries that are handled for longer, or
	// wait for that: the context of the handler has it as its deadline. Otherwise the
	// client extends what it holds, in an explicit group, until the handler returns.
	NoExtend bool
	// Declare, if not nil, makes sure of the topic and the group first, and whenever
	// the connection or the group was lost. Its Name is not used.
	Declare *GroupSpec

	greet  func(*Client) // called with its mu held before each request on a new connection
	pulled bool          // the handler hands messages to a loop, which may end at any of them
}

const (
	defaultWindow = 64
	maxWindow     = 100_000
)

func (o SubscribeOptions) withDefaults(prefetch bool) SubscribeOptions {
	if o.Window <= 0 && prefetch {
		o.Window = defaultWindow
	}
	o.Window = min(max(o.Window, 1), maxWindow)
	o.Concurrency = min(max(o.Concurrency, 1), o.Window)
	if o.Backoff == nil {
		o.Backoff = ExponentialBackoff(time.Second, time.Minute)
	}
	return o
}

// Subscribe has messages of a group handled until ctx ends or the subscription is
// closed; then it ends as [Subscription.Close] says. "" is the default group, named
// like the topic. Topic and group have to exist (ErrNotFound), unless the options
// declare them. When Subscribe returns, the server knows of the subscription, and it
// is restored after every loss of the connection. Several subscriptions of a client to one
// group share its messages fairly, and each ends by itself. Of several servers it is a subscription
// to all, also to those that come later, each with the window and the concurrency of the options; an error
// says that it works for none.
//
// In an explicit group each message is handled once or more often, and one whose
// handling was not confirmed comes again. In the others it is handled once at most:
// those that had come and were not yet handled are lost when the process ends
// otherwise than by Close, Drain or the end of ctx.
func (c *Client) Subscribe(ctx context.Context, topic, group string, opts SubscribeOptions, handler Handler) (*Subscription, error) {
	if handler == nil {
		return nil, invalid("subscribe", topic+"/"+group, "no handler")
	}
	return c.subscribe(ctx, topic, group, opts, around(c.opts.Middleware).handle(handler))
}

// Messages ranges over the messages of a group, in the same ways as [Client.Subscribe].
// The loop ends with an error when ctx ends (its cause) or the subscription is over; in
// a group that is not explicit what has come by then is handed out first.
//
//	for d, err := range client.Messages(ctx, "orders", "billing", zbus.SubscribeOptions{}) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// In an explicit group continuing to the next message acks the one before, unless it
// was settled or the options say Manual. Leaving the loop does not: call Ack before.
func (c *Client) Messages(ctx context.Context, topic, group string, opts SubscribeOptions) iter.Seq2[*Delivery, error] {
	if c.set != nil {
		return c.set.messages(ctx, topic, group, opts)
	}
	return func(yield func(*Delivery, error) bool) {
		s, err := c.subscribe(ctx, topic, group, opts, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.Close()
		var d *Delivery
		for {
			if d, err = s.pull(ctx, d); err != nil {
				yield(nil, err)
				return
			}
			around(c.opts.Middleware).received(d)
			if !yield(d, nil) {
				return
			}
		}
	}
}

// pull waits for the next message. last is the one before, which has been handled.
func (s *Subscription) pull(ctx context.Context, last *Delivery) (*Delivery, error) {
	for first := last != nil; ; first = false {
		s.c.mu.Lock()
		if first {
			s.settleHandled(last, nil)
			s.ended(last)
			s.held--
			s.in.renew()
		}
		d, over, err := s.pop(), s.over, s.err
		s.c.mu.Unlock()
		s.c.nudge()
		ended := ctx.Done()
		if !s.explicit {
			ended = nil // the server takes what has come for consumed: it is handed out first
		}
		switch {
		case ctx.Err() != nil && (s.explicit || d == nil && over):
			return nil, stopped(ctx, false).error("consume", s.target())
		case d != nil:
			return d, nil
		case over && err == nil:
			err = (&failure{text: "the subscription is over", kinds: []error{ErrClosed}}).error("consume", s.target())
			fallthrough
		case over:
			return nil, err
		}
		select {
		case <-s.come:
		case <-s.done:
		case <-ended:
		}
	}
}

// subscribe creates a subscription and waits until the server has it.
func (c *Client) subscribe(ctx context.Context, topic, group string, opts SubscribeOptions, handler Handler) (*Subscription, error) {
	if group == "" {
		group = topic
	}
	if c.set != nil {
		return c.set.subscribe(ctx, topic, group, opts, handler)
	}
	info, err := c.groupFor(ctx, topic, group, opts.Declare)
	if err != nil {
		return nil, err
	}
	s := &Subscription{
		c: c, topic: topic, group: group, handler: handler, explicit: info.Explicit,
		opts: opts.withDefaults(handler != nil && !opts.pulled || info.Explicit),
		done: make(chan struct{}), come: make(chan struct{}, 1),
		ackTimeout: info.AckTimeout,
	}
	if opts.PerKey && handler != nil {
		s.keys = make(keyOrder)
	}
	s.life, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if f := c.join(ctx, s); f != nil {
		s.cancel()
		return nil, f.error("subscribe", s.target())
	}
	if err := c.barrier(ctx); err != nil {
		s.stop()
		if handler == nil && !s.explicit && ctx.Err() != nil {
			return s, nil // messages may have come: they are pulled, and then the error
		}
		return nil, err
	}
	c.mu.Lock()
	s.established = true
	over, err := s.over, s.err
	c.mu.Unlock()
	if over {
		<-s.done
		return nil, err
	}
	release := context.AfterFunc(ctx, s.stop)
	closed := context.AfterFunc(c.life, s.cancel) // also when it has left its intake
	context.AfterFunc(s.life, func() { release(); closed() })
	return s, nil
}

// groupFor makes sure of a group, or looks at it.
func (c *Client) groupFor(ctx context.Context, topic, group string, spec *GroupSpec) (GroupInfo, error) {
	if spec == nil {
		return c.QueryGroup(ctx, topic, group)
	}
	named := *spec
	named.Name = group
	return c.DeclareGroup(ctx, topic, named)
}

// Topic returns the name of the topic.
func (s *Subscription) Topic() string { return s.topic }

// Group returns the name of the group.
func (s *Subscription) Group() string { return s.group }

// Done is closed when the subscription is over.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err says why the subscription is over: nil after Close or the end of its context,
// ErrNotFound when the group was removed, ErrForbidden when its messages are no longer for
// the client's account, ErrClosed when the client was closed. It is
// nil as long as Done is open. Of several servers none of the first two is an end: it continues with the
// others, and with that one when it has the group again.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Close ends the subscription in order and returns when it is over. The server
// sends no more; handlers that run continue to their end, and so do, in a group that is
// not explicit, messages that have come already, as the server takes them for
// consumed. A handler must not call it; it cancels the subscriber's context instead,
// which has the same effect.
func (s *Subscription) Close() error {
	s.stop()
	<-s.done
	return s.Err()
}

func (s *Subscription) target() string { return s.topic + "/" + s.group }

// stop ends the subscription in order, without waiting.
func (s *Subscription) stop() {
	c := s.c
	if c.set != nil {
		s.cancel()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.stopping || c.closed {
		return
	}
	s.stopping = true
	c.handlers.Go(func() { s.drain(true) })
}

// finish ends the subscription because of err. Called with c.mu held, by the goroutine
// that runs the client.
func (s *Subscription) finish(err error) {
	if s.over {
		return
	}
	s.over = true
	if s.err == nil {
		s.err = err
	}
	s.in.remove(s)
	if !s.stopping {
		s.stopping = true
		s.c.handlers.Go(func() { s.drain(false) })
	}
}

// drain ends a subscription: leave says that the server is to be told, if the client has no
// other of the group. In an explicit group it is told last, because it takes back what is
// not settled by then.
func (s *Subscription) drain(leave bool) {
	if s.explicit {
		s.c.mu.Lock()
		s.in.handOver(s)
		s.c.mu.Unlock()
		s.rested()
	}
	s.c.mu.Lock()
	last := leave && s.in.retire(s)
	s.c.mu.Unlock()
	if last {
		if s.explicit {
			_ = s.c.barrier(s.life) // acks have arrived; without a connection there are none
		}
		r := s.c.newRequest(classRequest, lossBound)
		s.c.mu.Lock()
		r.epoch = s.c.epoch
		s.c.mu.Unlock()
		s.c.do(s.life, r, wire.CmdUnconsume, func(w *frameWriter) {
			w.field(wire.HeaderTopic, s.topic)
			w.field(wire.HeaderConsumeGroup, s.group)
			w.body(nil)
		})
		s.c.recycle(r) // refused or not: the subscription is over
	}
	s.c.mu.Lock()
	s.over = true
	s.in.remove(s)
	if last {
		s.in.release()
	}
	s.c.mu.Unlock()
	s.rested()
	s.cancel()
	close(s.done)
}

// rested returns when nothing is being handled.
func (s *Subscription) rested() {
	s.c.mu.Lock()
	idle := make(chan struct{})
	s.idle = idle
	s.rest()
	s.c.mu.Unlock()
	<-idle
}
