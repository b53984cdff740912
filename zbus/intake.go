package zbus

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// intake is what a client takes from one group. The server knows one consumer of a group
// for each connection; the client's subscriptions to the group share what that one gets.
// All is guarded by c.mu.
type intake struct {
	c       *Client
	key     uint64
	topic   string
	group   string
	members []*Subscription // that are not over, the one that got a message last at the end
	leaving chan struct{}   // closed when the server was told that the last member leaves; nil before

	// Credit. What members hold and what may still come is not more than their windows
	// together, but for a moment after one has left.
	granted    int    // by the latest request
	left       int    // of it, as far as is known
	generation uint64 // of it
}

// placeOf is how the server compares names.
func placeOf(topic, group string) string {
	return strings.ToLower(topic) + "/" + strings.ToLower(group)
}

// join makes a subscription a member of the intake of its group. One that is to fetch does not
// become one where there is such a member already.
func (c *Client) join(ctx context.Context, s *Subscription) *failure {
	place := placeOf(s.topic, s.group)
	for {
		c.mu.Lock()
		in := c.intakes[place]
		switch {
		case c.closed:
			c.mu.Unlock()
			return closed()
		case s.fetches != nil && c.known(place) != nil:
			c.mu.Unlock()
			return nil
		case in != nil && in.leaving != nil: // or the server would take the new one for the one that leaves
			c.mu.Unlock()
			select {
			case <-in.leaving:
				continue
			case <-ctx.Done():
				return stopped(ctx, false)
			}
		case in == nil:
			c.keys++
			in = &intake{c: c, key: c.keys, topic: s.topic, group: s.group}
			c.intakes[place], c.subs[in.key] = in, in
		}
		if s.fetches != nil {
			c.fetchers[place] = s
		}
		s.in = in
		in.members = append(in.members, s)
		if s.extends() {
			c.handlers.Go(s.extendHeld)
		}
		s.greet()
		in.renew()
		c.mu.Unlock()
		c.nudge()
		return nil
	}
}

// remove takes a member out, and reports whether it was the last one.
func (in *intake) remove(s *Subscription) (last bool) {
	in.members = slices.DeleteFunc(in.members, func(m *Subscription) bool { return m == s })
	if len(in.members) > 0 {
		return false
	}
	delete(in.c.subs, in.key)
	if place := placeOf(in.topic, in.group); in.c.intakes[place] == in && in.leaving == nil {
		delete(in.c.intakes, place)
	}
	return true
}

// retire takes a member out that ends gracefully. The last one stays in, and has to tell the
// server: then it reports true, and new subscriptions wait until release.
func (in *intake) retire(s *Subscription) (last bool) {
	if len(in.members) > 1 || !slices.Contains(in.members, s) {
		in.remove(s)
		return false
	}
	in.leaving = make(chan struct{})
	return true
}

// release lets new subscriptions continue: the server knows that the last member left.
func (in *intake) release() {
	delete(in.c.intakes, placeOf(in.topic, in.group))
	close(in.leaving)
}

// arrived takes a delivery, or the refusal of a request for them.
func (in *intake) arrived(m *incoming, epoch uint64) {
	latest := m.n&generationMask == in.generation&generationMask
	if m.status != 200 {
		if latest && m.status == 204 {
			in.elapsed()
		} else if latest {
			in.refused(m.status, string(m.m.Body))
			if m.status == 503 && m.m.Get(wire.HeaderServers) != "" {
				in.c.moveOn(epoch)
			}
		}
		return
	}
	if latest {
		in.left = m.d.credit
	}
	s := in.choose()
	if s == nil {
		return // an explicit group's come again
	}
	s.take(m.d, epoch)
	in.renew()
	s.serve()
}

// choose is the member that gets the next message: of those with room the one that holds
// least, and of these the one that waits longest. What a server takes for consumed goes
// also to those that end; others get nothing then.
func (in *intake) choose() *Subscription {
	if len(in.members) == 1 {
		if s := in.members[0]; !s.stopping || !s.explicit {
			return s
		}
		return nil
	}
	best := -1
	for i, s := range in.members {
		if s.stopping && (s.explicit || best >= 0) {
			continue
		}
		if best < 0 || in.members[best].stopping || s.fuller(in.members[best]) < 0 {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	s := in.members[best]
	copy(in.members[best:], in.members[best+1:])
	in.members[len(in.members)-1] = s
	return s
}

// fuller compares how many messages two subscriptions hold; one without room counts as
// fuller than one with.
func (s *Subscription) fuller(other *Subscription) int {
	full, otherFull := s.held >= s.opts.Window, other.held >= other.opts.Window
	switch {
	case full && !otherFull:
		return 1
	case otherFull && !full:
		return -1
	}
	return s.held - other.held
}

// renew asks for more when half of what was asked for has come, unless that much is
// still to be handled.
func (in *intake) renew() {
	if !in.c.connected || 2*in.left > in.granted {
		return
	}
	window, held, wait := 0, 0, time.Duration(-1)
	for _, s := range in.members {
		if s.stopping {
			continue
		}
		window += s.opts.Window
		held += s.held
		if left := s.fetches.left(); left > 0 && (wait < 0 || left < wait) {
			wait = left
		}
	}
	window = min(window, maxWindow)
	room := window - held - in.left
	if room <= 0 || in.left > 0 && (room <= in.left || room < window/4) {
		return
	}
	in.ask(room, wait)
}

// ask asks for so many messages, in place of what was asked for before and has not come. The server gives it
// up after some time; with 0 at once, when at most one comes; with less it does not.
func (in *intake) ask(room int, wait time.Duration) {
	if !in.c.connected {
		return
	}
	in.generation++
	in.granted, in.left = room, room
	in.c.post(wire.CmdConsume, in.c.epoch, func(w *frameWriter) {
		w.id(in.c.prefix, classDelivery, in.key<<generationBits|in.generation&generationMask)
		w.field(wire.HeaderTopic, in.topic)
		w.field(wire.HeaderConsumeGroup, in.group)
		w.int(wire.HeaderWindow, int64(room))
		if wait >= 0 {
			w.int(wire.HeaderTimeout, int64((wait+time.Millisecond-1)/time.Millisecond))
		}
		w.body(nil)
	})
}

// restore subscribes on a new connection. What came by the old one and is not being
// handled comes again, if the group is explicit.
func (in *intake) restore() {
	active := false
	for _, s := range in.members {
		if s.stopping {
			continue
		}
		active = true
		if s.explicit {
			s.discard()
		}
	}
	if active {
		in.again()
	}
}

// again asks for messages as if for the first time, after making sure of topic and
// group if a subscriber wants that.
func (in *intake) again() {
	in.granted, in.left = 0, 0
	for _, s := range in.members {
		if s.stopping {
			continue
		}
		if s.opts.Declare != nil {
			in.c.number++
			in.c.post(wire.CmdDeclare, in.c.epoch, func(w *frameWriter) {
				w.id(in.c.prefix, classRequest, in.c.number)
				for _, f := range s.opts.Declare.fields(s.topic, s.group) {
					w.field(f.Name, f.Value)
				}
				w.body(nil)
			})
		}
		s.greet()
	}
	in.renew()
}

// refused hears that the server gives nothing: the group is gone, or it is not for
// this client now.
func (in *intake) refused(status int, text string) {
	in.granted, in.left = 0, 0
	for _, s := range slices.Clone(in.members) {
		gone := status == 404 && s.opts.Declare == nil
		if gone || status == 400 || status == 403 || !s.established {
			s.finish(answered("subscribe", s.target(), status, text))
		}
	}
	if len(in.members) == 0 {
		return
	}
	in.c.log.Warn("zbus subscription refused, it is tried again", "topic", in.topic, "group", in.group, "status", status, "text", text)
	epoch := in.c.epoch
	time.AfterFunc(resubscribePause, func() {
		in.c.mu.Lock()
		if in.c.connected && in.c.epoch == epoch && in.leaving == nil {
			in.again()
		}
		in.c.mu.Unlock()
		in.c.nudge()
	})
}

// handOver gives what an explicit group's member has queued to the others. Without any it
// is forgotten, and comes again.
func (in *intake) handOver(s *Subscription) {
	queued := slices.Clone(s.queued())
	s.discard()
	for _, d := range queued {
		other := in.choose()
		if other == nil {
			return
		}
		d.s = other
		other.held++
		other.queue = append(other.queue, d)
		other.serve()
	}
}
