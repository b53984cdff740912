package zbus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/wire"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// certificate makes one for 127.0.0.1, as files, and a pool that trusts it.
func certificate(t testing.TB) (certFile, keyFile string, trust *tls.Config) {
	t.Helper()
	certFile, keyFile = certtest.Own(t, t.TempDir(), 1)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	return certFile, keyFile, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestTransports(t *testing.T) {
	t.Parallel()
	cert, key, trust := certificate(t)
	addr := zbustest.Start(t, func(c *config.Config) { c.TLSCert, c.TLSKey = cert, key }).Addr
	for i, test := range []struct {
		address string
		opts    zbus.Options
	}{
		{addr, zbus.Options{}},
		{"zbus://" + addr + "/", zbus.Options{}},
		{addr, zbus.Options{TLS: trust}},
		{"[SSL]" + addr, zbus.Options{TLS: trust}},
		{"zbuss://" + addr, zbus.Options{TLS: trust}},
		{"ws://" + addr, zbus.Options{}},
		{"wss://" + addr + "/any", zbus.Options{TLS: trust}},
	} {
		c := dial(t, test.address, test.opts)
		topic := fmt.Sprint("log-", i)
		declare(t, c, topic)
		publish(t, c, topic, 50)
		big := make([]byte, 300<<10)
		if _, err := c.Publish(within(t), topic, zbus.Message{Body: big}); err != nil {
			t.Fatalf("%s: %v", test.address, err)
		}
		next := int64(0)
		for d, err := range c.Messages(within(t), topic, "", zbus.SubscribeOptions{Window: 10}) {
			if err != nil || d.Offset != next {
				t.Fatalf("%s: %+v, %v; want offset %d", test.address, d, err, next)
			}
			if next++; next == 51 {
				if len(d.Body) != len(big) {
					t.Errorf("%s: a body of %d bytes, want %d", test.address, len(d.Body), len(big))
				}
				break
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"zbuss://" + addr, "wss://" + addr} {
		if _, err := zbus.Dial(within(t), address, zbus.Options{}); !errors.Is(err, zbus.ErrUnavailable) {
			t.Errorf("%s without trust: %v", address, err)
		}
	}
}

func TestTokenGoesWithEveryRequest(t *testing.T) {
	t.Parallel()
	seen := make(chan *wire.Message, 10)
	addr := listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			seen <- m
			if m.Get("cmd") == wire.CmdPing {
				conn.answer(m, 200, "OK")
				continue
			}
			conn.answer(m, 403, "")
		}
	})
	c := dial(t, addr, zbus.Options{Token: "secret"})
	if _, err := c.Publish(within(t), "t", zbus.Message{}); !errors.Is(err, zbus.ErrForbidden) {
		t.Errorf("got %v", err)
	}
	for _, cmd := range []string{"ping", "produce"} { // who it is comes first
		if m := receive(t, "a request", seen); m.Get("token") != "secret" || m.Get("cmd") != cmd {
			t.Errorf("got %+v, want %s", m.Fields, cmd)
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	status := make(chan int, 1)
	addr := listen(t, func(conn *silentConn) {
		for m := range conn.all() {
			conn.answer(m, <-status, "")
		}
	})
	c := dial(t, addr, zbus.Options{})
	for code, want := range map[int]error{
		400: zbus.ErrInvalid, 401: zbus.ErrUnauthorized, 403: zbus.ErrForbidden, 404: zbus.ErrNotFound, 405: zbus.ErrInvalid,
		408: zbus.ErrTimeout, 409: zbus.ErrConflict, 413: zbus.ErrTooLarge, 429: zbus.ErrQuota, 500: zbus.ErrInternal,
		501: zbus.ErrInvalid, 502: zbus.ErrUnknownOutcome, 503: zbus.ErrUnavailable, 504: zbus.ErrTimeout, 507: zbus.ErrFull, 599: zbus.ErrInternal,
	} {
		status <- code
		if _, err := c.Publish(within(t), "t", zbus.Message{}); !errors.Is(err, want) {
			t.Errorf("publish answered with %d: %v, want %v", code, err, want)
		}
		status <- code
		_, err := c.DeclareTopic(within(t), zbus.TopicSpec{Name: "t"})
		if !errors.Is(err, want) || errors.Is(err, zbus.ErrExists) != (code == 409) {
			t.Errorf("declare answered with %d: %v, want %v", code, err, want)
		}
	}
}

// A server of the first generation: one message a consume, without window, offset
// and handle; a ping is answered without an id.
func TestServerOfTheFirstGeneration(t *testing.T) {
	t.Parallel()
	addr := listen(t, func(conn *silentConn) {
		n := 0
		for m := range conn.all() {
			topic := wire.Field{Name: wire.HeaderTopic, Value: m.Get(wire.HeaderTopic)}
			switch m.Get(wire.HeaderCmd) {
			case wire.CmdQuery, wire.CmdDeclare:
				if m.Get(wire.HeaderTopic) == "/" {
					conn.answer(m, 404, "Topic(/) not found")
					continue
				}
				conn.answer(m, 200, `{"topicName":"t","groupName":"t","mask":0,"error":null}`)
			case wire.CmdProduce:
				conn.answer(m, 200, "1502960000000", topic)
			case wire.CmdConsume:
				n++
				conn.answer(m, 200, fmt.Sprint(n), topic, wire.Field{Name: wire.HeaderOriginID, Value: fmt.Sprint("m", n)})
			case wire.CmdHeartbeat:
			default:
				conn.answer(m, 400, "Bad format: command("+m.Get(wire.HeaderCmd)+") not support")
			}
		}
	})
	c := dial(t, addr, zbus.Options{})
	if _, err := c.Publish(within(t), "t", zbus.Message{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
	if err := c.EmptyTopic(within(t), "t"); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("a command that it does not know: %v", err)
	}
	got := make(chan *zbus.Delivery, 1000)
	ctx, cancel := context.WithCancel(within(t))
	sub, err := c.Subscribe(ctx, "t", "", zbus.SubscribeOptions{Window: 5}, func(_ context.Context, d *zbus.Delivery) error {
		if ctx.Err() == nil {
			got <- d
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 20; i++ {
		d := receive(t, "a message", got)
		if string(d.Body) != fmt.Sprint(i) || d.ID != fmt.Sprint("m", i) || d.Offset != -1 || !d.Time.IsZero() || d.Attempt != 1 {
			t.Fatalf("got %+v; want number %d", d, i)
		}
	}
	cancel()
	receive(t, "the end", sub.Done()) // though it knows no unconsume
}
