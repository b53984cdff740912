package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// inbox is a consumer that one request is. sub and the fields before it are set before
// others get to see it.
type inbox struct {
	name, id string
	since    time.Time
	sub      *broker.Subscription
	by       access.Caller // who consumes
	cut      chan error    // capacity 1: why it was ended, for the client
	out      atomic.Int64  // messages sent
	wake     chan struct{} // capacity 1: there may be a batch
	ended    chan struct{} // closed when the group is gone
	end      sync.Once

	mu      sync.Mutex
	batches []*broker.Batch // guarded by mu
	closed  bool            // guarded by mu: what comes now goes back
}

func newInbox(ctx context.Context) *inbox {
	return &inbox{
		by: access.From(ctx), name: actor(ctx), id: newID(), since: time.Now(),
		cut: make(chan error, 1), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Name is part of broker.Sink.
func (p *inbox) Name() string { return p.name }

// Quota is part of broker.Limited.
func (p *inbox) Quota() *access.Quota { return p.by.Quota() }

// Session is part of broker.Sink.
func (p *inbox) Session() string { return p.id }

// Deliver is part of broker.Sink.
func (p *inbox) Deliver(b *broker.Batch) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.batches = append(p.batches, b)
	}
	p.mu.Unlock()
	if closed {
		b.Done(0)
	}
}

// Flush is part of broker.Sink.
func (p *inbox) Flush() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Ended is part of broker.Sink.
func (p *inbox) Ended(*broker.Subscription) { p.end.Do(func() { close(p.ended) }) }

// take gives what has come; after the last time nothing more does.
func (p *inbox) take(last bool) []*broker.Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || last
	batches := p.batches
	p.batches = nil
	return batches
}

// pullGather is how long a pull waits for more once it has something: the rest of
// what is there is on its way.
const pullGather = 2 * time.Millisecond

// Pull takes messages from a group.
func (h *handler) Pull(ctx context.Context, r PullRequestObject) (PullResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	most, wait := 1, 0
	if r.Body != nil {
		most, wait = apiconv.Or(r.Body.Max, 1), apiconv.Or(r.Body.Timeout, 0)
	}
	if most < 1 || most > 1000 || wait < 0 || wait > 60_000 {
		return nil, problem.Invalid("max must be 1 to 1000 and timeout 0 to 60000 milliseconds")
	}
	p := newInbox(ctx)
	sub, err := g.Subscribe(p)
	if err != nil {
		return nil, err
	}
	if p.sub = sub; wait > 0 {
		h.Readers.add(p, h.broker)
		defer h.Readers.remove(p)
	}
	sub.SetCredit(p.id, int64(most))
	batches, err := p.gather(ctx, h.Stopping, most, time.Duration(wait)*time.Millisecond)
	sub.Withdraw(p.id)
	answer := &pulled{sub: sub, batches: append(batches, p.take(true)...)}
	if err != nil {
		answer.end(false)
		return nil, err
	}
	return answer, nil
}

// gather waits for the first messages and then for those that come with them.
func (p *inbox) gather(ctx context.Context, stopping <-chan struct{}, most int, wait time.Duration) (batches []*broker.Batch, err error) {
	n := 0
	timer := time.NewTimer(max(wait, pullGather))
	defer timer.Stop()
	for n < most {
		select {
		case <-p.wake:
			for _, b := range p.take(false) {
				batches = append(batches, b)
				n += len(b.Items)
			}
			timer.Reset(pullGather)
		case <-timer.C:
			return batches, nil
		case <-p.ended:
			return batches, &broker.Error{Code: broker.NotFound, Text: "the group was removed"}
		case err := <-p.cut:
			return batches, err
		case <-stopping:
			return batches, nil
		case <-ctx.Done():
			return batches, ctx.Err()
		}
	}
	return batches, nil
}

// pulled is the answer to a pull: what it holds is the client's once it is written,
// and goes back to the group otherwise.
type pulled struct {
	sub     *broker.Subscription
	batches []*broker.Batch
}

// VisitPullResponse writes the answer.
func (p *pulled) VisitPullResponse(w http.ResponseWriter) error {
	size := int64(0)
	for _, b := range p.batches {
		size += b.Bytes()
	}
	if err := hold(w, size); err != nil {
		p.end(false)
		return err
	}
	list := []Delivery{}
	for _, b := range p.batches {
		for i := range b.Items {
			list = append(list, apiconv.Delivery(b, i))
		}
	}
	body, err := json.Marshal(Pull200JSONResponse{Deliveries: list})
	if err != nil {
		p.end(false)
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err = w.Write(append(body, '\n')); err == nil {
		err = http.NewResponseController(w).Flush()
	}
	p.end(err == nil)
	return nil // the status is sent: there is nothing more to say
}

// end ends the subscription. What was written to the client and has to be acked
// stays in flight.
func (p *pulled) end(written bool) {
	for _, b := range p.batches {
		n := 0
		if written {
			n = len(b.Items)
		}
		b.Done(n)
	}
	p.sub.Leave()
}

// settling is what is done with each of some deliveries.
type settling func(d broker.DeliveryHandle, done func(error))

// settle does something with each delivery and waits until all have happened.
// Those that failed are named in the error.
func (h *handler) settle(ctx context.Context, handles []string, f settling) (SettledJSONResponse, error) {
	var none SettledJSONResponse
	parsed, err := apiconv.ParseHandles(handles)
	if err != nil {
		return none, err
	}
	errs := make([]error, len(parsed))
	done := make(chan struct{})
	var left atomic.Int64
	left.Store(int64(len(parsed)))
	for i, d := range parsed {
		f(d, func(err error) {
			if errs[i] = err; left.Add(-1) == 0 {
				close(done)
			}
		})
	}
	select {
	case <-done:
	case <-ctx.Done():
		return none, &broker.Error{Code: broker.Unknown, Text: "given up: the handles may be settled or not", Err: ctx.Err()}
	}
	return settledAnswer(handles, errs)
}

func settledAnswer(handles []string, errs []error) (SettledJSONResponse, error) {
	var failed []HandleFailure
	var first error
	for i, err := range errs {
		if err == nil {
			continue
		}
		if first == nil || broker.CodeOf(err) == broker.Unknown {
			first = err
		}
		p := problem.Of(err)
		failed = append(failed, HandleFailure{Handle: handles[i], Code: string(p.Code), Detail: *p.Detail})
	}
	if first != nil {
		return SettledJSONResponse{}, &problem.Detailed{Err: first, Failed: failed}
	}
	return SettledJSONResponse{Settled: len(handles)}, nil
}

// Ack settles deliveries.
func (h *handler) Ack(ctx context.Context, r AckRequestObject) (AckResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	answer, err := h.settle(ctx, r.Body.Handles, func(d broker.DeliveryHandle, done func(error)) {
		g.Ack(d.Offset, d.Handle, done)
	})
	return Ack200JSONResponse{answer}, err
}

// Nack gives deliveries back.
func (h *handler) Nack(ctx context.Context, r NackRequestObject) (NackResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	delay := apiconv.Or(r.Body.Delay, 0)
	if delay < 0 || delay > apiconv.MaxDelay {
		return nil, problem.Invalid("delay %d: must be milliseconds from 0 to a week", delay)
	}
	answer, err := h.settle(ctx, r.Body.Handles, func(d broker.DeliveryHandle, done func(error)) {
		g.Nack(d.Offset, d.Handle, broker.Return{Delay: delay, Cause: apiconv.Or(r.Body.Reason, ""), Dead: apiconv.Or(r.Body.Dead, false)}, done)
	})
	return Nack200JSONResponse{answer}, err
}

// Extend gives deliveries more time.
func (h *handler) Extend(ctx context.Context, r ExtendRequestObject) (ExtendResponseObject, error) {
	g, err := h.view(ctx).Group(r.Topic, r.Group)
	if err != nil {
		return nil, err
	}
	answer, err := h.settle(ctx, r.Body.Handles, func(d broker.DeliveryHandle, done func(error)) {
		done(g.Extend(d.Offset, d.Handle))
	})
	return Extend200JSONResponse{answer}, err
}
