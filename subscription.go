package zbus

import (
	"context"
	"fmt"
	"runtime/debug"
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
	key      uint64
	topic    string
	group    string
	opts     SubscribeOptions // with defaults
	handler  Handler          // nil: messages are pulled
	explicit bool             // the group's messages have to be settled

	life   context.Context // of handlers
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing comes any more and all handlers have returned
	come   chan struct{} // capacity 1: there is something to pull

	// The rest is guarded by c.mu.
	err         error         // why it is over, if there is a reason
	established bool          // the server has not refused it at first
	stopping    bool          // asks for nothing any more
	over        bool          // takes nothing any more
	workers     int           // goroutines that handle
	idle        chan struct{} // closed when the two above are 0; nil if nobody waits for that

	// Credit. What is held and what may still come is never more than the window.
	queue      []*Delivery // came; those from head on are not yet handled
	head       int
	held       int    // in queue or being handled
	granted    int    // by the latest request
	left       int    // of it, as far as is known
	generation uint64 // of it
}

// arrived takes a delivery, or the refusal of a request for them. Called with c.mu
// held.
func (s *Subscription) arrived(in *incoming, epoch uint64) {
	if s.over || s.stopping && s.explicit {
		return
	}
	latest := in.n&generationMask == s.generation&generationMask
	if in.status != 200 {
		if latest {
			s.refused(in.status, string(in.m.Body))
		}
		return
	}
	d := in.d
	d.s, d.epoch, d.Group = s, epoch, s.group
	s.held++
	if latest {
		s.left = d.credit
	}
	s.queue = append(s.queue, d)
	s.renew()
	s.serve()
}

// serve has what is queued handled. Called with c.mu held.
func (s *Subscription) serve() {
	switch {
	case s.handler == nil:
		select {
		case s.come <- struct{}{}:
		default:
		}
	case s.workers < s.opts.Concurrency && len(s.queue) > s.head && !s.c.closed:
		s.workers++
		s.c.handlers.Go(s.work)
	}
}

// renew asks for more when half of what was asked for has come, unless that much is
// still to be handled. Called with c.mu held.
func (s *Subscription) renew() {
	if s.over || s.stopping || !s.c.connected || 2*s.left > s.granted {
		return
	}
	room := s.opts.Window - s.held - s.left
	if room <= 0 || s.left > 0 && (room <= s.left || room < s.opts.Window/4) {
		return
	}
	s.generation++
	s.granted, s.left = room, room
	s.c.post(wire.CmdConsume, s.c.epoch, func(w *frameWriter) {
		w.id(s.c.prefix, classDelivery, s.key<<generationBits|s.generation&generationMask)
		w.field(wire.HeaderTopic, s.topic)
		w.field(wire.HeaderConsumeGroup, s.group)
		w.int(wire.HeaderWindow, int64(room))
		w.body(nil)
	})
}

// restore subscribes on a new connection. What came by the old one and is not being
// handled comes again, if the group is explicit. Called with c.mu held.
func (s *Subscription) restore() {
	if s.over || s.stopping {
		return
	}
	if s.explicit {
		s.discard()
	}
	s.again()
}

// discard forgets what is queued. Called with c.mu held.
func (s *Subscription) discard() {
	s.held -= len(s.queue) - s.head
	s.queue, s.head = nil, 0
}

// again asks for messages as if for the first time, after making sure of topic and
// group if the subscriber wants that. Called with c.mu held.
func (s *Subscription) again() {
	s.granted, s.left = 0, 0
	if s.opts.Declare != nil {
		s.c.number++
		s.c.post(wire.CmdDeclare, s.c.epoch, func(w *frameWriter) {
			w.id(s.c.prefix, classRequest, s.c.number)
			for _, f := range s.opts.Declare.fields(s.topic, s.group) {
				w.field(f.Name, f.Value)
			}
			w.body(nil)
		})
	}
	s.greet()
	s.renew()
}

// greet says what the server is to know of the subscriber. Called with c.mu held.
func (s *Subscription) greet() {
	if s.opts.greet != nil {
		s.opts.greet(s.c)
	}
}

// refused hears that the server gives nothing: the group is gone, or it is not for
// this client now. Called with c.mu held.
func (s *Subscription) refused(status int, text string) {
	s.granted, s.left = 0, 0
	gone := status == 404 && s.opts.Declare == nil
	if gone || status == 400 || status == 403 || !s.established {
		s.finish(answered("subscribe", s.target(), status, text))
		return
	}
	s.c.log.Warn("zbus subscription refused, it is tried again", "topic", s.topic, "group", s.group, "status", status, "text", text)
	epoch := s.c.epoch
	time.AfterFunc(resubscribePause, func() {
		s.c.mu.Lock()
		if s.c.connected && s.c.epoch == epoch && !s.stopping {
			s.again()
		}
		s.c.mu.Unlock()
		s.c.nudge()
	})
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
// what to handle next. With nil the worker is not one any more.
func (s *Subscription) next(last *Delivery, err error) *Delivery {
	c := s.c
	c.mu.Lock()
	if last != nil {
		s.settleHandled(last, err)
		s.held--
		s.renew()
	}
	wake := len(c.out.frames) > 0 && c.wakeLocked()
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
	if s.head == len(s.queue) || lost {
		return nil
	}
	d := s.queue[s.head]
	s.queue[s.head] = nil
	if s.head++; s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	return d
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
		d.settleLater(wire.CmdAck, 0)
	default:
		d.settleLater(wire.CmdNack, s.opts.retryDelay(d.Attempt))
	}
}

// call runs the handler; a panic of it is an error.
func (s *Subscription) call(d *Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.handler(s.life, d)
}
