package otelzbus

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/rushmore/zbus-go/zbus"
)

// outgoing is the headers of a message that is sent.
type outgoing struct{ m *zbus.Message }

// Get is part of propagation.TextMapCarrier.
func (c outgoing) Get(name string) string { return c.m.Headers[name] }

// Set is part of propagation.TextMapCarrier.
func (c outgoing) Set(name, value string) { c.m.SetHeader(name, value) }

// Keys is part of propagation.TextMapCarrier.
func (c outgoing) Keys() (names []string) {
	for name := range c.m.Headers {
		names = append(names, name)
	}
	return names
}

// incoming is the headers of a message that has come.
type incoming struct{ d *zbus.Delivery }

// Get is part of propagation.TextMapCarrier.
func (c incoming) Get(name string) string { return c.d.Header(name) }

// Set is part of propagation.TextMapCarrier, and never called.
func (c incoming) Set(string, string) {}

// Keys is part of propagation.TextMapCarrier.
func (c incoming) Keys() (names []string) {
	for name := range c.d.Headers() {
		names = append(names, name)
	}
	return names
}

func destination(topic string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("messaging.system", "zbus"), attribute.String("messaging.destination.name", topic)}
}

func operation(name string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("messaging.operation.name", name), attribute.String("messaging.operation.type", name)}
}

func group(d *zbus.Delivery) []attribute.KeyValue {
	return append(destination(d.Topic), attribute.String("messaging.consumer.group.name", d.Group))
}

// delivery is what is known of a message that has come.
func delivery(d *zbus.Delivery) []attribute.KeyValue {
	return append(group(d),
		attribute.String("messaging.message.id", d.ID), attribute.Int("messaging.message.body.size", len(d.Body)),
		attribute.Int64("zbus.offset", d.Offset), attribute.Int("zbus.attempt", d.Attempt))
}

func rpc(topic, method string) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("rpc.system", "zbus"), attribute.String("rpc.service", topic), attribute.String("rpc.method", method)}
}

// failure adds what kind of error there was, if there was one.
func failure(attrs []attribute.KeyValue, err error) []attribute.KeyValue {
	if err == nil {
		return attrs
	}
	return append(slices.Clip(attrs), attribute.String("error.type", kind(err)))
}

// metrics are the instruments.
type metrics struct {
	sent, consumed                     metric.Int64Counter
	operation, process, client, server metric.Float64Histogram
}

func (m *metrics) make(meter metric.Meter) (err error) {
	counter := func(name, text string) (c metric.Int64Counter) {
		if err == nil {
			c, err = meter.Int64Counter(name, metric.WithUnit("{message}"), metric.WithDescription(text))
		}
		return c
	}
	duration := func(name, text string) (h metric.Float64Histogram) {
		if err == nil {
			h, err = meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text),
				metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))
		}
		return h
	}
	m.sent = counter("messaging.client.sent.messages", "Messages that were published.")
	m.consumed = counter("messaging.client.consumed.messages", "Messages that were handled or returned.")
	m.operation = duration("messaging.client.operation.duration", "Time until the outcome of a publish was there.")
	m.process = duration("messaging.process.duration", "Time that handlers took.")
	m.client = duration("rpc.client.duration", "Time that calls took.")
	m.server = duration("rpc.server.duration", "Time that a service took for calls.")
	return err
}
