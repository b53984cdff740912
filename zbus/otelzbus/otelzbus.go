// Package otelzbus makes traces and metrics of what a zbus client does, for OpenTelemetry. It is
// a module of its own, so that programs without OpenTelemetry do not depend on it.
//
//	telemetry, err := otelzbus.New(otelzbus.Options{})
//	if err != nil {
//		return err
//	}
//	client, err := zbus.Dial(ctx, address, zbus.Options{Middleware: []zbus.Middleware{telemetry}})
//
// A message or call takes the trace of its context along, in the headers traceparent and
// tracestate of W3C Trace Context. A handler's context continues it, and so does that of a method
// of a service. What [zbus.Client.Messages] and [zbus.Client.Fetch] return is a span by itself, with
// a link to the one that has published it; [Context] continues the trace.
//
// The spans are
//
//	send TOPIC         a publish, until its outcome is there
//	receive TOPIC      a message that Messages or Fetch has returned
//	process TOPIC      a handler, until it returns
//	TOPIC/METHOD       a call, on either end
//
// and the metrics, all with the attribute messaging.destination.name or rpc.service, and
// error.type where it failed. A service measures calls of methods that it does not have, whose names are
// their callers', as those of rpc.method _OTHER:
//
//	messaging.client.sent.messages        messages published
//	messaging.client.operation.duration   time until the outcome of a publish is there, in seconds
//	messaging.client.consumed.messages    messages handled, or returned by Messages and Fetch
//	messaging.process.duration            time that handlers take, in seconds
//	rpc.client.duration                   time that calls take, in seconds
//	rpc.server.duration                   time that services take for calls, in seconds
package otelzbus

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rushmore/zbus-go/zbus"
)

// scope names this package to those who read traces and metrics.
const scope = "github.com/rushmore/zbus-go/zbus/otelzbus"

// Options say where traces and metrics go. The zero value is ready to use.
type Options struct {
	// TracerProvider makes the spans. Default: the global one.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics. Default: the global one.
	MeterProvider metric.MeterProvider
	// Propagator writes and reads the headers that take a trace along. Default: W3C Trace Context.
	Propagator propagation.TextMapPropagator
}

// New makes middleware for [zbus.Options]. It may be that of any number of clients. The error is
// that of the MeterProvider.
func New(opts Options) (zbus.Middleware, error) {
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.Propagator == nil {
		opts.Propagator = propagation.TraceContext{}
	}
	t := &telemetry{tracer: opts.TracerProvider.Tracer(scope), propagator: opts.Propagator}
	if err := t.metrics.make(opts.MeterProvider.Meter(scope)); err != nil {
		return zbus.Middleware{}, err
	}
	return zbus.Middleware{Publish: t.publish, Receive: t.receive, Handle: t.handle, Call: t.call, Serve: t.serve}, nil
}

// Context returns ctx with the trace that a message has come with, as W3C Trace Context.
func Context(ctx context.Context, d *zbus.Delivery) context.Context {
	return propagation.TraceContext{}.Extract(ctx, incoming{d})
}

// telemetry is what one middleware has.
type telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	metrics    metrics
}

// publish begins the span of a message, which continues in its headers.
func (t *telemetry) publish(ctx context.Context, topic string, m *zbus.Message) (func(zbus.Receipt, error), error) {
	began := time.Now()
	where := destination(topic)
	attrs := slices.Concat(where, operation("send"))
	attrs = append(attrs, attribute.Int("messaging.message.body.size", len(m.Body)))
	if m.ID != "" {
		attrs = append(attrs, attribute.String("messaging.message.id", m.ID))
	}
	ctx, span := t.tracer.Start(ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
	t.propagator.Inject(ctx, outgoing{m})
	return func(r zbus.Receipt, err error) {
		if err == nil {
			span.SetAttributes(attribute.Int64("zbus.offset", r.Offset), attribute.Bool("zbus.duplicate", r.Duplicate))
		}
		end(span, err)
		with := metric.WithAttributes(failure(where, err)...)
		t.metrics.sent.Add(ctx, 1, with)
		t.metrics.operation.Record(ctx, time.Since(began).Seconds(), with)
	}, nil
}

// receive is the span of a message that was pulled.
func (t *telemetry) receive(d *zbus.Delivery) {
	ctx := t.propagator.Extract(context.Background(), incoming{d})
	attrs := slices.Concat(delivery(d), operation("receive"))
	ctx, span := t.tracer.Start(context.Background(), "receive "+d.Topic,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...), trace.WithLinks(trace.LinkFromContext(ctx)))
	span.End()
	t.metrics.consumed.Add(ctx, 1, metric.WithAttributes(group(d)...))
}

func (t *telemetry) handle(next zbus.Handler) zbus.Handler {
	return func(ctx context.Context, d *zbus.Delivery) (err error) {
		began := time.Now()
		ctx = t.propagator.Extract(ctx, incoming{d})
		attrs := slices.Concat(delivery(d), operation("process"))
		ctx, span := t.tracer.Start(ctx, "process "+d.Topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...))
		err = errPanic // unless it returns
		defer func() {
			end(span, err)
			with := metric.WithAttributes(failure(group(d), err)...)
			t.metrics.consumed.Add(ctx, 1, with)
			t.metrics.process.Record(ctx, time.Since(began).Seconds(), with)
		}()
		err = next(ctx, d)
		return err
	}
}

func (t *telemetry) call(next zbus.CallFunc) zbus.CallFunc {
	return func(ctx context.Context, topic, method string, m *zbus.Message) (resp *zbus.Response, err error) {
		began := time.Now()
		attrs := rpc(topic, method)
		ctx, span := t.tracer.Start(ctx, topic+"/"+method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
		t.propagator.Inject(ctx, outgoing{m})
		err = errPanic
		defer func() {
			end(span, err)
			t.metrics.client.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(failure(attrs, err)...))
		}()
		resp, err = next(ctx, topic, method, m)
		return resp, err
	}
}

func (t *telemetry) serve(next zbus.RequestHandler) zbus.RequestHandler {
	return func(ctx context.Context, d *zbus.Delivery) (m *zbus.Message, err error) {
		began := time.Now()
		call, _ := zbus.CallOf(ctx)
		attrs, asked := rpc(call.Topic, call.Method), []attribute.KeyValue(nil)
		if call.Method != "" && !call.Known { // or callers could make any number of series
			attrs, asked = rpc(call.Topic, unknown), []attribute.KeyValue{attribute.String("rpc.method_original", call.Method)}
			call.Method = unknown
		}
		ctx = t.propagator.Extract(ctx, incoming{d})
		ctx, span := t.tracer.Start(ctx, call.Topic+"/"+call.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...), trace.WithAttributes(asked...))
		err = errPanic
		defer func() {
			end(span, err)
			t.metrics.server.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(failure(attrs, err)...))
		}()
		m, err = next(ctx, d)
		return m, err
	}
}

// unknown stands in attributes for what is not one of a few known values.
const unknown = "_OTHER"

// errPanic is the outcome of what has not returned.
var errPanic = errors.New("panic")

// end ends a span with an outcome.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(attribute.String("error.type", kind(err)))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// kind is what kind of error one is, in a word: of a few, since metrics have it.
func kind(err error) string {
	var call *zbus.CallError
	if errors.As(err, &call) {
		if call.Status < 400 || call.Status > 599 {
			return "500"
		}
		return strconv.Itoa(call.Status)
	}
	for _, known := range []error{
		zbus.ErrUnknownOutcome, zbus.ErrNotFound, zbus.ErrUnavailable, zbus.ErrFull, zbus.ErrTimeout, zbus.ErrQuota, zbus.ErrUnauthorized,
		zbus.ErrForbidden, zbus.ErrTooLarge, zbus.ErrExists, zbus.ErrConflict, zbus.ErrInvalid, zbus.ErrClosed, zbus.ErrInternal,
		context.Canceled, context.DeadlineExceeded, errPanic,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return unknown
}
