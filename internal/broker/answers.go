package broker

import (
	"strconv"
	"strings"
)

// Handle names one delivery: it proves that the bearer was given exactly this
// message at this attempt, and nobody can guess another's.
func (b *Batch) Handle(i int) string {
	return handle(b.Sub.token, b.epoch, b.Items[i].Count)
}

// claim finds the flight that a handle stands for, or nil when the topic has dropped
// the message in the meantime, so that nothing is left to do. Called with g.mu held.
func (g *Group) claim(offset int64, handle string) (*flight, error) {
	token, rest, _ := strings.Cut(handle, ".")
	epoch, count, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, errorf(Invalid, "malformed handle %q: give one that a delivery carried", handle)
	}
	f := g.flying.get(offset)
	if f == nil && g.isDropped(offset) && strconv.FormatInt(g.def.Epoch, 36) == epoch {
		return nil, nil
	}
	if f == nil || f.sub.token != token || strconv.FormatInt(f.count, 36) != count ||
		strconv.FormatInt(g.def.Epoch, 36) != epoch {
		return nil, errorf(Conflict, "the delivery of offset %d is no longer yours: it was settled, timed out or its group was relocated", offset)
	}
	return f, nil
}

// isDropped reports whether an offset lies below the log: retention or an
// administrator took what was there.
func (g *Group) isDropped(offset int64) bool { return offset >= 0 && offset < g.t.First() }

// held finds the message that a subscription holds. Called with g.mu held.
func (g *Group) held(offset int64, s *Subscription) (*flight, error) {
	if f := g.flying.get(offset); f != nil && f.sub == s {
		return f, nil
	}
	return nil, errorf(Conflict, "offset %d is not, or no longer, delivered to you: it was settled, timed out or its group was relocated", offset)
}

// HandleOf is the handle of a message that the subscription holds, for clients
// that settle by offset on the connection that got the message.
func (s *Subscription) HandleOf(offset int64) (string, error) {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	f, err := g.held(offset, s)
	switch {
	case err != nil && g.isDropped(offset):
		return handle(s.token, g.def.Epoch, 0), nil
	case err != nil:
		return "", err
	}
	return handle(s.token, g.def.Epoch, f.count), nil
}

func handle(token string, epoch, count int64) string {
	return token + "." + strconv.FormatInt(epoch, 36) + "." + strconv.FormatInt(count, 36)
}

// Ack settles a delivered message for good. done is called once, after the new
// position is on disk, or at once with the reason why not; it must not block.
func (g *Group) Ack(offset int64, handle string, done func(error)) {
	g.answered(offset, handle, done, func(*flight) { g.settle(offset, offset+1) })
}

// AckAll settles deliveries of several messages that have one handle, for good, as Ack does each.
// done is called once: with the offsets of those that could not be, and the reason of the first;
// the others are settled. When nobody knows whether they are, none is refused.
func (g *Group) AckAll(offsets []int64, handle string, done func(refused []int64, err error)) {
	var refused []int64
	var reason error
	g.mu.Lock()
	for _, offset := range offsets {
		f, err := g.claim(offset, handle)
		if err != nil {
			if refused = append(refused, offset); reason == nil {
				reason = err
			}
			continue
		}
		if f != nil {
			g.land(f)
			g.settle(offset, offset+1)
		}
	}
	if len(refused) == len(offsets) {
		g.mu.Unlock()
		done(refused, reason)
		return
	}
	g.acks = append(g.acks, func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(refused, reason)
	})
	g.mu.Unlock()
	g.wakeUp()
	g.toSave(true)
}

// Return says how a message is given back.
type Return struct {
	Delay int64  // milliseconds until it may be delivered again
	Cause string // for its dead letter, and cut to what that has room for; "": it was nacked
	Dead  bool   // it is not delivered again: it goes to the dead letters
}

// maxCause is the most bytes of a cause.
const maxCause = 500

// Nack gives a delivered message back, to be delivered again or, if that is what it says, to go
// to the dead letters of a group that has them. done is called once, after that is on disk, or at
// once with the reason why not; it must not block.
func (g *Group) Nack(offset int64, handle string, r Return, done func(error)) {
	due := int64(0)
	if r.Delay > 0 {
		due = g.b.after(r.Delay)
	}
	cause := "nack"
	if r.Cause != "" {
		cause = strings.ToValidUTF8(clipped(r.Cause, maxCause), "\uFFFD")
	}
	if info := g.Info(); r.Dead && !dies(g.t, &info.Group) {
		done(errorf(Invalid, "group %q of topic %q has no dead letters: give it a limit of deliveries (maxDeliver)", g.name, g.t.name))
		return
	}
	g.answered(offset, handle, done, func(f *flight) {
		if f.condemned = r.Dead; r.Dead {
			due = 0
		}
		g.requeue(f, due, cause)
	})
}

// Extend gives a delivered message its whole ack timeout once more.
func (g *Group) Extend(offset int64, handle string) error {
	g.mu.Lock()
	f, err := g.claim(offset, handle)
	if f != nil {
		f.due = g.b.after(g.ackTimeout())
		g.flying.put(f)
	}
	g.mu.Unlock()
	return err
}

// answered takes the message that a handle stands for out of flight, lets
// outcome say what becomes of it (with g.mu held), and has that saved.
func (g *Group) answered(offset int64, handle string, done func(error), outcome func(*flight)) {
	g.mu.Lock()
	f, err := g.claim(offset, handle)
	if err != nil {
		g.mu.Unlock()
		done(err)
		return
	}
	if f != nil {
		g.land(f)
		outcome(f)
	}
	g.acks = append(g.acks, done)
	g.mu.Unlock()
	g.wakeUp()
	g.toSave(true)
}
