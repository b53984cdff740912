// Package caller makes calls to services for those parts of the broker that are not
// sessions: what serves HTTP, and its WebSockets. A call is a message in a topic for calls and an entry in
// the table of calls, as for a session; its outcome comes back to the goroutine that
// waits for it, or to a sink.
package caller

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/wire"
)

// Caller makes calls. Its methods may be called by any number
// of goroutines.
type Caller struct {
	Broker *broker.Broker
	Calls  *rpc.Table
	// Stopping is closed when calls have to end that wait for an answer. Ask does not need it.
	Stopping <-chan struct{}
}

// Request is what to call.
type Request struct {
	Topic       *broker.Topic
	Name        string // of the method, for the figures alone
	ContentType string
	Headers     []wire.Field // more headers, for the provider
	Body        []byte
	Timeout     time.Duration // as Table.Timeout takes it
	Actor       string        // the remote address of who asks
	Quota       *access.Quota // of who asks
}

// Answer is what a provider answered, and how long that took.
type Answer struct {
	rpc.Answer
	Queue    time.Duration // until a provider had it
	Provider time.Duration // from then on
}

// asker is a caller that makes one call.
type asker struct {
	peer rpc.Peer
	over chan ended // capacity 1: a call is over once
}

// ended is how a call did: an answer, or another outcome.
type ended struct {
	answer  rpc.Answer
	outcome rpc.Outcome
}

// CallFailed is part of rpc.Sink.
func (a *asker) CallFailed(_ *rpc.Call, o rpc.Outcome) { a.over <- ended{outcome: o} }

// CallAnswered is part of rpc.Receiver.
func (a *asker) CallAnswered(_ *rpc.Call, answer rpc.Answer) { a.over <- ended{answer: answer} }

// Call makes a call and waits for its answer, whatever its status is. An error has one
// of the broker's codes: Invalid when the topic is none for calls, TooLarge,
// Quota, Unavailable (these did not run), Timeout, ProviderGone or, when the broker stops, Unknown
// (it may have run); or it is the one of ctx, whose end abandons the call.
func (c *Caller) Call(ctx context.Context, r Request) (*Answer, error) {
	a := &asker{over: make(chan ended, 1)}
	a.peer.Init(c.Calls, NewID(), r.Actor, a)
	defer a.peer.Leave()
	call, err := c.ask(&a.peer, NewID(), &r)
	if err != nil {
		return nil, err
	}
	select {
	case end := <-a.over:
		if end.outcome != rpc.Answered {
			return nil, Failure(call, end.outcome)
		}
		queue, provider := call.Times()
		return &Answer{end.answer, queue, provider}, nil
	case <-c.Stopping:
		a.peer.Leave()
		return nil, stopped(call)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Ask makes a call for a peer whose sink, an [rpc.Receiver], is told its outcome, perhaps
// before Ask returns. With an error, which is one of those of Call, it is told nothing. id
// is the peer's name for the call.
func (c *Caller) Ask(peer *rpc.Peer, id string, r Request) error {
	_, err := c.ask(peer, id, &r)
	return err
}

// ask hands the call to the broker.
func (c *Caller) ask(peer *rpc.Peer, id string, r *Request) (*rpc.Call, error) {
	if err := r.Quota.Call(); err != nil {
		return nil, err
	}
	if err := r.Quota.Publish(1, len(r.Body)); err != nil {
		r.Quota.Answered()
		return nil, err
	}
	headers := wire.AppendJSON(nil, append([]wire.Field{
		{Name: wire.HeaderSender, Value: peer.ID()},
		{Name: wire.HeaderContentType, Value: r.ContentType},
	}, r.Headers...))
	taken := make(chan struct{})
	p := c.Broker.NewPublishing(func() { close(taken) })
	p.Add(broker.Message{
		Topic: r.Topic, Record: storage.Record{ID: id, Headers: string(headers), Body: r.Body}, Call: true, GiveAway: true,
	})
	if _, err := p.Result(0); err != nil {
		r.Quota.Answered()
		return nil, err
	}
	call := peer.Begin(c.Calls.Now(), c.Calls.Service(r.Topic.Name()), r.Name, id, c.Calls.Timeout(r.Timeout), r.Quota)
	p.Attach(call)
	_ = p.Publish(context.Background()) // calls are not stored
	<-taken                             // at once: nothing of a call goes to disk
	if _, err := p.Result(0); err != nil && call.Refuse() {
		return nil, err
	}
	return call, nil
}

// stopped is what a caller is told whose call the end of the broker has ended.
func stopped(call *rpc.Call) error {
	if call.Given() {
		return &broker.Error{Code: broker.Unknown, Text: "the broker is shutting down: the call may have run"}
	}
	return &broker.Error{Code: broker.Unavailable, Text: "the broker is shutting down: the call did not run"}
}

// Failure is what a caller is told about an outcome that is not an answer: an error of
// the broker's codes, with a text for people.
func Failure(call *rpc.Call, o rpc.Outcome) error {
	code := broker.Internal
	switch o {
	case rpc.TimedOut:
		code = broker.Timeout
	case rpc.ProviderGone:
		code = broker.ProviderGone
	case rpc.Unavailable, rpc.Abandoned:
		code = broker.Unavailable
	case rpc.Answered:
	}
	return &broker.Error{Code: code, Text: call.Text(o)}
}

// NewID is a name for a call or a caller that can't be guessed.
func NewID() string { return strings.ToLower(rand.Text()) }
