package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// diary notes what middleware sees.
type diary struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// take returns what was noted since the last time.
func (d *diary) take() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines, d.lines = d.lines, nil
	return lines
}

// noting is middleware with a name that notes everything.
func noting(d *diary, name string) zbus.Middleware {
	return zbus.Middleware{
		Publish: func(_ context.Context, topic string, m *zbus.Message) (func(zbus.Receipt, error), error) {
			m.SetHeader("seen-by-"+name, "yes")
			d.note("%s publish %s %s", name, topic, m.Body)
			if string(m.Body) == "refused by "+name {
				return nil, errors.New("refused")
			}
			return func(r zbus.Receipt, err error) { d.note("%s published %d %v", name, r.Offset, err) }, nil
		},
		Receive: func(x *zbus.Delivery) { d.note("%s received %s", name, x.Body) },
		Handle: func(next zbus.Handler) zbus.Handler {
			return func(ctx context.Context, x *zbus.Delivery) error {
				d.note("%s handle %s", name, x.Body)
				err := next(ctx, x)
				d.note("%s handled %v", name, err)
				return err
			}
		},
		Call: func(next zbus.CallFunc) zbus.CallFunc {
			return func(ctx context.Context, topic, method string, m *zbus.Message) (*zbus.Response, error) {
				m.SetHeader("seen-by-"+name, "yes")
				d.note("%s call %s/%s", name, topic, method)
				resp, err := next(ctx, topic, method, m)
				d.note("%s called %v", name, err)
				return resp, err
			}
		},
		Serve: func(next zbus.RequestHandler) zbus.RequestHandler {
			return func(ctx context.Context, x *zbus.Delivery) (*zbus.Message, error) {
				call, _ := zbus.CallOf(ctx)
				d.note("%s serve %s/%s for %s", name, call.Topic, call.Method, call.Header("seen-by-a"))
				m, err := next(ctx, x)
				d.note("%s served %v", name, err)
				return m, err
			}
		},
	}
}

func (d *diary) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := d.take(); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMiddlewareIsAroundPublishes(t *testing.T) {
	t.Parallel()
	var d diary
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{Middleware: []zbus.Middleware{noting(&d, "a"), {}, noting(&d, "b")}})
	declare(t, c, "log")
	headers := map[string]string{"own": "1"}
	if _, err := c.Publish(within(t), "log", zbus.Message{Body: []byte("one"), Headers: headers}); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "a publish", "a publish log one", "b publish log one", "b published 0 <nil>", "a published 0 <nil>")
	if len(headers) != 1 {
		t.Errorf("the publisher's headers have become %v", headers)
	}
	if _, err := c.PublishAsync(within(t), "log", zbus.Message{Body: []byte("two")}).Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "one that is not waited for", "a publish log two", "b publish log two", "b published 1 <nil>", "a published 1 <nil>")
	messages := []zbus.Message{{Body: []byte("three")}, {Body: []byte("refused by b")}, {Body: []byte("four"), Tag: "\n"}}
	receipts, err := c.PublishBatch(within(t), "log", messages)
	var failed *zbus.BatchError
	if !errors.As(err, &failed) || failed.Errs[0] != nil || failed.Errs[1] == nil || !errors.Is(failed.Errs[2], zbus.ErrInvalid) || receipts[0].Offset != 2 {
		t.Errorf("a batch: %v, %v", receipts, err)
	}
	if lines := d.take(); len(lines) != 11 { // each is seen twice, and each of the five that were begun has an end
		t.Errorf("of a batch: %q", lines)
	}
	if messages[0].Headers != nil {
		t.Errorf("a message of the batch has become %v", messages[0])
	}
	if _, err := c.Publish(within(t), "log", zbus.Message{Body: []byte("refused by b")}); err == nil || err.Error() != "refused" {
		t.Errorf("refused: %v", err)
	}
	d.expect(t, "a refusal", "a publish log refused by b", "b publish log refused by b", "a published 0 refused")
	for x, err := range c.Messages(within(t), "log", "", zbus.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if x.Header("seen-by-a") != "yes" || x.Header("seen-by-b") != "yes" {
			t.Errorf("the headers of %s are not those that were set", x.Body)
		}
		if x.Offset == 2 {
			break
		}
	}
	d.expect(t, "messages", "a received one", "b received one", "a received two", "b received two", "a received three", "b received three")
}

func TestMiddlewareIsAroundHandlersAndFetches(t *testing.T) {
	t.Parallel()
	var d diary
	broker := zbustest.Start(t)
	fill(t, dial(t, broker.Addr, zbus.Options{}), "jobs", 2)
	c := dial(t, broker.Addr, zbus.Options{Middleware: []zbus.Middleware{noting(&d, "a"), noting(&d, "b")}})
	got, err := c.Fetch(within(t), "jobs", "g", 1, patience)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if err := got[0].Ack(within(t)); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "a fetch", "a received 0", "b received 0")
	sub, err := c.Subscribe(within(t), "jobs", "g", zbus.SubscribeOptions{Backoff: zbus.BackoffSteps(0)}, func(_ context.Context, x *zbus.Delivery) error {
		if x.Attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	settledAt(t, c, "jobs", "g")
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	d.expect(t, "a subscription", "a handle 1", "b handle 1", "b handled not yet", "a handled not yet", "a handle 1", "b handle 1", "b handled <nil>", "a handled <nil>")
}

func TestMiddlewareIsAroundCallsAndWhatServesThem(t *testing.T) {
	t.Parallel()
	var caller, server diary
	broker := zbustest.Start(t)
	c := dial(t, broker.Addr, zbus.Options{Middleware: []zbus.Middleware{noting(&caller, "a")}})
	s := zbus.NewService(dial(t, broker.Addr, zbus.Options{Middleware: []zbus.Middleware{noting(&server, "x"), noting(&server, "y")}}), "shop", zbus.ServiceOptions{})
	zbus.Handle(s, "price", func(_ context.Context, item string) (int, error) {
		if item != "pizza" {
			return 0, &zbus.CallError{Status: 404, Code: "no_item", Message: "no " + item}
		}
		return 750, nil
	})
	serve(t, s, c, "shop")
	var price int
	if err := c.Call(within(t), "shop", "price", &price, "pizza"); err != nil || price != 750 {
		t.Fatalf("%d, %v", price, err)
	}
	caller.expect(t, "a call", "a call shop/price", "a called <nil>")
	server.expect(t, "a call served", "x serve shop/price for yes", "y serve shop/price for yes", "y served <nil>", "x served <nil>")
	err := c.Call(within(t), "shop", "price", &price, "sushi")
	if !errors.Is(err, &zbus.CallError{Code: "no_item"}) || !errors.Is(err, zbus.ErrNotFound) {
		t.Errorf("an error: %v", err)
	}
	caller.expect(t, "a call that fails", "a call shop/price", "a called zbus: call shop/price: 404 no sushi")
	server.expect(t, "an error served", "x serve shop/price for yes", "y serve shop/price for yes", "y served 404 no sushi", "x served 404 no sushi")
	s.HandleRequests(func(_ context.Context, x *zbus.Delivery) (*zbus.Message, error) {
		return &zbus.Message{Body: x.Body}, nil
	})
	if resp, err := c.Request(within(t), "shop", zbus.Message{Body: []byte("raw")}); err != nil || string(resp.Body) != "raw" {
		t.Fatalf("%v, %v", resp, err)
	}
	caller.expect(t, "a request", "a call shop/", "a called <nil>")
	server.expect(t, "a request served", "x serve shop/ for yes", "y serve shop/ for yes", "y served <nil>", "x served <nil>")
}
