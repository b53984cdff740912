package zbus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rushmore/zbus-go/internal/wire"
)

// Method answers one kind of call. params are those of the call, an array of JSON
// values unless the caller sent something else. The result becomes JSON; an error goes
// to the caller as a [*CallError], which it may be.
type Method func(ctx context.Context, params json.RawMessage) (result any, err error)

// MethodMiddleware wraps the methods of a service, for instance to check what was given. [CallOf]
// tells which call the context belongs to. For all calls see [Middleware].Serve.
type MethodMiddleware func(Method) Method

// ServiceOptions say how a service works. The zero value is ready to use.
type ServiceOptions struct {
	// Concurrency is how many calls run at a time, and how many the service takes:
	// more stay with the server, for other providers. Default: 64.
	Concurrency int
	// Topic is what the topic should be; RPC is set unless Proxy is, and Name is that
	// of NewService.
	Topic TopicSpec
	// Name, Version and Description are shown to people, next to the methods with the
	// types of their parameters and results.
	Name, Version, Description string
}

// Service is a provider of calls. Create one with [NewService], give it methods with
// [Handle], then [Service.Run] it. Any number of providers may serve one topic.
type Service struct {
	c     *Client
	topic string
	opts  ServiceOptions

	mu       sync.Mutex
	methods  map[string]*method // guarded by mu
	requests RequestHandler     // guarded by mu: nil unless it takes all calls
	others   Method             // guarded by mu: for methods without one of their own; may be nil
	wraps    []MethodMiddleware // guarded by mu: the first is the outermost
	running  atomic.Bool
}

// method is one that a service has.
type method struct {
	run            Method
	text           string          // for people
	params, result json.RawMessage // JSON Schemas; nil: unknown
}

// NewService creates a provider of calls to a topic. With a client of several servers it answers those of
// all of them, also of servers that come later.
func NewService(c *Client, topic string, opts ServiceOptions) *Service {
	if opts.Concurrency <= 0 {
		opts.Concurrency = 64
	}
	return &Service{c: c, topic: topic, opts: opts, methods: make(map[string]*method)}
}

// Use adds middleware around the methods that are added later, inside that which was
// added before.
func (s *Service) Use(m ...MethodMiddleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wraps = append(s.wraps, m...)
}

// HandleRaw adds a method that reads its parameters itself; one of the same name is
// replaced. Methods may be added while the service runs.
func (s *Service) HandleRaw(method string, f Method) { s.add(method, f, nil, nil) }

func (s *Service) add(name string, f Method, params, result json.RawMessage) {
	s.mu.Lock()
	s.methods[name] = &method{run: s.wrapped(f), params: params, result: result}
	s.mu.Unlock()
	s.describeAgain()
}

// Describe says for people what a method does. The method has been added before;
// otherwise nothing happens.
func (s *Service) Describe(method, text string) {
	s.mu.Lock()
	if m := s.methods[method]; m != nil {
		m.text = text
	}
	s.mu.Unlock()
	s.describeAgain()
}

// RequestHandler answers one call whose body may be anything, with a message of which
// only headers and body count. An error goes to the caller as a [*CallError].
type RequestHandler func(ctx context.Context, d *Delivery) (*Message, error)

// HandleRequests has f answer all calls, also those that would be for a method: the
// service does not look into their bodies then. It is the counterpart of
// [Client.Request]. What Use has added does not concern it.
func (s *Service) HandleRequests(f RequestHandler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = f
}

// HandleFallback has f answer calls of all methods that were not added. [CallOf] tells
// which one is called.
func (s *Service) HandleFallback(f Method) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = s.wrapped(f)
}

// wrapped is a method inside the middleware. Called with mu held.
func (s *Service) wrapped(f Method) Method {
	for _, wrap := range slices.Backward(s.wraps) {
		f = wrap(f)
	}
	return f
}

// Handle adds a typed method. In is what the parameters are decoded into: one
// parameter as it is; several one after the other into the fields of a struct, or
// the elements of a slice; none leave it zero. Texts become numbers and booleans
// where In wants those, since calls by URL have only texts.
func Handle[In, Out any](s *Service, method string, f func(ctx context.Context, in In) (Out, error)) {
	s.add(method, func(ctx context.Context, params json.RawMessage) (any, error) {
		var in In
		if err := decodeParams(params, &in); err != nil {
			return nil, &CallError{Status: 400, Code: "bad_params", Message: "parameters: " + err.Error()}
		}
		return f(ctx, in)
	}, paramsSchema(reflect.TypeFor[In]()), schemaOf(reflect.TypeFor[Out]()))
}

// CallInfo tells about the call that is being answered.
type CallInfo struct {
	Topic  string
	Module string // that the caller named, if any
	Method string // as the caller wrote it, so it may be anything
	// Known says that the service has a method of that name.
	Known  bool
	ID     string
	Caller string // identifies the caller's connection, on the server

	d      *Delivery
	params json.RawMessage
	err    error // why it is not a call of a method; nil for all of HandleRequests
}

// Header returns the value of a header that the caller sent, or "". The name is in
// lower case.
func (c *CallInfo) Header(name string) string { return c.d.Header(name) }

type callKey struct{}

// CallOf returns the call that a method's context belongs to. It returns false for
// other contexts.
func CallOf(ctx context.Context) (CallInfo, bool) {
	info, ok := ctx.Value(callKey{}).(CallInfo)
	return info, ok
}

// Run answers calls until ctx ends. Then the service takes no more, finishes and
// answers those that it has taken, and Run returns nil. It returns an error when the
// service can't begin, or the topic or the client goes away. The contexts of methods
// end only when the client is closed. A service runs once at a time.
func (s *Service) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return invalid("serve", s.topic, "the service is running already")
	}
	defer s.running.Store(false)
	spec := s.opts.Topic
	spec.RPC = !spec.Proxy
	answer := around(s.c.opts.Middleware).serve(s.result)
	sub, err := s.c.subscribe(ctx, s.topic, "", SubscribeOptions{
		Window: s.opts.Concurrency, Concurrency: s.opts.Concurrency, Declare: &GroupSpec{Topic: spec}, greet: s.describe,
	}, func(ctx context.Context, d *Delivery) error { return s.serve(ctx, d, answer) })
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	<-sub.Done()
	if err := sub.Err(); err != nil {
		return err
	}
	return s.c.barrier(context.WithoutCancel(ctx)) // the last answers have arrived
}

// serve answers one call with what answer makes of it.
func (s *Service) serve(ctx context.Context, d *Delivery, answer RequestHandler) error {
	s.mu.Lock()
	whole := s.requests != nil
	s.mu.Unlock()
	info := CallInfo{Topic: s.topic, ID: d.ID, Caller: d.Sender, d: d}
	if !whole {
		info.read(d.Body)
		s.mu.Lock()
		info.Known = s.methods[info.Method] != nil
		s.mu.Unlock()
	}
	m, err := answer(context.WithValue(ctx, callKey{}, info), d)
	switch {
	case err != nil:
		status, body := encodeCallError(err)
		sent := 200 // where callers in other languages look for an error
		if whole {
			sent = status
		}
		s.send(d, sent, status, &Message{Headers: jsonHeaders, Body: body})
	case m == nil:
		s.send(d, 200, 0, &Message{})
	default:
		s.send(d, 200, 0, m)
	}
	return nil
}

// read reads which method is called, with what.
func (c *CallInfo) read(body []byte) {
	var req struct {
		Method string          `json:"method"`
		Module string          `json:"module"`
		Params json.RawMessage `json:"params"`
	}
	if err := unmarshal(body, &req); err != nil {
		c.err = &CallError{Status: 400, Code: "bad_call", Message: "not a call: must be JSON with method and params: " + err.Error()}
		return
	}
	c.Module, c.Method, c.params = req.Module, req.Method, req.Params
}

// result makes the answer to a call.
func (s *Service) result(ctx context.Context, d *Delivery) (*Message, error) {
	s.mu.Lock()
	requests := s.requests
	s.mu.Unlock()
	if requests != nil {
		return s.request(ctx, d, requests)
	}
	info, _ := CallOf(ctx)
	if info.err != nil {
		return nil, info.err
	}
	result, err := s.run(ctx, info.Method, info.params)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(struct {
		Result any `json:"result"`
	}{result})
	if err != nil {
		return nil, fmt.Errorf("the result does not become JSON: %w", err)
	}
	return &Message{Headers: jsonHeaders, Body: body}, nil
}

// run runs a method. A panic of it is an error of which the caller learns no more
// than that.
func (s *Service) run(ctx context.Context, name string, params json.RawMessage) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.log.Error("zbus method panicked", "topic", s.topic, "method", name, "panic", p, "stack", string(debug.Stack()))
			err = &CallError{Status: 500, Code: "panic", Message: "the method panicked"}
		}
	}()
	s.mu.Lock()
	m, others := s.methods[name], s.others
	s.mu.Unlock()
	switch {
	case m != nil:
		return m.run(ctx, params)
	case name == "": // clients ask so what there is
		return s.names(), nil
	case others != nil:
		return others(ctx, params)
	}
	return nil, &CallError{Status: 404, Code: "no_method", Message: fmt.Sprintf("no method %q", name)}
}

// names lists the methods.
func (s *Service) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.AppendSeq([]string{}, maps.Keys(s.methods)) // never null in JSON
	slices.Sort(names)
	return names
}

// request runs f. A panic of it is an error of which the caller learns no more.
func (s *Service) request(ctx context.Context, d *Delivery, f RequestHandler) (m *Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.log.Error("zbus request handler panicked", "topic", s.topic, "panic", p, "stack", string(debug.Stack()))
			err = &CallError{Status: 500, Code: "panic", Message: "the request handler panicked"}
		}
	}()
	if m, err = f(ctx, d); m != nil && err == nil {
		err = m.check("answer", s.topic)
	}
	return m, err
}

// send sends the answer to a call. failed is the status of an error inside; 0 is none.
// Callers in other languages look for that in the body of an answer with status 200.
func (s *Service) send(d *Delivery, status, failed int, m *Message) {
	c := d.s.c
	c.mu.Lock()
	c.post(wire.CmdRoute, 0, func(w *frameWriter) {
		w.field(wire.HeaderID, d.ID)
		w.field(wire.HeaderRecver, d.Sender)
		w.field(wire.HeaderTopic, s.topic)
		w.dst = append(w.dst, "ack: false\r\n"...)
		w.int(wire.HeaderOriginStatus, int64(status))
		if failed != 0 {
			w.int(wire.HeaderErrorStatus, int64(failed))
		}
		for name, value := range m.Headers {
			w.field(name, value)
		}
		w.body(m.Body)
	})
	c.mu.Unlock()
	c.nudge()
}
