package zbus

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// extendEach is how often in an ack timeout deliveries are extended.
const extendEach = 3

// Deadline returns until when the message has to be settled, as far as the client knows,
// and false where there is no such time: in groups that are not explicit, and with servers
// that do not say. It moves with each extension.
func (d *Delivery) Deadline() (time.Time, bool) {
	due := d.due.Load()
	return d.s.c.began.Add(time.Duration(due)), due != 0
}

// Extend has the ack timeout of the message begin anew. While a handler runs, and while a
// message waits for one, the client does so by itself, unless SubscribeOptions.NoExtend is
// set. An error that is ErrConflict says that the delivery is no longer this one's; the
// context of its handler has ended then.
func (d *Delivery) Extend(ctx context.Context) error {
	if !d.Explicit() || d.done.Load() {
		return nil
	}
	c, asked := d.s.c, d.s.c.clock()
	r := c.newRequest(classRequest, lossBound)
	r.epoch = d.epoch
	c.do(ctx, r, wire.CmdExtend, func(w *frameWriter) { d.encode(w, redelivery{}) })
	reply, status, err := r.reply, r.status, r.err("extend", d.s.target())
	c.recycle(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		d.extended(asked, string(reply.Body))
	case status == 404 || status == 409:
		d.lose()
	}
	return err
}

// extended notes the answer to a request that was made at a time: for how long the message
// is the client's from then on. Called with c.mu held.
func (d *Delivery) extended(asked time.Duration, answer string) {
	ms := number(answer, 0)
	if ms <= 0 || d.lost {
		return
	}
	d.s.ackTimeout = time.Duration(ms) * time.Millisecond
	d.due.Store(int64(asked + d.s.ackTimeout))
	if d.timer != nil {
		d.timer.Reset(time.Duration(d.due.Load()) - d.s.c.clock())
	}
}

// lose notes that the delivery is no longer the client's. Called with c.mu held.
func (d *Delivery) lose() {
	d.lost = true
	if d.cancel != nil {
		f := failure{text: "the delivery is no longer this client's: its time was over, its connection was lost, or its group was moved", kinds: []error{ErrConflict}}
		d.cancel(f.error("handle", d.s.target()))
	}
}

// clock is the time since the client began, on a monotonic clock.
func (c *Client) clock() time.Duration { return time.Since(c.began) }

// handling is the context of a handler whose time is limited.
type handling struct {
	context.Context
	d *Delivery
}

// Deadline is part of context.Context.
func (h handling) Deadline() (time.Time, bool) { return h.d.Deadline() }

// begin notes that a message is handled from now on. Called with c.mu held.
func (s *Subscription) begin(d *Delivery) {
	d.ctx = s.life
	if !s.explicit {
		return
	}
	d.at = len(s.running)
	s.running = append(s.running, d)
	if s.handler == nil {
		return
	}
	d.ctx, d.cancel = context.WithCancelCause(s.life)
	if due := d.due.Load(); s.opts.NoExtend && due != 0 {
		d.ctx = handling{d.ctx, d}
		d.timer = time.AfterFunc(time.Duration(due)-s.c.clock(), d.expire)
	}
}

// expire ends the context of a handler that has not settled in time.
func (d *Delivery) expire() {
	c := d.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.expired(c.clock()) {
		d.lose()
	}
}

// expired reports whether the time of a delivery is over. Called with c.mu held.
func (d *Delivery) expired(now time.Duration) bool {
	due := d.due.Load()
	return due != 0 && time.Duration(due) <= now && !d.done.Load()
}

// ended notes that a message is handled no longer. Called with c.mu held.
func (s *Subscription) ended(d *Delivery) {
	if !s.explicit {
		return
	}
	last := len(s.running) - 1
	s.running[d.at] = s.running[last]
	s.running[d.at].at = d.at
	s.running[last] = nil
	s.running = s.running[:last]
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.cancel != nil {
		d.cancel(nil)
	}
}

// extends reports whether deliveries are extended.
func (s *Subscription) extends() bool { return s.explicit && s.ackTimeout > 0 && !s.opts.NoExtend }

// extendHeld extends what the subscription holds, until it is over.
func (s *Subscription) extendHeld() {
	s.c.mu.Lock()
	wait := s.ackTimeout / extendEach
	s.c.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.done:
			return
		}
		s.c.mu.Lock()
		for _, d := range slices.Concat(s.running, s.queued()) {
			s.extend(d)
		}
		timer.Reset(s.ackTimeout / extendEach)
		s.c.mu.Unlock()
		s.c.nudge()
	}
}

// extend asks for more time for a delivery whose time is running out. Called with c.mu held.
func (s *Subscription) extend(d *Delivery) {
	c, now := s.c, s.c.clock()
	switch left := time.Duration(d.due.Load()) - now; {
	case d.lost || d.done.Load() || d.due.Load() == 0:
	case left <= 0:
		d.lose()
	case left > s.ackTimeout*(extendEach-1)/extendEach || !c.connected || d.epoch != c.epoch:
	default:
		c.number++
		c.extending[c.number] = extension{d, now}
		c.post(wire.CmdExtend, c.epoch, func(w *frameWriter) {
			w.id(c.prefix, classExtend, c.number)
			d.encode(w, redelivery{})
		})
	}
}

// extension is a request that was sent for a delivery, at a time.
type extension struct {
	d     *Delivery
	asked time.Duration
}

// extensionAnswered takes the answer to one. Called with c.mu held.
func (c *Client) extensionAnswered(n uint64, status int, text string) {
	e, ok := c.extending[n]
	delete(c.extending, n)
	switch {
	case !ok:
	case status == 200:
		e.d.extended(e.asked, text)
	case status == 404 || status == 409:
		if !e.d.done.Load() {
			e.d.lose()
		}
	default:
		c.log.Warn("zbus delivery not extended", "status", strconv.Itoa(status), "text", text)
	}
}
