package cli

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/zbus"
)

// stream is a consumer at work. It is for one goroutine.
type stream struct {
	i       *invocation
	a       *api
	c       *zbus.Client
	topic   string
	group   string
	options zbus.SubscribeOptions
	print   func(*zbus.Delivery) error

	count    int   // ends after so many; 0 is no such end
	waits    bool  // does not end at the end of the log
	endless  bool  // has no end of its own, so an interruption is as good as any
	end      int64 // offset of the first message that was not there at the beginning
	ownGroup bool

	printed  int
	last     int64     // offset of the message that was printed last; -1 before
	lastTime time.Time // of that
	lastCome time.Time // when anything came, or when it began
}

// come is a message, or why there are no more.
type come struct {
	d   *zbus.Delivery
	err error
}

// The first pause after which a group is asked whether it has anything left, and the
// longest between two questions.
const (
	firstLook = 5 * time.Millisecond
	lastLook  = 200 * time.Millisecond
)

// silence is after how long what is in flight is not on its way to us.
const silence = time.Second

// run prints what comes until it is enough, over is, or ctx ends. What has come by
// then, in a group whose messages are gone with that, is printed, too.
func (s *stream) run(ctx context.Context, over <-chan time.Time) error {
	s.lastCome = time.Now()
	taking, stop := context.WithCancel(ctx)
	defer stop()
	messages, next := make(chan come), make(chan bool)
	go s.take(taking, messages, next)
	pause := firstLook
	look := time.NewTimer(pause)
	defer look.Stop()
	var late bool
	for {
		select {
		case m := <-messages:
			if m.err != nil {
				<-messages // the end of the subscription: acks have arrived
				return s.ended(ctx, taking, late, m.err)
			}
			if done, err := s.handle(ctx, m.d); done || err != nil {
				next <- false
				<-messages
				return err
			}
			if !s.waits && s.beyond(m.d) {
				stop()
			}
			next <- true
			s.lastCome, pause = time.Now(), firstLook
			look.Reset(pause)
		case <-over:
			late, over = true, nil
			stop()
		case <-look.C:
			if s.waits || taking.Err() != nil {
				continue
			}
			if done, err := s.caughtUp(ctx); err != nil {
				return err
			} else if done {
				stop()
			}
			pause = min(2*pause, lastLook)
			look.Reset(pause)
		}
	}
}

// take hands messages on, one at a time: the next is taken when the one before was
// dealt with, and none beyond what was asked for.
func (s *stream) take(ctx context.Context, messages chan<- come, next <-chan bool) {
	defer close(messages)
	for d, err := range s.c.Messages(ctx, s.topic, s.group, s.options) {
		messages <- come{d, err}
		if err != nil || !<-next {
			return
		}
	}
}

// beyond reports whether a message is the last that was there at the beginning, or
// newer. In a group with acks, what came back may still come after that one.
func (s *stream) beyond(d *zbus.Delivery) bool {
	return d.Offset >= s.end || d.Offset == s.end-1 && !d.Explicit()
}

// handle prints a message, and reports whether it was the last that is wanted. Going on
// to the next one acks it, in a group where that is needed.
func (s *stream) handle(ctx context.Context, d *zbus.Delivery) (last bool, err error) {
	if s.ownGroup && d.Offset <= s.last && !d.Time.After(s.lastTime) {
		return false, nil // again, after the connection was lost
	}
	if err := s.print(d); err != nil {
		return false, err
	}
	s.printed++
	s.last, s.lastTime = d.Offset, d.Time
	if s.count == 0 || s.printed < s.count {
		return false, nil
	}
	return true, s.ackLast(ctx, d)
}

// ackLast acks the message after which none is asked for.
func (s *stream) ackLast(ctx context.Context, d *zbus.Delivery) error {
	err := d.Ack(context.WithoutCancel(ctx))
	if errors.Is(err, zbus.ErrConflict) {
		return &failure{fmt.Sprintf("offset %d was printed too late and comes again: %v", d.Offset, plain(err)), err}
	}
	return err
}

// caughtUp reports whether the group has nothing left for us. What is in flight may be
// on its way to us; what is not here after a while others have. That, and what rests
// before it comes again, is not waited for.
func (s *stream) caughtUp(ctx context.Context) (bool, error) {
	d, err := do[apimodel.Group](ctx, s.a, "GET /topics/{topic}/groups/{group}", nil, s.topic, s.group)
	if err != nil {
		if errors.Is(err, zbus.ErrNotFound) || ctx.Err() != nil {
			return false, nil // it comes with the subscription, or that ends and says so
		}
		return false, err
	}
	g := d.value
	if !g.Paused && value(g.Lag) > value(g.InFlight)+value(g.Returned) {
		return false, nil
	}
	if g.InFlight != "0" && time.Since(s.lastCome) < silence {
		return false, nil
	}
	if g.Paused {
		s.i.say("group %s is paused", s.group)
	}
	return true, nil
}

// ended says what the end of the messages means.
func (s *stream) ended(ctx, taking context.Context, late bool, err error) error {
	switch {
	case taking.Err() == nil:
		return noGroup(err, s.topic, s.group, "create it with --create, or ") // the group, or the broker, is gone
	case ctx.Err() != nil && s.endless:
		return nil
	case ctx.Err() != nil:
		return ErrInterrupted
	case late && s.count > 0:
		return fail(ErrIncomplete, "the time is over and %d of %s have come", s.printed, counted(format(int64(s.count)), "message", "messages"))
	}
	return nil
}

// deliveryJSON is a message in the words of the API.
func deliveryJSON(d *zbus.Delivery) any {
	m := struct {
		apimodel.Message
		Attempt int `json:"deliveryCount"`
	}{Attempt: d.Attempt}
	m.Offset, m.Id, m.Time, m.Size = fmt.Sprint(d.Offset), d.ID, d.Time.UTC(), format(int64(len(d.Body)))
	m.Headers = map[string]string{}
	for name, v := range d.Headers() {
		if name == "key" {
			m.Key = &v
			continue
		}
		m.Headers[name] = v
	}
	m.Tag = filled[string](d.Tag)
	if utf8.Valid(d.Body) {
		m.Body = ptr(string(d.Body))
	} else {
		m.BodyBase64 = &d.Body
	}
	return m
}
