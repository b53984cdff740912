package zbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// firstBackoff is the longest first pause between two attempts to connect.
const firstBackoff = 50 * time.Millisecond

// run keeps the client connected until it is closed. at is the index of the address
// that t leads to; with nil there is no connection yet. started is closed when
// requests are taken, if it is not nil.
func (c *Client) run(t transport, at int, started chan struct{}) {
	defer close(c.ended)
	backoff := firstBackoff
	if t == nil {
		t, at = c.reconnect(at, &backoff)
	}
	for t != nil {
		heard, err := c.serve(t, c.addrs[at], started)
		started = nil
		c.disconnected(err)
		if c.life.Err() != nil {
			break
		}
		c.log.Warn("zbus connection lost", "address", c.addrs[at].text, "err", err)
		c.tell(State{Address: c.addrs[at].text, Err: err})
		if heard {
			backoff = firstBackoff
		} else if !c.pause(&backoff, 0, c.opts.MaxBackoff) { // the server accepts and says nothing
			break
		}
		if errors.Is(err, io.EOF) || errors.Is(err, errElsewhere) {
			at = (at + 1) % len(c.addrs) // the server has closed it: it stops, or sends its clients on
		}
		t, at = c.reconnect(at, &backoff)
	}
	c.finish()
	c.handlers.Wait()
}

func (c *Client) tell(s State) {
	if c.opts.OnState != nil {
		c.opts.OnState(s)
	}
}

// dialAny tries each address once, from the given one on.
func (c *Client) dialAny(ctx context.Context, from int) (t transport, at int, err error) {
	var errs []error
	for i := range c.addrs {
		at = (from + i) % len(c.addrs)
		t, err := c.dialAddress(ctx, c.addrs[at])
		if err == nil {
			return t, at, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.addrs[at].text, err))
	}
	return nil, 0, errors.Join(errs...)
}

// reconnect tries until there is a connection, or the client is closed: then it
// returns nil. The address that was lost is tried first, since it may be back, unless the
// server has closed the connection in order.
func (c *Client) reconnect(last int, backoff *time.Duration) (transport, int) {
	for {
		t, at, err := c.dialAny(c.life, last)
		if err == nil {
			return t, at
		}
		if c.life.Err() != nil {
			return nil, 0
		}
		c.mu.Lock()
		c.lastErr = err
		c.mu.Unlock()
		least, most := time.Duration(0), c.opts.MaxBackoff
		if notAccepted(err) {
			c.log.Warn("zbus credential refused", "err", err)
			least, most = leastRefusedPause, max(most, longestRefusedPause)
			*backoff = max(*backoff, 2*least)
		} else {
			c.log.Debug("zbus not reached", "err", err)
		}
		c.tell(State{Address: c.addrs[last].text, Err: err})
		c.expire(err)
		if !c.pause(backoff, least, most) {
			return nil, 0
		}
	}
}

// pause waits before the next attempt, a random time since other clients may have
// lost the same server, but not less than least, and reports false when the client is closed.
// The next pause is twice as long, but not longer than most.
func (c *Client) pause(backoff *time.Duration, least, most time.Duration) bool {
	timer := time.NewTimer(max(rand.N(*backoff)+time.Millisecond, least))
	defer timer.Stop()
	*backoff = min(2**backoff, most)
	select {
	case <-timer.C:
		return true
	case <-c.life.Done():
		return false
	}
}

// serve uses one connection until it is lost, and returns why, and whether the
// server has said anything.
func (c *Client) serve(t transport, a address, started chan struct{}) (heard bool, err error) {
	l := &link{c: c, t: t, r: wire.NewReader(t, c.opts.limits()), began: time.Now()}
	l.life, l.end = context.WithCancel(c.life)
	release := context.AfterFunc(c.life, func() { l.fail(ErrClosed) })
	defer release()
	c.mu.Lock()
	c.epoch++
	l.epoch = c.epoch
	c.connected, c.address, c.lastErr, c.present = true, a.text, nil, l
	c.restore()
	c.mu.Unlock()
	if started != nil {
		close(started)
	}
	c.tell(State{Connected: true, Address: a.text})
	expires := c.expires
	var others sync.WaitGroup
	others.Go(l.write)
	if !expires.IsZero() {
		others.Go(func() { l.renew(expires) })
	}
	l.fail(l.read())
	others.Wait()
	l.r.Release()
	return l.heard.Load() > 0, l.err
}

// restore puts what a new connection needs to know before everything that waits to
// be sent. Called with c.mu held.
func (c *Client) restore() {
	waiting := c.out
	c.out = outbox{}
	if c.silent {
		c.number++
		c.post(wire.CmdPing, c.epoch, func(w *frameWriter) {
			w.id(c.prefix, classRequest, c.number)
			w.body(nil)
		})
	}
	if c.pushed != nil {
		c.number++
		c.post(wire.CmdTrackSub, c.epoch, func(w *frameWriter) {
			w.id(c.prefix, classRequest, c.number)
			w.body(nil)
		})
	}
	keys := make([]uint64, 0, len(c.subs))
	for key := range c.subs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		c.subs[key].restore()
	}
	c.out.join(&waiting)
}

// disconnected settles what was lost with a connection: see loss.
func (c *Client) disconnected(err error) {
	c.mu.Lock()
	c.connected, c.lastErr = false, err
	c.silent = c.silent || errors.Is(err, errSilent)
	clear(c.extending)
	c.acks.clear()
	for _, in := range c.subs {
		for _, s := range in.members {
			for _, d := range s.running {
				d.lose()
			}
		}
	}
	now := time.Now()
	var over, again []*request
	for _, r := range c.waiting {
		switch {
		case r.loss == lossBound:
			r.fail = connectionGone
		case r.state == queued:
			if !r.tried {
				r.since = now
			}
			continue
		case r.loss == lossResend, r.loss == lossRepeat:
			again = append(again, r)
			continue
		default:
			r.fail = &failure{text: "connection lost before the answer", kinds: []error{ErrUnknownOutcome}, cause: err}
		}
		over = append(over, r)
	}
	for _, r := range over {
		c.settle(r)
	}
	c.out.keep(func(f frame) bool { return f.epoch == 0 })
	c.sendAgain(again, now)
	c.roomier()
	c.mu.Unlock()
	for _, r := range over {
		r.finish()
	}
	c.expire(err)
}

// sendAgain queues requests again that were sent, in their order and before those that were
// not: these may be of the same publisher. Called with c.mu held.
func (c *Client) sendAgain(again []*request, now time.Time) {
	slices.SortFunc(again, func(a, b *request) int { return cmp.Compare(a.n, b.n) })
	later := c.out
	c.out = outbox{}
	for _, r := range again {
		if r.state = queued; !r.tried || r.loss != lossRepeat {
			r.since = now // a message that no server can answer is given up some time
		}
		r.tried = true
		c.out.add(append(c.out.buf, r.frame...), r, 0)
	}
	c.out.join(&later)
}

// expire gives up the requests that have waited too long for a connection, and all of them
// when the server refuses who the client says it is.
func (c *Client) expire(err error) {
	now := time.Now()
	c.giveUp(unreachable("no connection", err), func(r *request) bool {
		wait := c.opts.ReconnectTimeout
		if r.tried && r.loss == lossRepeat {
			wait = c.opts.repeat
		}
		return notAccepted(err) || now.Sub(r.since) >= wait
	})
}

// finish settles everything when the client is closed.
func (c *Client) finish() {
	c.mu.Lock()
	c.closed = true
	for _, in := range c.subs {
		for _, s := range slices.Clone(in.members) {
			s.cancel()
			s.finish(closed().error("subscribe", s.target()))
		}
	}
	if c.room != nil {
		close(c.room) // full is not asked again when it is closed
		c.room = nil
	}
	c.mu.Unlock()
	c.giveUp(closed(), func(*request) bool { return true })
}

// giveUp settles those requests that which chooses.
func (c *Client) giveUp(f *failure, which func(*request) bool) {
	c.mu.Lock()
	var over []*request
	for _, r := range c.waiting {
		if which(r) {
			over = append(over, r)
		}
	}
	for _, r := range over {
		if r.fail = f; r.tried && r.loss == lossRepeat {
			r.fail = &failure{text: "connection lost before the answer; " + f.text, kinds: []error{ErrUnknownOutcome}, cause: f.cause}
		}
		c.settle(r)
	}
	if len(over) > 0 {
		c.out.keep(func(frame) bool { return true })
	}
	c.roomier()
	c.mu.Unlock()
	for _, r := range over {
		r.finish()
	}
}
