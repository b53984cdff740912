package live

import (
	"strconv"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// subscription is one of a socket's. It is a broker.Sink.
type subscription struct {
	socket *socket
	name   string
	sub    *broker.Subscription // set before the subscription is known to anybody else
	over   atomic.Bool          // nothing more is written for it, but calls that it was given
	serves bool                 // it takes calls: see provider

	announced bool // guarded by socket.mu: the client was told its name
	gone      bool // guarded by socket.mu: its group was removed
}

// Name is part of broker.Sink.
func (x *subscription) Name() string { return x.socket.remote }

// Session is part of broker.Sink.
func (x *subscription) Session() string { return x.socket.id }

// Quota is part of broker.Limited.
func (x *subscription) Quota() *access.Quota { return x.socket.who.Quota() }

// Deliver is part of broker.Sink.
func (x *subscription) Deliver(b *broker.Batch) {
	if x.over.Load() || !x.socket.out.put(item{batch: b, sub: x}) {
		b.Done(0)
	}
}

// Flush is part of broker.Sink. The socket's writer knows already.
func (*subscription) Flush() {}

// Ended is part of broker.Sink: the group was removed.
func (x *subscription) Ended(*broker.Subscription) {
	x.over.Store(true)
	s := x.socket
	s.mu.Lock()
	delete(s.subs, x.name)
	x.gone = true
	announced := x.announced
	s.mu.Unlock()
	if announced {
		s.withdraw(x)
		x.sayEnded()
	}
}

// close ends the subscription: what it holds and what is not written goes back.
func (x *subscription) close() {
	x.over.Store(true)
	x.sub.Close()
	x.socket.withdraw(x)
}

// endedFrame says that a subscription or a watch is over.
type endedFrame struct {
	Type   string               `json:"type"`
	Sub    string               `json:"sub,omitempty"`
	Watch  string               `json:"watch,omitempty"`
	Code   apimodel.ProblemCode `json:"code"`
	Detail string               `json:"detail"`
}

func (x *subscription) sayEnded() {
	g := x.sub.Group()
	detail := "ConsumeGroup(" + g.Name() + ") was removed"
	if g.Topic().Removed() {
		detail = "Topic(" + g.Topic().Name() + ") was removed"
	}
	x.socket.say(endedFrame{Type: "ended", Sub: x.name, Code: "not_found", Detail: detail})
}

type subscribeOp struct {
	head
	Topic  string               `json:"topic"`
	Group  *string              `json:"group"`
	Filter *string              `json:"filter"`
	Settle *apimodel.SettleMode `json:"settle"`
	Start  *apimodel.Position   `json:"start"`
	After  *string              `json:"after"`
	Window int64                `json:"window"`
}

// subscribedFrame answers it.
type subscribedFrame struct {
	Type   string              `json:"type"`
	Ref    string              `json:"ref,omitempty"`
	Sub    string              `json:"sub"`
	Topic  string              `json:"topic"`
	Group  string              `json:"group"`
	Settle apimodel.SettleMode `json:"settle"`
	After  string              `json:"after,omitempty"` // see apiconv.ResumeID
	Reset  bool                `json:"reset,omitempty"`
}

// decodeBegin decodes an op that begins a subscription, and checks what all of them have.
func (s *socket) decodeBegin(c *call, op any, topic *string, window *int64) error {
	if err := c.decode(op); err != nil {
		return err
	}
	if err := needed("topic", *topic); err != nil {
		return err
	}
	if err := checkWindow("window", *window); err != nil {
		return err
	}
	return s.mayHaveMore()
}

func (s *socket) subscribe(c *call) error {
	var op subscribeOp
	if err := s.decodeBegin(c, &op, &op.Topic, &op.Window); err != nil {
		return err
	}
	g, reset, err := s.group(c.view, &op)
	if err != nil {
		return err
	}
	begun := subscribedFrame{Type: "subscribed", Ref: c.Ref, Topic: g.Topic().Name(), Group: g.Name(), Settle: apimodel.SettleMode(g.Info().Settle.String()), Reset: reset}
	if op.Group == nil {
		begun.After = apiconv.ResumeID(g.Info().Cursor)
	}
	announce := func(name string) any {
		begun.Sub = name
		return begun
	}
	if err := s.consume(g, false, announce, op.Window); err != nil {
		if op.Group == nil {
			g.Abandon()
		}
		return err
	}
	return nil
}

// mayHaveMore refuses one subscription too many.
func (s *socket) mayHaveMore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.subs); n >= maxSubscriptions {
		return fail(broker.Quota, "this socket has %d subscriptions, which is the most: end one, or use another socket", n)
	}
	return nil
}

// consume subscribes to a group. The client learns the subscription's name, by the frame that
// begun makes, before anything else of it.
func (s *socket) consume(g *broker.Group, serves bool, begun func(name string) any, window int64) (err error) {
	s.subNames++
	x := &subscription{socket: s, name: strconv.Itoa(s.subNames), serves: serves}
	sink := broker.Sink(x)
	if serves {
		sink = provider{x}
	}
	if x.sub, err = g.Subscribe(sink); err != nil {
		return err
	}
	if serves {
		s.peer.Provide(s.hub.opts.Calls.Service(g.Topic().Name()))
	}
	s.mu.Lock()
	ended := s.ended
	if !ended && !x.gone {
		s.subs[x.name] = x
	}
	s.mu.Unlock()
	if ended {
		x.close()
		return nil
	}
	s.hub.recheckIf(s.hub.opts.Broker.As(s.who, access.Consume).MayConsume(g) != nil)
	s.say(begun(x.name))
	s.mu.Lock()
	x.announced = true
	gone := x.gone
	s.mu.Unlock()
	if gone {
		s.withdraw(x)
		x.sayEnded()
	} else if window > 0 {
		x.sub.SetCredit(x.name, window)
	}
	return nil
}

func checkWindow(name string, n int64) error {
	if n < 0 || n > maxWindow {
		return fail(broker.Invalid, "%s %d: must be 0 to %d", name, n, maxWindow)
	}
	return nil
}

// group is the group to consume in: the named one, or one of the subscription's own. reset
// says that its position was beyond the log.
func (s *socket) group(view broker.View, op *subscribeOp) (g *broker.Group, reset bool, err error) {
	t, err := view.For(access.See).Topic(op.Topic) // the group is what one consumes
	if err != nil {
		return nil, false, err
	}
	if op.Group != nil {
		if op.Filter != nil || op.Settle != nil || op.Start != nil || op.After != nil {
			return nil, false, fail(broker.Invalid, "filter, settle, start and after go with a group of the subscription's own: leave out group, or these")
		}
		g, err = view.GroupOf(t, *op.Group)
		return g, false, err
	}
	spec := broker.GroupSpec{Filter: op.Filter, Start: broker.Position{At: broker.AtLatest}}
	switch {
	case op.Start != nil && op.After != nil:
		return nil, false, fail(broker.Invalid, "start and after both say where to begin: leave out one of them")
	case op.Start != nil:
		spec.Start, err = apiconv.ParsePosition("start", *op.Start)
	case op.After != nil:
		spec.Start, reset, err = apiconv.ParseResume(t, "after", *op.After)
	}
	if err != nil {
		return nil, false, err
	}
	if op.Settle != nil {
		settle, ok := storage.ParseSettle(string(*op.Settle))
		if !ok {
			return nil, false, fail(broker.Invalid, "settle %q: must be auto or explicit", broker.Excerpt(string(*op.Settle)))
		}
		spec.Settle = &settle
	}
	g, err = view.EphemeralGroup(s.life, t, spec)
	return g, reset, err
}

// sub finds a subscription by its name.
func (s *socket) sub(name string) (*subscription, error) {
	if err := needed("sub", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	x := s.subs[name]
	s.mu.Unlock()
	if x == nil {
		return nil, noSubscription(name)
	}
	return x, nil
}

func noSubscription(name string) error {
	return fail(broker.NotFound, "this socket has no subscription %q, or it has ended", broker.Excerpt(name))
}

type unsubscribeOp struct {
	head
	Sub string `json:"sub"`
}

func (s *socket) unsubscribe(c *call) error {
	var op unsubscribeOp
	if err := c.decode(&op); err != nil {
		return err
	}
	x, err := s.sub(op.Sub)
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.subs, x.name)
	s.mu.Unlock()
	x.close()
	s.ok(c.Ref)
	return nil
}

type creditOp struct {
	head
	Sub    string `json:"sub"`
	Credit *int64 `json:"credit"`
}

func (s *socket) credit(c *call) error {
	var op creditOp
	if err := c.decode(&op); err != nil {
		return err
	}
	x, err := s.sub(op.Sub)
	if err != nil {
		return err
	}
	if op.Credit == nil {
		return fail(broker.Invalid, `the member "credit" is missing`)
	}
	if err := checkWindow("credit", *op.Credit); err != nil {
		return err
	}
	if c.Ref != "" {
		s.ok(c.Ref)
	}
	x.sub.SetCredit(x.name, *op.Credit) // if it has just ended, the client is told
	return nil
}
