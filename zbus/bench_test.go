package zbus_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/zbus"
)

// quickServer answers publishes, asks for nothing else, and costs as little as can
// be: what is measured is the client.
func quickServer(b *testing.B) (addr string) {
	return listen(b, func(conn *silentConn) {
		var out []byte
		for {
			m, given, err := conn.requests.Borrow()
			if err != nil {
				return
			}
			if m == nil {
				if len(out) > 0 {
					if _, err := conn.Write(out); err != nil {
						return
					}
					out = out[:0]
				}
				if err := conn.requests.Fill(); err != nil {
					return
				}
				continue
			}
			out = wire.AppendStatus(out, 200)
			out = wire.AppendField(out, wire.HeaderID, m.Get(wire.HeaderID))
			out = wire.AppendBody(out, []byte("1795346026367"))
			if !given {
				conn.requests.Recycle(m)
			}
		}
	})
}

var body = make([]byte, 256)

func BenchmarkPublish(b *testing.B) {
	c := dial(b, quickServer(b), zbus.Options{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Publish(ctx, "bench", zbus.Message{Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishParallel(b *testing.B) {
	c := dial(b, quickServer(b), zbus.Options{})
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Publish(context.Background(), "bench", zbus.Message{Body: body}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPublishAsync(b *testing.B) {
	c := dial(b, quickServer(b), zbus.Options{})
	ctx := context.Background()
	var last *zbus.Future
	b.ReportAllocs()
	for b.Loop() {
		last = c.PublishAsync(ctx, "bench", zbus.Message{Body: body})
	}
	if _, err := last.Wait(ctx); err != nil {
		b.Error(err)
	}
}

// pushServer has one group with no end of messages, and gives what it is asked for.
func pushServer(b *testing.B) (addr string) {
	return listen(b, func(conn *silentConn) {
		for m := range conn.all() {
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdQuery:
				conn.answer(m, 200, `{"topicName":"bench","groupName":"bench"}`)
			case wire.CmdUnconsume:
				conn.answer(m, 200, "")
			case wire.CmdConsume:
				var out []byte
				credit, err := strconv.Atoi(m.Get(wire.HeaderWindow))
				if err != nil {
					b.Error(err)
					return
				}
				for ; credit > 0; credit-- {
					out = appendDelivery(out, m.Get(wire.HeaderID), credit-1)
				}
				if _, err := conn.Write(out); err != nil {
					return
				}
			}
		}
	})
}

func appendDelivery(out []byte, id string, credit int) []byte {
	out = wire.AppendStatus(out, 200)
	for _, f := range [][2]string{
		{wire.HeaderID, id},
		{wire.HeaderOriginID, "k3j9xq2mabcd-1f"},
		{wire.HeaderSender, "2d374555-3c44-458d-b0b6-8774dc0cec59"},
		{wire.HeaderTopic, "bench"},
		{wire.HeaderOriginURL, "/"},
		{wire.HeaderOffset, "123456"},
		{wire.HeaderTimestamp, "1795346026367"},
		{wire.HeaderDeliveryCount, "1"},
	} {
		out = wire.AppendField(out, f[0], f[1])
	}
	out = wire.AppendInt(out, wire.HeaderWindow, int64(credit))
	return wire.AppendBody(out, body)
}

func BenchmarkSubscribe(b *testing.B) {
	c := dial(b, pushServer(b), zbus.Options{})
	n, all := 0, make(chan struct{})
	b.ReportAllocs()
	_, err := c.Subscribe(context.Background(), "bench", "", zbus.SubscribeOptions{Window: 1024}, func(context.Context, *zbus.Delivery) error {
		if n++; n == b.N {
			close(all)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	<-all
}
