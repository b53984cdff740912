package otelzbus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/otelzbus"
	"github.com/rushmore/zbus-go/zbus/zbustest"
)

// rig is a broker, and clients whose traces and metrics are kept.
type rig struct {
	t        *testing.T
	s        *zbustest.Server
	spans    *tracetest.SpanRecorder
	provider *sdk.TracerProvider
	reader   *metric.ManualReader
	opts     zbus.Options
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, s: zbustest.Start(t), spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	r.provider = sdk.NewTracerProvider(sdk.WithSpanProcessor(r.spans))
	telemetry, err := otelzbus.New(otelzbus.Options{TracerProvider: r.provider, MeterProvider: metric.NewMeterProvider(metric.WithReader(r.reader))})
	if err != nil {
		t.Fatal(err)
	}
	r.opts = zbus.Options{Middleware: []zbus.Middleware{telemetry}}
	return r
}

// span waits for the end of the span with a name.
func (r *rig) span(name string) (found sdk.ReadOnlySpan) {
	r.t.Helper()
	r.s.Eventually("span "+name+" has ended", func() bool {
		all := r.spans.Ended()
		i := slices.IndexFunc(all, func(s sdk.ReadOnlySpan) bool { return s.Name() == name })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// attribute is what a span says of itself.
func attribute(s sdk.ReadOnlySpan, name string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == name {
			return a.Value.String()
		}
	}
	return ""
}

func (r *rig) expect(s sdk.ReadOnlySpan, kind trace.SpanKind, attributes map[string]string) {
	r.t.Helper()
	if s.SpanKind() != kind {
		r.t.Errorf("%s is a span of kind %s, want %s", s.Name(), s.SpanKind(), kind)
	}
	for name, want := range attributes {
		if got := attribute(s, name); got != want {
			r.t.Errorf("%s: %s is %q, want %q", s.Name(), name, got, want)
		}
	}
}

// count is how many measurements a metric has, over all of its attributes.
func (r *rig) count(name string) (n uint64) {
	r.t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(r.t.Context(), &all); err != nil {
		r.t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					n += uint64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					n += p.Count
				}
			}
		}
	}
	return n
}

// methods counts what services have measured, by their methods.
func (r *rig) methods() map[string]uint64 {
	r.t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(r.t.Context(), &all); err != nil {
		r.t.Fatal(err)
	}
	n := map[string]uint64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			data, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || m.Name != "rpc.server.duration" {
				continue
			}
			for _, p := range data.DataPoints {
				method, _ := p.Attributes.Value("rpc.method")
				n[method.AsString()] += p.Count
			}
		}
	}
	return n
}

// counts waits until a metric has so many measurements, and fails when it has more.
func (r *rig) counts(name string, want uint64) {
	r.t.Helper()
	r.s.Eventually(fmt.Sprintf("%s has %d", name, want), func() bool {
		n := r.count(name)
		if n > want {
			r.t.Fatalf("%s has %d, want %d", name, n, want)
		}
		return n == want
	})
}

// measured waits until services have measured their methods so often.
func (r *rig) measured(want map[string]uint64) {
	r.t.Helper()
	r.s.Eventually(fmt.Sprint("the methods in metrics are ", want), func() bool { return maps.Equal(r.methods(), want) })
}

func TestTraceGoesOnFromPublisherToHandler(t *testing.T) {
	r := start(t)
	c := r.s.Client(r.opts)
	inside := make(chan trace.SpanContext, 2)
	_, err := c.Subscribe(t.Context(), "orders", "billing", zbus.SubscribeOptions{
		Declare: &zbus.GroupSpec{Explicit: true}, Backoff: zbus.BackoffSteps(time.Hour),
	}, func(ctx context.Context, d *zbus.Delivery) error {
		inside <- trace.SpanContextFromContext(ctx)
		if string(d.Body) == "bad" {
			return errors.New("no such customer")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := r.provider.Tracer("test").Start(t.Context(), "root")
	if _, err := c.Publish(ctx, "orders", zbus.Message{ID: "order-7", Body: []byte("two teas")}); err != nil {
		t.Fatal(err)
	}
	root.End()
	send, process := r.span("send orders"), r.span("process orders")
	r.expect(send, trace.SpanKindProducer, map[string]string{
		"messaging.system": "zbus", "messaging.destination.name": "orders", "messaging.message.id": "order-7", "messaging.message.body.size": "8", "zbus.offset": "0",
	})
	r.expect(process, trace.SpanKindConsumer, map[string]string{
		"messaging.consumer.group.name": "billing", "messaging.operation.type": "process", "messaging.message.id": "order-7", "zbus.attempt": "1",
	})
	if send.Parent().SpanID() != root.SpanContext().SpanID() || process.Parent().SpanID() != send.SpanContext().SpanID() {
		t.Errorf("send is under %s, process under %s", send.Parent().SpanID(), process.Parent().SpanID())
	}
	if got := <-inside; got.SpanID() != process.SpanContext().SpanID() || got.TraceID() != root.SpanContext().TraceID() {
		t.Errorf("the handler's context has %v", got)
	}
	r.spans.Reset()
	if _, err := c.PublishAsync(t.Context(), "orders", zbus.Message{Body: []byte("bad")}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failed := r.span("process orders"); failed.Status().Code != codes.Error || failed.Status().Description != "no such customer" || attribute(failed, "error.type") != "_OTHER" {
		t.Errorf("a handler's error is %+v", failed.Status())
	}
	if _, err := c.Publish(t.Context(), "missing", zbus.Message{}); !errors.Is(err, zbus.ErrNotFound) {
		t.Fatal(err)
	}
	r.expect(r.span("send missing"), trace.SpanKindProducer, map[string]string{"error.type": "not found"})
	for name, want := range map[string]uint64{
		"messaging.client.sent.messages": 3, "messaging.client.operation.duration": 3, "messaging.client.consumed.messages": 2, "messaging.process.duration": 2,
	} {
		r.counts(name, want)
	}
}

func TestTraceGoesOnFromCallerToService(t *testing.T) {
	r := start(t)
	service := zbus.NewService(r.s.Client(r.opts), "shop", zbus.ServiceOptions{})
	inside := make(chan trace.SpanContext, 1)
	zbus.Handle(service, "price", func(ctx context.Context, item string) (int, error) {
		if item != "tea" {
			return 0, &zbus.CallError{Status: 404, Message: "no " + item}
		}
		inside <- trace.SpanContextFromContext(ctx)
		return 3, nil
	})
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()
	c := r.s.Client(r.opts)
	r.s.Eventually("the service is there", func() bool {
		info, err := c.QueryTopic(t.Context(), "shop")
		return err == nil && info.Consumers > 0
	})
	ctx, root := r.provider.Tracer("test").Start(t.Context(), "root")
	var price int
	if err := c.Call(ctx, "shop", "price", &price, "tea"); err != nil || price != 3 {
		t.Fatalf("%d, %v", price, err)
	}
	root.End()
	served := <-inside
	var client, server sdk.ReadOnlySpan
	for _, kind := range []trace.SpanKind{trace.SpanKindClient, trace.SpanKindServer} {
		r.s.Eventually(fmt.Sprint("the span of the ", kind), func() bool {
			for _, s := range r.spans.Ended() {
				switch s.SpanKind() {
				case trace.SpanKindClient:
					client = s
				case trace.SpanKindServer:
					server = s
				}
			}
			return client != nil && server != nil
		})
	}
	for _, s := range []sdk.ReadOnlySpan{client, server} {
		r.expect(s, s.SpanKind(), map[string]string{"rpc.system": "zbus", "rpc.service": "shop", "rpc.method": "price", "error.type": ""})
		if s.Name() != "shop/price" {
			t.Errorf("a span is called %q", s.Name())
		}
	}
	if client.Parent().SpanID() != root.SpanContext().SpanID() || server.Parent().SpanID() != client.SpanContext().SpanID() || served.SpanID() != server.SpanContext().SpanID() {
		t.Errorf("client is under %s, server under %s, the method has %s", client.Parent().SpanID(), server.Parent().SpanID(), served.SpanID())
	}
	r.spans.Reset()
	if err := c.Call(t.Context(), "shop", "price", &price, "beer"); !errors.Is(err, zbus.ErrNotFound) {
		t.Fatal(err)
	}
	if failed := r.span("shop/price"); failed.Status().Code != codes.Error || attribute(failed, "error.type") != "404" {
		t.Errorf("an error of the service is %+v, %v", failed.Status(), failed.Attributes())
	}
	r.measured(map[string]uint64{"price": 2})
	for i := range 3 { // names that callers make up
		r.spans.Reset()
		if err := c.Call(t.Context(), "shop", fmt.Sprint("made up ", i), nil); !errors.Is(err, zbus.ErrNotFound) {
			t.Fatal(err)
		}
		r.expect(r.span("shop/_OTHER"), trace.SpanKindServer, map[string]string{"rpc.method": "_OTHER", "rpc.method_original": fmt.Sprint("made up ", i)})
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.measured(map[string]uint64{"price": 2, "_OTHER": 3})
	r.counts("rpc.client.duration", 5)
	r.counts("rpc.server.duration", 5)
}

func TestFetchedMessageHasALinkToItsPublisher(t *testing.T) {
	r := start(t)
	c := r.s.Client(r.opts)
	if _, err := c.DeclareTopic(t.Context(), zbus.TopicSpec{Name: "log"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PublishBatch(t.Context(), "log", []zbus.Message{{Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(t.Context(), "log", "", 1, zbustest.Timeout)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	send, receive := r.span("send log").SpanContext(), r.span("receive log")
	r.expect(receive, trace.SpanKindConsumer, map[string]string{"messaging.operation.type": "receive", "zbus.offset": "0"})
	if links := receive.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != send.SpanID() {
		t.Errorf("links %v, want one to %s", links, send.SpanID())
	}
	if on := trace.SpanContextFromContext(otelzbus.Context(t.Context(), got[0])); on.TraceID() != send.TraceID() || on.SpanID() != send.SpanID() {
		t.Errorf("the trace of the message is %v, want %v", on, send)
	}
	r.counts("messaging.client.consumed.messages", 1)
}
