package zbus

import (
	"context"
	"maps"
	"slices"
)

// Middleware is what a program has done around all that a client does, such as logging, tracing
// or limits; see package otelzbus for OpenTelemetry. Fields that are nil do nothing. Any number of
// goroutines may call them.
type Middleware struct {
	// Publish sees each message before it is sent, and may change it: [Message.SetHeader] adds
	// a header. An error refuses the message. The function that it returns, if not nil, gets the
	// outcome; it must not block.
	Publish func(ctx context.Context, topic string, m *Message) (done func(Receipt, error), err error)
	// Receive sees each message that Messages or Fetch returns.
	Receive func(d *Delivery)
	// Handle wraps the handlers of subscriptions.
	Handle func(next Handler) Handler
	// Call wraps the calls of services, by Call and Request.
	Call func(next CallFunc) CallFunc
	// Serve wraps what answers calls of a service; [CallOf] tells which one it is.
	Serve func(next RequestHandler) RequestHandler
}

// CallFunc makes one call. The method is empty where none is known: see [Client.Request].
type CallFunc func(ctx context.Context, topic, method string, m *Message) (*Response, error)

// SetHeader sets a header of the message. It leaves the map alone that the message had before,
// which may be one of several messages.
func (m *Message) SetHeader(name, value string) {
	if m.Headers = maps.Clone(m.Headers); m.Headers == nil {
		m.Headers = make(map[string]string, 1)
	}
	m.Headers[name] = value
}

// around is the middleware of a client, the outermost first.
type around []Middleware

// publish tells of a message that is about to be sent, and returns what is to have its outcome;
// nil: nothing is.
func (a around) publish(ctx context.Context, topic string, m *Message) (done func(Receipt, error), err error) {
	var all []func(Receipt, error)
	for i := range a {
		if a[i].Publish == nil {
			continue
		}
		one, err := a[i].Publish(ctx, topic, m)
		if one != nil {
			all = append(all, one)
		}
		if err != nil {
			finish(all, Receipt{}, err)
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(r Receipt, err error) { finish(all, r, err) }, nil
}

// finish hands an outcome out, to the innermost first.
func finish(all []func(Receipt, error), r Receipt, err error) {
	for _, done := range slices.Backward(all) {
		done(r, err)
	}
}

func (a around) received(d *Delivery) {
	for i := range a {
		if a[i].Receive != nil {
			a[i].Receive(d)
		}
	}
}

func (a around) handle(h Handler) Handler {
	for i := range slices.Backward(a) {
		if wrap := a[i].Handle; wrap != nil {
			h = wrap(h)
		}
	}
	return h
}

func (a around) call(f CallFunc) CallFunc {
	for i := range slices.Backward(a) {
		if wrap := a[i].Call; wrap != nil {
			f = wrap(f)
		}
	}
	return f
}

func (a around) serve(h RequestHandler) RequestHandler {
	for i := range slices.Backward(a) {
		if wrap := a[i].Serve; wrap != nil {
			h = wrap(h)
		}
	}
	return h
}
