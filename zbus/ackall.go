package zbus

import (
	"context"
	"slices"

	"github.com/rushmore/zbus-go/internal/wire"
)

// ackRun is deliveries that are acked in one frame: they have one handle.
type ackRun struct {
	s       *Subscription
	handle  string
	offsets []int64 // sorted when they are written
}

// maxRun is how many deliveries go into one frame: their offsets have to fit in its head.
const maxRun = 512

func (a *ackRun) clear() { a.s, a.handle, a.offsets = nil, "", a.offsets[:0] }

// ackLater has a delivery of the present connection acked with those that come next, unless
// something else is sent first. Called with c.mu held.
func (c *Client) ackLater(d *Delivery) {
	if a := &c.acks; a.s != d.s || a.handle != d.handle || len(a.offsets) >= maxRun {
		c.putAcks()
		a.s, a.handle = d.s, d.handle
	}
	c.acks.offsets = append(c.acks.offsets, d.Offset)
}

// putAcks puts the acks that wait before what is queued next. Called with c.mu held.
func (c *Client) putAcks() {
	a := &c.acks
	if len(a.offsets) == 0 {
		return
	}
	c.number++
	w := &c.encoder
	w.dst = c.out.buf
	w.start(wire.CmdAck)
	w.id(c.prefix, classSettle, c.number)
	w.dst = append(w.dst, "ack: false\r\n"...)
	w.acks(a.s, a.handle, a.offsets)
	c.out.add(w.dst, nil, c.epoch)
	a.clear()
}

// acks writes which deliveries are acked. It sorts the offsets.
func (w *frameWriter) acks(s *Subscription, handle string, offsets []int64) {
	slices.Sort(offsets)
	w.field(wire.HeaderTopic, s.topic)
	w.field(wire.HeaderConsumeGroup, s.group)
	w.dst = append(w.dst, wire.HeaderOffset+": "...)
	w.dst = append(wire.AppendOffsets(w.dst, offsets), '\r', '\n')
	if handle != "" {
		w.field(wire.HeaderHandle, handle)
	}
	w.body(nil)
}

// AckAll acks deliveries and returns when all of them are settled, as [Delivery.Ack] does for
// one, with as few requests as it takes. Otherwise the error is a [*BatchError] that says which
// are not. They may be of several subscriptions and groups.
func AckAll(ctx context.Context, deliveries []*Delivery) error {
	runs := ackRequests(deliveries)
	for _, a := range runs {
		a.send(ctx)
	}
	errs, failed := make([]error, len(deliveries)), false
	for _, a := range runs {
		failed = !a.outcome(ctx, errs) || failed
	}
	if failed {
		return &BatchError{Errs: errs}
	}
	return nil
}

// ackRequest is one request of AckAll.
type ackRequest struct {
	ackOf
	offsets []int64
	at      []int // of each offset, where its delivery is among all
	r       *request
	unsent  bool // r was not taken, and its fail says why
}

// ackOf is what deliveries of one request have in common.
type ackOf struct {
	s      *Subscription
	epoch  uint64
	handle string
	alone  int64 // the offset, of one that has no handle
}

// ackRequests are those that settle deliveries which are not settled yet.
func ackRequests(deliveries []*Delivery) (all []*ackRequest) {
	open := make(map[ackOf]*ackRequest)
	for i, d := range deliveries {
		if !d.Explicit() || d.done.Swap(true) {
			continue
		}
		of := ackOf{s: d.s, epoch: d.epoch, handle: d.handle}
		if d.handle == "" {
			of.alone = d.Offset
		}
		a := open[of]
		if a == nil || len(a.offsets) == maxRun {
			a = &ackRequest{ackOf: of}
			open[of] = a
			all = append(all, a)
		}
		a.offsets, a.at = append(a.offsets, d.Offset), append(a.at, i)
	}
	return all
}

func (a *ackRequest) send(ctx context.Context) {
	c := a.s.c
	a.r = c.newRequest(classRequest, lossBound)
	a.r.epoch = a.epoch
	if ctx.Err() != nil {
		a.r.fail, a.unsent = stopped(ctx, false), true
		return
	}
	sorted := slices.Sorted(slices.Values(a.offsets))
	if f := c.submit(ctx, a.r, wire.CmdAck, func(w *frameWriter) { w.acks(a.s, a.handle, sorted) }); f != nil {
		a.r.fail, a.unsent = f, true
	}
}

// outcome waits for the answer, and notes the error of each delivery that is not settled. It
// reports whether all are.
func (a *ackRequest) outcome(ctx context.Context, errs []error) bool {
	c, r := a.s.c, a.r
	if !a.unsent {
		c.wait(ctx, r)
	}
	err := r.err("ack", a.s.target())
	var refused []int64
	if r.reply != nil {
		refused, _ = wire.ParseOffsets(r.reply.Get(wire.HeaderOffset), maxRun)
	}
	c.recycle(r)
	for n, offset := range a.offsets {
		if _, named := slices.BinarySearch(refused, offset); named || refused == nil {
			errs[a.at[n]] = err
		}
	}
	return err == nil
}
