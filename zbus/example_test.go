package zbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/zbus"
)

func Example() {
	ctx := context.Background()
	client, err := zbus.Dial(ctx, address, zbus.Options{}) // such as "127.0.0.1:15555"
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	if _, err := client.DeclareTopic(ctx, zbus.TopicSpec{Name: "hello"}); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Publish(ctx, "hello", zbus.Message{Body: []byte("a first message")}); err != nil {
		fmt.Println(err)
		return
	}
	for d, err := range client.Messages(ctx, "hello", "", zbus.SubscribeOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d: %s\n", d.Offset, d.Body)
		break
	}
	// Output: 0: a first message
}

// client is what the examples below begin with.
func client() *zbus.Client {
	c, err := zbus.Dial(context.Background(), address, zbus.Options{})
	if err != nil {
		panic(err)
	}
	return c
}

// A consumer that acks what it has handled. The topic and the group are made if they
// are not there.
func ExampleClient_Subscribe() {
	ctx, c := context.Background(), client()
	defer c.Close()
	done := make(chan struct{})
	sub, err := c.Subscribe(ctx, "mails", "sender", zbus.SubscribeOptions{
		Declare: &zbus.GroupSpec{Explicit: true, MaxDeliver: 5},
		Backoff: zbus.ExponentialBackoff(10*time.Millisecond, time.Minute),
	}, func(_ context.Context, d *zbus.Delivery) error {
		if d.Attempt == 1 {
			fmt.Printf("%s: not now\n", d.Body)
			return errors.New("not now") // it comes again
		}
		fmt.Printf("%s: sent at attempt %d\n", d.Body, d.Attempt)
		close(done)
		return nil // it is done
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.Publish(ctx, "mails", zbus.Message{Body: []byte("to Ann")}); err != nil {
		fmt.Println(err)
		return
	}
	<-done
	if err := sub.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// to Ann: not now
	// to Ann: sent at attempt 2
}

// Each group has all messages, or those that its filter selects.
func ExampleClient_Messages() {
	ctx, c := context.Background(), client()
	defer c.Close()
	if _, err := c.DeclareGroup(ctx, "stock", zbus.GroupSpec{Name: "hongkong", Filter: "stock.hk.*"}); err != nil {
		fmt.Println(err)
		return
	}
	_, err := c.PublishBatch(ctx, "stock", []zbus.Message{
		{Tag: "stock.hk.600", Body: []byte("8.25")},
		{Tag: "stock.ny.ibm", Body: []byte("140")},
		{Tag: "stock.hk.700", Body: []byte("310")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for d, err := range c.Messages(ctx, "stock", "hongkong", zbus.SubscribeOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %s\n", d.Tag, d.Body)
		if d.Offset == 2 {
			break
		}
	}
	// Output:
	// stock.hk.600 8.25
	// stock.hk.700 310
}

// Errors are the same on both ends of the connection.
func ExampleError() {
	ctx, c := context.Background(), client()
	defer c.Close()
	_, err := c.Publish(ctx, "no-such-topic", zbus.Message{})
	fmt.Println(errors.Is(err, zbus.ErrNotFound))
	var e *zbus.Error
	if errors.As(err, &e) {
		fmt.Println(e.Status, e.Text)
	}
	// Output:
	// true
	// 404 Topic(no-such-topic) not found
}

// Of a batch each message has its own outcome.
func ExampleClient_PublishBatch() {
	ctx, c := context.Background(), client()
	defer c.Close()
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "batch"}); err != nil {
		fmt.Println(err)
		return
	}
	_, err := c.PublishBatch(ctx, "batch", []zbus.Message{
		{Body: []byte("good")},
		{Tag: strings.Repeat("long", 100)},
	})
	var failed *zbus.BatchError
	if errors.As(err, &failed) {
		for i, err := range failed.Errs {
			fmt.Println(i, errors.Is(err, zbus.ErrInvalid))
		}
	}
	// Output:
	// 0 false
	// 1 true
}

// A group can be moved while it is consumed: back to what it had, or forward.
func ExampleClient_Relocate() {
	ctx, c := context.Background(), client()
	defer c.Close()
	if _, err := c.DeclareTopic(ctx, zbus.TopicSpec{Name: "events"}); err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		if _, err := c.Publish(ctx, "events", zbus.Message{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for _, to := range []zbus.Position{zbus.Latest(), zbus.AtOffset(2), zbus.AtTime(time.Now().Add(-time.Hour))} {
		group, err := c.Relocate(ctx, "events", "", to, "an example")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("at", group.Cursor, "of 5,", group.Lag, "to come")
	}
	// Output:
	// at 5 of 5, 0 to come
	// at 2 of 5, 3 to come
	// at 0 of 5, 5 to come
}

// A service, and a call of it. Parameters may be given one by one or as an object.
func ExampleService() {
	ctx, c := context.Background(), client()
	defer c.Close()
	type order struct {
		Item  string
		Count int
	}
	service := zbus.NewService(c, "shop", zbus.ServiceOptions{Concurrency: 10})
	service.Use(func(next zbus.Method) zbus.Method {
		return func(ctx context.Context, params json.RawMessage) (any, error) {
			call, _ := zbus.CallOf(ctx)
			fmt.Printf("%s %s\n", call.Method, params)
			return next(ctx, params)
		}
	})
	zbus.Handle(service, "price", func(_ context.Context, o order) (float64, error) {
		if o.Item != "pizza" {
			return 0, fmt.Errorf("no %s today", o.Item)
		}
		return 7.5 * float64(o.Count), nil
	})
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- service.Run(running) }()

	var price float64
	for { // until the service is there
		err := c.Call(ctx, "shop", "price", &price, order{"pizza", 2})
		if err == nil {
			break
		}
		if !errors.Is(err, zbus.ErrUnavailable) && !errors.Is(err, zbus.ErrNotFound) {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(price)
	fmt.Println(c.Call(ctx, "shop", "price", nil, "sushi", 1))
	stop() // it takes no more calls, and answers those that it has
	fmt.Println(<-ended)
	// Output:
	// price [{"Item":"pizza","Count":2}]
	// 15
	// price ["sushi",1]
	// zbus: call shop/price: 500 no sushi today
	// <nil>
}

// All servers that one of them tells of, as with several addresses. Here there is no other.
func ExampleDial_servers() {
	ctx := context.Background()
	client, err := zbus.Dial(ctx, address, zbus.Options{AllServers: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	if _, err := client.DeclareTopic(ctx, zbus.TopicSpec{Name: "spread"}); err != nil { // on each of them
		fmt.Println(err)
		return
	}
	receipt, err := client.Publish(ctx, "spread", zbus.Message{}) // on one of them
	fmt.Println(receipt.Offset, err, len(client.Servers()))
	// Output: 0 <nil> 1
}
