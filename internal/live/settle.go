package live

import (
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
)

type handlesOp struct {
	head
	Sub     string   `json:"sub"`
	Handles []string `json:"handles"`
}

type nackOp struct {
	handlesOp
	Delay  int64  `json:"delay"`
	Reason string `json:"reason"`
	Dead   bool   `json:"dead"`
}

func (s *socket) ack(c *call) error {
	var op handlesOp
	if err := c.decode(&op); err != nil {
		return err
	}
	return s.settle(c, &op, func(g *broker.Group, d broker.DeliveryHandle, done func(error)) {
		g.Ack(d.Offset, d.Handle, done)
	})
}

func (s *socket) nack(c *call) error {
	var op nackOp
	if err := c.decode(&op); err != nil {
		return err
	}
	if op.Delay < 0 || op.Delay > apiconv.MaxDelay {
		return fail(broker.Invalid, "delay %d: must be milliseconds from 0 to %d", op.Delay, int64(apiconv.MaxDelay))
	}
	return s.settle(c, &op.handlesOp, func(g *broker.Group, d broker.DeliveryHandle, done func(error)) {
		g.Nack(d.Offset, d.Handle, broker.Return{Delay: op.Delay, Cause: op.Reason, Dead: op.Dead}, done)
	})
}

func (s *socket) extend(c *call) error {
	var op handlesOp
	if err := c.decode(&op); err != nil {
		return err
	}
	return s.settle(c, &op, func(g *broker.Group, d broker.DeliveryHandle, done func(error)) {
		done(g.Extend(d.Offset, d.Handle))
	})
}

// settle does something with each delivery. The answer follows when all is done, from
// the callback of the last one.
func (s *socket) settle(c *call, op *handlesOp, do func(*broker.Group, broker.DeliveryHandle, func(error))) error {
	x, err := s.sub(op.Sub)
	if err != nil {
		return err
	}
	if len(op.Handles) == 0 || len(op.Handles) > apiconv.MaxBatch {
		return fail(broker.Invalid, "handles: need 1 to %d", apiconv.MaxBatch)
	}
	parsed := make([]broker.DeliveryHandle, len(op.Handles))
	for i, text := range op.Handles {
		if parsed[i], err = apiconv.ParseHandle(text); err != nil {
			return err
		}
	}
	a := &settled{socket: s, ref: c.Ref, handles: op.Handles, errs: make([]error, len(parsed)), held: c.keep()}
	a.left.Store(int64(len(parsed)))
	s.out.expect(a.held)
	g := x.sub.Group()
	for i, d := range parsed {
		do(g, d, func(err error) { a.done(i, err) })
	}
	return nil
}

// settled is what became of some deliveries. It is an answer.
type settled struct {
	socket  *socket
	ref     string
	handles []string
	errs    []error // one a handle, each set before left is counted down
	left    atomic.Int64
	held    int64
}

// done notes the fate of one delivery. It may be called by any goroutine.
func (a *settled) done(i int, err error) {
	a.errs[i] = err
	if a.left.Add(-1) == 0 {
		a.socket.release(a.held)
		a.socket.out.arrive(a, a.held)
	}
}

func (a *settled) cost() int64 { return a.held + int64(len(a.handles))*64 + 64 }

func (a *settled) frame() any {
	var p *problemFrame
	for i, err := range a.errs {
		if err == nil {
			continue
		}
		one := a.socket.problemOf(a.ref, err)
		if p == nil {
			p = &one
		} else if broker.CodeOf(err) == broker.Unknown {
			p.Code, p.Detail = one.Code, one.Detail
		}
		p.Failed = append(p.Failed, apimodel.HandleFailure{Handle: a.handles[i], Code: string(one.Code), Detail: one.Detail})
	}
	if p != nil {
		return p
	}
	return okFrame{"ok", a.ref}
}
