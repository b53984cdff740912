package zbus

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Classes of requests. One byte in a request's id says what its reply is.
const (
	classPublish  = '-' // a short text that is only looked at when it is not a 200
	classRequest  = '.' // a reply that is kept
	classDelivery = '_' // a message of a subscription
	classSettle   = '~' // nothing, unless a message could not be settled
	classExtend   = '+' // until when a message is the client's
)

// loss says what becomes of a request that was sent and whose connection was lost.
type loss uint8

const (
	lossUnknown loss = iota // it is unknown whether it was done
	lossResend              // it changes nothing the second time, and is sent again
	lossRepeat              // as before, but who gives it up does not know whether it was done
	lossBound               // it means nothing on another connection
)

// progress of a request.
type progress uint8

const (
	queued  progress = iota // not yet given to a connection
	sent                    // given to one, perhaps in part
	settled                 // has its outcome
)

// request is a frame that has one answer. Its first fields are set by the goroutine that makes
// it, the others are guarded by Client.mu until it is settled; then it is its
// sink's.
type request struct {
	class byte
	loss  loss
	index int  // for the sink
	sink  sink // nil: ready is signalled
	ready chan struct{}

	n     uint64 // part of the id
	state progress
	tried bool      // it was sent on a connection that was lost
	epoch uint64    // of the connection it is bound to, with lossBound
	since time.Time // when it began to wait for a connection, once it was tried for the first time
	frame []byte    // encoded, where it may be sent again

	// The outcome.
	status int // 0: fail says why there is none
	text   string
	at     placed        // with classPublish
	reply  *wire.Message // with classRequest
	fail   *failure
}

// sink takes the outcome of a request. It is called once, without locks, by the
// client's reader among others, and must not block.
type sink interface{ settled(*request) }

// err is the outcome as an error, nil for a 200.
func (r *request) err(op, target string) error {
	switch {
	case r.fail != nil:
		return r.fail.error(op, target)
	case r.status == 200:
		return nil
	case r.reply != nil:
		return answered(op, target, r.status, string(r.reply.Body))
	}
	return answered(op, target, r.status, r.text)
}

// finish wakes the goroutine that waits. Called without locks.
func (r *request) finish() {
	if r.sink != nil {
		r.sink.settled(r)
		return
	}
	r.ready <- struct{}{} // never blocks: capacity 1, and one outcome
}

// newRequest creates one for a caller that waits, or takes one that is done with.
func (c *Client) newRequest(class byte, l loss) *request {
	r, ok := c.requests.Get().(*request)
	if !ok {
		r = &request{ready: make(chan struct{}, 1)}
	}
	r.class, r.loss = class, l
	return r
}

// recycle keeps a request that was answered. One that was given up may still be in
// the queue.
func (c *Client) recycle(r *request) {
	if r.fail != nil {
		return
	}
	*r = request{ready: r.ready}
	c.requests.Put(r)
}

// submit puts a request into the queue, after waiting for room. encode writes its
// frame but for the id, and is called with c.mu held.
func (c *Client) submit(ctx context.Context, r *request, cmd string, encode func(*frameWriter)) *failure {
	c.mu.Lock()
	f := c.await(ctx)
	if f == nil {
		f = c.put(r, cmd, encode)
	}
	wake := f == nil && c.wakeLocked()
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
	return f
}

// await waits for room in the queue. Called with c.mu held, which it gives up while it waits.
func (c *Client) await(ctx context.Context) *failure {
	for c.full() && !c.closed {
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room, wake := c.room, c.wakeLocked()
		c.mu.Unlock()
		if wake {
			c.wake <- struct{}{}
		}
		select {
		case <-room:
			c.mu.Lock()
		case <-ctx.Done():
			c.mu.Lock()
			return stopped(ctx, false)
		}
	}
	return nil
}

// put registers a request and encodes its frame, or says why it can't be taken. Called with
// c.mu held.
func (c *Client) put(r *request, cmd string, encode func(*frameWriter)) *failure {
	if f := c.admit(r); f != nil {
		return f
	}
	c.putAcks()
	start := len(c.out.buf)
	w := &c.encoder
	w.dst = c.out.buf
	w.start(cmd)
	w.id(c.prefix, r.class, r.n)
	encode(w)
	c.out.add(w.dst, r, r.epoch)
	if r.loss == lossResend || r.loss == lossRepeat {
		r.frame = append([]byte(nil), w.dst[start:]...)
	}
	return nil
}

// admit registers a request, or says why it can't be taken. Called with c.mu held.
func (c *Client) admit(r *request) *failure {
	switch {
	case c.closed:
		return closed()
	case r.epoch != 0 && (r.epoch != c.epoch || !c.connected):
		return connectionGone
	case !c.connected && (c.opts.ReconnectTimeout < 0 || notAccepted(c.lastErr)):
		return unreachable("no connection", c.lastErr)
	}
	if !c.connected {
		r.since = time.Now()
	}
	c.number++
	r.n = c.number
	c.waiting[r.n] = r
	return nil
}

// connectionGone is the outcome of a request that is bound to a lost connection.
var connectionGone = &failure{
	text: "the connection that got the message was lost; it will be delivered again", kinds: []error{ErrConflict},
}

// full reports whether a request has to wait for its turn. Called with c.mu held.
func (c *Client) full() bool {
	return len(c.waiting) >= c.opts.MaxPending || len(c.out.buf) >= queueBytes
}

// roomier lets those continue that wait for room. Called with c.mu held.
func (c *Client) roomier() {
	if c.room != nil && !c.full() {
		close(c.room)
		c.room = nil
	}
}

// settle takes a request out of the tables. Called with c.mu held; the caller calls
// its finish without.
func (c *Client) settle(r *request) {
	delete(c.waiting, r.n)
	if r.state == queued {
		c.out.dropped++
	}
	r.state = settled
	if c.quiet != nil && len(c.waiting) == 0 {
		close(c.quiet)
		c.quiet = nil
	}
}

// abandon gives a request up whose context has ended. It reports false if the
// outcome is there already, or will be at once.
func (c *Client) abandon(ctx context.Context, r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.state == settled {
		return false
	}
	r.fail = stopped(ctx, (r.state == sent || r.tried) && r.loss != lossResend)
	c.settle(r)
	c.roomier()
	return true
}

// do sends a request and waits for its outcome, which it leaves in r.
func (c *Client) do(ctx context.Context, r *request, cmd string, encode func(*frameWriter)) {
	if ctx.Err() != nil {
		r.fail = stopped(ctx, false)
		return
	}
	if f := c.submit(ctx, r, cmd, encode); f != nil {
		r.fail = f // otherwise r is no longer ours
		return
	}
	c.wait(ctx, r)
}

// wait waits for the outcome of a request that was submitted.
func (c *Client) wait(ctx context.Context, r *request) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		if !c.abandon(ctx, r) {
			<-r.ready
		}
	}
}

// ask sends a request whose reply is kept, and returns the reply if it is a 200.
func (c *Client) ask(ctx context.Context, l loss, op, target, cmd string, fields ...field) (*wire.Message, error) {
	for _, f := range fields {
		if !wire.ValidValue(f.Value) {
			return nil, invalid(op, target, "control character in %s", f.Name)
		}
	}
	r := c.newRequest(classRequest, l)
	c.do(ctx, r, cmd, func(w *frameWriter) {
		for _, f := range fields {
			w.field(f.Name, f.Value)
		}
		w.body(nil)
	})
	reply, err := r.reply, r.err(op, target)
	c.recycle(r)
	if err != nil {
		return nil, err
	}
	return reply, nil
}
