package zbus

import (
	"context"
	"time"
)

// The shortest and the longest time that a Fetch waits. A server refuses to be asked for longer.
const (
	leastFetch = time.Millisecond
	mostFetch  = 24 * time.Hour
)

// Fetch takes messages of a group: up to most of them, at most 100,000, and waits up to the
// given time, a millisecond at least and a day at most, until there are so many. It returns those that came by
// then, which may be none; "" is the default group, named like the topic. Both have to exist
// (ErrNotFound).
//
// In an explicit group each has to be acked ([AckAll]) or nacked within the group's ack timeout,
// or it comes again: no more than [Delivery.Extend] extends that. In others a message is consumed
// when it has come. When ctx ends, those that have come are returned, and its error if there are
// none.
//
// The first Fetch makes the client a consumer of the group until it is closed. Fetches of one
// group take turns; they share its messages with the client's subscriptions to it. Of several servers
// it takes messages from all that have the group, those of one server in order.
func (c *Client) Fetch(ctx context.Context, topic, group string, most int, wait time.Duration) ([]*Delivery, error) {
	if group == "" {
		group = topic
	}
	if most < 1 || most > maxWindow {
		return nil, invalid("fetch", topic+"/"+group, "can't take %d messages at a time: must be 1 to %d", most, maxWindow)
	}
	wait = min(max(wait, leastFetch), mostFetch)
	if c.set != nil {
		return c.set.fetch(ctx, topic, group, most, wait)
	}
	got, err := c.fetch(ctx, topic, group, most, wait)
	for _, d := range got {
		around(c.opts.Middleware).received(d)
	}
	return got, err
}

// fetch is Fetch from one server.
func (c *Client) fetch(ctx context.Context, topic, group string, most int, wait time.Duration) ([]*Delivery, error) {
	s, err := c.fetcher(ctx, topic, group)
	if err != nil {
		return nil, err
	}
	select {
	case s.fetches.turn <- struct{}{}:
		defer func() { <-s.fetches.turn }()
	case <-ctx.Done():
		return nil, stopped(ctx, false).error("fetch", s.target())
	}
	return s.fetch(ctx, most, wait)
}

// fetching is what a subscription has that Fetch takes messages from. It wants as many as its
// window says, which is nothing while no Fetch waits.
type fetching struct {
	c     *Client
	turn  chan struct{} // capacity 1: held by the Fetch that is under way
	until time.Duration // guarded by c.mu: when that ends, on Client.clock; 0: no Fetch waits
}

// left is how long a Fetch that is under way still waits; 0: there is none. Called with c.mu held.
func (f *fetching) left() time.Duration {
	if f == nil || f.until == 0 {
		return 0
	}
	return max(f.until-f.c.clock(), leastFetch)
}

// fetcher is what messages of a group are fetched from. It is made at the first time.
func (c *Client) fetcher(ctx context.Context, topic, group string) (*Subscription, error) {
	place := placeOf(topic, group)
	c.mu.Lock()
	known := c.known(place)
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	info, err := c.QueryGroup(ctx, topic, group)
	if err != nil {
		return nil, err
	}
	s := &Subscription{
		c: c, topic: topic, group: group, explicit: info.Explicit, ackTimeout: info.AckTimeout, established: true,
		opts: SubscribeOptions{NoExtend: true}, fetches: &fetching{c: c, turn: make(chan struct{}, 1)},
		done: make(chan struct{}), come: make(chan struct{}, 1),
	}
	s.life, s.cancel = context.WithCancel(c.life)
	f := c.join(ctx, s)
	if f == nil && s.in != nil {
		return s, nil
	}
	s.cancel()
	if f != nil {
		return nil, f.error("fetch", s.target())
	}
	return c.fetcher(ctx, topic, group) // another caller made it while c.mu was free
}

// known is what a group is fetched from already; nil: nothing. Called with c.mu held.
func (c *Client) known(place string) *Subscription {
	if s := c.fetchers[place]; s != nil && !s.stopping {
		return s
	}
	return nil
}

// fetch is Fetch, when it is its turn.
func (s *Subscription) fetch(ctx context.Context, most int, wait time.Duration) (got []*Delivery, err error) {
	c := s.c
	c.mu.Lock()
	if got = s.taken(got, most); len(got) < most {
		s.opts.Window, s.fetches.until = most-len(got), c.clock()+wait
	}
	timer := time.NewTimer(wait) // not before: until is over when it fires
	defer timer.Stop()
	for late := false; s.fetches.until != 0 && len(got) < most && !s.over; {
		s.in.renew()
		c.mu.Unlock()
		c.nudge()
		select {
		case <-s.come:
		case <-s.done:
		case <-ctx.Done():
		case <-timer.C: // mostly the server says so before
		}
		c.mu.Lock()
		got = s.taken(got, most)
		passed := s.fetches.until != 0 && s.fetches.until <= c.clock()
		if ctx.Err() != nil || passed && (late || !c.connected || s.in.left == 0 || len(s.in.members) > 1) {
			break
		}
		if passed && !late { // what it sends before it says so is not to be passed over
			late = true
			timer.Reset(c.opts.HeartbeatTimeout)
		}
	}
	s.opts.Window, s.fetches.until = 0, 0
	if s.in.left > 0 && len(s.in.members) == 1 { // no Fetch wants these: the next one asks anew
		s.in.ask(1, 0)
		s.in.granted, s.in.left = 0, 0
	}
	got = present(got)
	over, why := s.over || s.stopping, s.err
	c.mu.Unlock()
	c.nudge()
	switch {
	case len(got) > 0:
		return got, nil
	case ctx.Err() != nil:
		return nil, stopped(ctx, false).error("fetch", s.target())
	case over && why == nil:
		why = closed().error("fetch", s.target())
	}
	return nil, why
}

// taken adds messages that have come. Called with c.mu held.
func (s *Subscription) taken(got []*Delivery, most int) []*Delivery {
	for len(got) < most && s.head < len(s.queue) {
		d := s.queue[s.head]
		s.queue[s.head] = nil
		s.head++
		s.held--
		if s.explicit && d.expired(s.c.clock()) { // it comes again
			continue
		}
		d.ctx = s.life
		got = append(got, d)
		s.opts.Window = max(s.opts.Window-1, 0)
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	}
	return got
}

// present are those of a server's messages that are still the client's. Called with c.mu held.
func present(got []*Delivery) (ours []*Delivery) {
	for _, d := range got {
		if d.present() {
			ours = append(ours, d)
		}
	}
	return ours
}

// present reports whether a message is still the client's: one that has to be acked is lost with the
// connection that it came by. Called with c.mu held.
func (d *Delivery) present() bool {
	c := d.s.c
	return !d.s.explicit || c.connected && d.epoch == c.epoch
}

// elapsed hears that the time of a request for messages is over, and nothing more comes for it.
// Called with c.mu held.
func (in *intake) elapsed() {
	in.granted, in.left = 0, 0
	now := in.c.clock()
	for _, s := range in.members {
		if f := s.fetches; f != nil && f.until != 0 && f.until <= now {
			f.until, s.opts.Window = 0, 0
			s.serve()
		}
	}
	in.renew()
}
