package zbus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// A request for messages has an id with the subscription's key and, in its last
// bits, how many came before.
const (
	generationBits = 20
	generationMask = 1<<generationBits - 1
)

// resubscribePause is how long a subscription waits that the server does not want
// now, though it did before.
const resubscribePause = time.Second

// Subscription is a consumer of a group, from [Client.Subscribe] until its context
// ends, it is closed, or the group is gone. It outlives connections.
type Subscription struct {
	c        *Client
	topic    string
	group    string
	opts     SubscribeOptions // with defaults
	handler  Handler          // nil: messages are pulled
	explicit bool             // the group's messages have to be settled

	life   context.Context // of handlers
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more comes and all handlers have returned
	come   chan struct{} // capacity 1: there is something to pull

	// The rest is guarded by c.mu.
	err         error         // why it is over, if there is a reason
	established bool          // the server has not refused it at first
	stopping    bool          // asks for nothing more
	over        bool          // takes nothing more
	workers     int           // goroutines that handle
	idle        chan struct{} // closed when the two above are 0; nil if no goroutine waits for that

	fetches    *fetching     // of Client.Fetch; nil in others
	in         *intake       // of the group, which other subscriptions may share
	ackTimeout time.Duration // of the group, in explicit ones; 0: unknown

	// What is held is never more than the window, but for what others that end have left.
	queue   []*Delivery // came; those from head on are not yet handled
	head    int
	held    int         // in queue or being handled
	running []*Delivery // being handled, in explicit groups, each at its index at
	keys    keyOrder    // with PerKey; otherwise nil
	turn    []*Delivery // of those that waited for others of their key, those that do no longer
}

// take takes a delivery. Called with c.mu held.
func (s *Subscription) take(d *Delivery, epoch uint64) {
	d.s, d.epoch, d.Group = s, epoch, s.group
	if s.explicit && s.ackTimeout > 0 {
		d.due.Store(int64(s.c.clock() + s.ackTimeout))
	}
	s.held++
	s.queue = append(s.queue, d)
}

// serve has what is queued handled. Called with c.mu held.
func (s *Subscription) serve() {
	switch {
	case s.handler == nil:
		select {
		case s.come <- struct{}{}:
		default:
		}
	case s.workers < s.opts.Concurrency && (len(s.queue) > s.head || len(s.turn) > 0) && !s.c.closed:
		s.workers++
		s.c.handlers.Go(s.work)
	}
}

// discard forgets what is queued. Called with c.mu held.
func (s *Subscription) discard() {
	s.held -= len(s.queued())
	s.keys.forget()
	for _, d := range s.turn {
		s.keys.end(d)
	}
	s.queue, s.head, s.turn = nil, 0, nil
}

// queued is all that came and is not yet handled. Called with c.mu held.
func (s *Subscription) queued() []*Delivery {
	if s.keys == nil {
		return s.queue[s.head:]
	}
	return slices.Concat(s.turn, s.keys.waiting(), s.queue[s.head:])
}

// greet says what the server is to know of the subscriber. Called with c.mu held.
func (s *Subscription) greet() {
	if s.opts.greet != nil {
		s.opts.greet(s.c)
	}
}

// work handles what is queued, until there is nothing.
func (s *Subscription) work() {
	var last *Delivery
	var err error
	for {
		if last = s.next(last, err); last == nil {
			return
		}
		err = s.handle(last)
	}
}

// next settles the message before, if there is one, of which err came, and returns
// what to handle next. With nil it is no longer a worker.
func (s *Subscription) next(last *Delivery, err error) *Delivery {
	c := s.c
	c.mu.Lock()
	if last != nil {
		s.settleHandled(last, err)
		s.ended(last)
		s.release(last)
		s.held--
		s.in.renew()
	}
	wake := c.unsent() && c.wakeLocked()
	d := s.pop()
	if d != nil {
		s.serve() // one brings the next, up to the limit
	} else {
		s.workers--
		s.rest()
	}
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
	return d
}

// pop takes the first of the queue, or nothing. Called with c.mu held.
func (s *Subscription) pop() *Delivery {
	lost := s.life.Err() != nil && (s.handler != nil || s.explicit) // of those who pull, one may still want them
	if lost {
		return nil
	}
	d := s.first()
	for d != nil && s.explicit && (d.lost || d.expired(s.c.clock())) { // it comes again
		s.held--
		s.release(d)
		d = s.first()
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	if d == nil {
		s.in.renew()
		return nil
	}
	s.begin(d)
	return d
}

// first takes the first that may be handled now out of the queue, or nothing. Called with c.mu
// held.
func (s *Subscription) first() (d *Delivery) {
	if len(s.turn) > 0 {
		d, s.turn = s.turn[0], s.turn[1:]
		return d
	}
	for s.head < len(s.queue) {
		d, s.queue[s.head] = s.queue[s.head], nil
		s.head++
		if s.keys.begin(d) {
			return d
		}
	}
	return nil
}

// release lets the next message through that has the key of one that is no longer handled. Called
// with c.mu held.
func (s *Subscription) release(d *Delivery) {
	if next := s.keys.end(d); next != nil {
		s.turn = append(s.turn, next)
	}
}

// rest tells who waits for that, that nothing is being handled. Called with c.mu held.
func (s *Subscription) rest() {
	if s.idle != nil && s.workers == 0 {
		close(s.idle)
		s.idle = nil
	}
}

// handle runs the handler on one message.
func (s *Subscription) handle(d *Delivery) error {
	err := s.call(d)
	if err != nil {
		s.c.log.Warn("zbus handler failed", "topic", s.topic, "group", s.group, "offset", d.Offset, "id", d.ID, "attempt", d.Attempt, "err", err)
	}
	return err
}

// settleHandled settles a message that was handled, unless the handler sees to that.
// Called with c.mu held.
func (s *Subscription) settleHandled(d *Delivery, err error) {
	switch {
	case s.opts.Manual:
	case err == nil:
		d.settleLater(wire.CmdAck, redelivery{})
	default:
		d.settleLater(wire.CmdNack, s.afterError(d, err))
	}
}

// afterError is how a message is given back whose handler has failed.
func (s *Subscription) afterError(d *Delivery, err error) redelivery {
	how := redelivery{delay: s.opts.Backoff.after(d.Attempt), reason: err.Error()}
	var own *handled
	if errors.As(err, &own) {
		how.reason, how.dead = own.Error(), own.dead
		if own.dead || own.delay > 0 {
			how.delay = own.delay
		}
	}
	return how
}

// call runs the handler; a panic of it is an error.
func (s *Subscription) call(d *Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &handled{text: "panic", err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return s.handler(d.ctx, d)
}
