package zbus

import (
	"context"
	"strings"
)

// turn is the place of a message of PublishAsync among those of its topic and key: they are given to servers one
// after the other, also when they wait for one, or have to go to another one. Its fields are guarded by cl.mu.
type turn struct {
	lane   string
	before *turn // nil: there is none under way
	next   *turn
	given  int           // how often it was given to a server
	wanted int           // how often it has to be: more often than before, after it was not stored
	come   chan struct{} // capacity 1: the one before has changed
}

// enqueue gives a message its turn, behind those that are under way.
func (cl *cluster) enqueue(topic, key string) *turn {
	t := &turn{lane: strings.ToLower(topic) + "/" + key, wanted: 1, come: make(chan struct{}, 1)}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if last := cl.lanes[t.lane]; last != nil {
		t.before, last.next = last, t
		t.wanted, t.given = last.wanted, last.wanted-1
	}
	cl.lanes[t.lane] = t
	return t
}

// isDue reports whether it is a message's turn: the one before is with a server, or over. One that was not
// stored waits for the one before to be given as often as itself, as both may have been lost together.
func (cl *cluster) isDue(t *turn) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	b := t.before
	return b == nil || b.given >= b.wanted && b.given >= t.wanted
}

// give gives a message to a server when it is due, unless that does not take it.
func (cl *cluster) give(ctx context.Context, c *Client, t *turn, topic string, m Message) *Future {
	inner := c.PublishAsync(ctx, topic, m)
	select {
	case <-inner.done:
		if cl.elsewhere(inner.err) {
			return inner
		}
	default:
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	t.given++
	t.next.signal()
	return inner
}

// stored is the outcome of a message that was given to a server. If that has certainly not stored it, it is to be
// given to one again.
func (cl *cluster) stored(ctx context.Context, t *turn, inner *Future) (Receipt, error) {
	r, err := inner.Wait(ctx)
	if cl.elsewhere(err) {
		cl.mu.Lock()
		t.wanted = t.given + 1
		cl.mu.Unlock()
	}
	return r, err
}

// publishInTurn is publish for a message that has to wait for its turn. inner is its outcome at the first
// server, nil if it was not given to any.
func (cl *cluster) publishInTurn(ctx context.Context, t *turn, inner *Future, topic string, m Message) (r Receipt, err error) {
	defer cl.over(t)
	if inner != nil {
		if r, err = cl.stored(ctx, t, inner); !cl.elsewhere(err) {
			return r, err
		}
	}
	err = cl.try(ctx, cl.patience(), "publish", topic, m.Key, func(c *Client) error {
		for !cl.isDue(t) {
			<-t.come // each ends, at the latest with the client
		}
		r, err = cl.stored(ctx, t, cl.give(ctx, c, t, topic, m))
		return err
	})
	return r, err
}

// over lets the next message through.
func (cl *cluster) over(t *turn) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if t.before != nil {
		t.before.next = t.next
	}
	if t.next != nil {
		t.next.before = t.before
		t.next.signal()
	}
	switch {
	case cl.lanes[t.lane] != t:
	case t.before != nil:
		cl.lanes[t.lane] = t.before
	default:
		delete(cl.lanes, t.lane)
	}
}

// signal has a message look whether it is due.
func (t *turn) signal() {
	if t == nil {
		return
	}
	select {
	case t.come <- struct{}{}:
	default:
	}
}
