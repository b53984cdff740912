package zbus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// link is one life of the connection.
type link struct {
	c     *Client
	t     transport
	r     *wire.Reader // owned by the reader
	epoch uint64
	began time.Time       // carries the monotonic clock
	heard atomic.Int64    // when bytes came last, in nanoseconds since began; 0: none yet
	life  context.Context // ends with fail
	end   context.CancelFunc
	once  sync.Once
	err   error // why it ended; set before life ends

	moving bool // guarded by c.mu: it ends soon

	batch []incoming // owned by the reader
	done  []*request // owned by the reader
	spare *Delivery  // owned by the reader
}

// errElsewhere ends a connection to a server that sends its clients to others.
var errElsewhere = errors.New("the server is being drained, and sends its clients to others")

// moveTime is how long what is under way may take before the client goes to another server.
const moveTime = 2 * time.Second

// moveOn has the client go to its next address, when what it has asked for is answered: the
// server gives it no messages any longer. Called with c.mu held.
func (c *Client) moveOn(epoch uint64) {
	l := c.present
	if len(c.addrs) < 2 || l.epoch != epoch || l.moving || c.closed {
		return
	}
	l.moving = true
	c.handlers.Go(func() {
		ctx, cancel := context.WithTimeout(l.life, moveTime)
		defer cancel()
		_ = c.flush(ctx) // or it takes too long
		l.fail(errElsewhere)
	})
}

// fail ends the link.
func (l *link) fail(err error) {
	l.once.Do(func() {
		l.err = err
		l.end()
		_ = l.t.Close()
	})
}

// write sends what is queued, and looks after a silent connection.
func (l *link) write() {
	c := l.c
	var buf []byte
	var frames []frame
	beat := time.NewTicker(max(min(c.opts.Heartbeat, c.opts.HeartbeatTimeout)/2, time.Millisecond))
	defer beat.Stop()
	var wrote, asked time.Time // anything, and whether the server is there
	for {
		c.mu.Lock()
		c.putAcks()
		buf, frames = c.out.take(buf, frames)
		c.roomier()
		c.mu.Unlock()
		if len(frames) > 0 {
			wrote = time.Now()
			if err := l.t.write(buf, frames, c.opts.HeartbeatTimeout); err != nil {
				l.fail(err)
				return
			}
		}
		select {
		case <-c.wake:
			c.mu.Lock()
			c.woken = false
			c.mu.Unlock()
		case now := <-beat.C:
			if err := l.beat(now, wrote, &asked); err != nil {
				l.fail(err)
				return
			}
		case <-l.life.Done():
			return
		}
	}
}

// errSilent ends a connection that has died without a word.
var errSilent = errors.New("the server says nothing")

// beat asks the server whether it is there, when that has not been clear for a
// while, and fails when it did not answer. The server, too, gives up clients that it
// has not heard of for long.
func (l *link) beat(now, wrote time.Time, asked *time.Time) error {
	c := l.c
	heard := l.began.Add(time.Duration(l.heard.Load()))
	silent := now.Sub(heard)
	if silent >= c.opts.Heartbeat+c.opts.HeartbeatTimeout {
		return errSilent
	}
	if now.Sub(wrote) < c.opts.Heartbeat && (silent < c.opts.Heartbeat || asked.After(heard)) {
		return nil
	}
	*asked = now
	c.mu.Lock()
	c.number++
	c.post(wire.CmdPing, l.epoch, func(w *frameWriter) {
		w.id(c.prefix, classRequest, c.number)
		w.body(nil)
	})
	c.mu.Unlock()
	return nil
}

// incoming is what the reader has made of a frame.
type incoming struct {
	class  byte
	n      uint64 // of an id that this client made; 0 for others
	status int
	text   string // with classPublish
	at     placed // with classPublish
	m      *wire.Message
	d      *Delivery
}

// read takes frames in until the connection ends, and returns why.
func (l *link) read() error {
	for {
		more, err := l.collect()
		l.c.dispatch(l)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if err := l.r.Fill(); err != nil {
			return err
		}
		l.heard.Store(max(1, int64(time.Since(l.began))))
	}
}

// batchSize is how many frames are taken in before those who wait are told.
const batchSize = 256

// collect turns buffered frames into l.batch, and reports whether there may be more.
func (l *link) collect() (more bool, err error) {
	l.batch = l.batch[:0]
	for len(l.batch) < batchSize {
		in := incoming{}
		id, _ := l.r.PeekField(wire.HeaderID)
		in.class, in.n, _ = parseID(id, l.c.prefix)
		if in.class == classPublish {
			// Answers to publishes are looked at and forgotten.
			m, _, err := l.r.Borrow()
			if m == nil {
				return false, err
			}
			if in.status = m.Status; in.status == 200 {
				in.at = placeOfAnswer(m)
			} else {
				in.text = string(m.Body)
			}
			l.r.Recycle(m)
			l.batch = append(l.batch, in)
			continue
		}
		if in.class == classDelivery {
			in.d = l.room()
			l.r.Recycle(&in.d.m) // where the message goes
		}
		m, err := l.r.Next()
		if m == nil {
			return false, err
		}
		in.m, in.status = m, m.Status
		if in.d != nil {
			l.spare = nil
			in.d.read()
		}
		l.batch = append(l.batch, in)
	}
	return true, nil
}

// room is a delivery for the message that comes next, if all of it is there.
func (l *link) room() *Delivery {
	if l.spare == nil {
		l.spare = new(Delivery)
	}
	return l.spare
}

// dispatch hands what was collected to those who wait for it.
func (c *Client) dispatch(l *link) {
	if len(l.batch) == 0 {
		return
	}
	l.done = l.done[:0]
	c.mu.Lock()
	for i := range l.batch {
		in := &l.batch[i]
		if in.class == classDelivery {
			if to := c.subs[in.n>>generationBits]; to != nil {
				to.arrived(in, l.epoch)
			}
			continue
		}
		if in.class == classExtend {
			c.extensionAnswered(in.n, in.status, string(in.m.Body))
			continue
		}
		if in.class == classSettle {
			c.log.Warn("zbus message not settled, it comes again", "status", in.status, "text", string(in.m.Body))
			continue
		}
		r := c.waiting[in.n]
		if r == nil || r.state != sent {
			continue
		}
		r.status, r.text, r.at, r.reply = in.status, in.text, in.at, in.m
		c.settle(r)
		l.done = append(l.done, r)
	}
	c.roomier()
	wake, spoken := c.unsent() && c.wakeLocked(), c.silent && c.spoken != nil
	c.silent = false
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
	if spoken {
		c.spoken()
	}
	for i, r := range l.done {
		r.finish()
		l.done[i] = nil
	}
	for i := range l.batch {
		if in := &l.batch[i]; c.pushed != nil && in.m != nil && in.m.Get(wire.HeaderCmd) == wire.CmdTrackPub {
			c.pushed(in.m.Body)
		}
		l.batch[i] = incoming{}
	}
}
