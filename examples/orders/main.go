// Command orders is an example: a service that takes orders.
//
// A caller places an order by calling the method place of the topic shop, from any language.
// The order is stored in the topic orders by the caller's own number, so that a call that is
// made again because nobody knows its outcome does not order twice. A worker consumes the
// orders, and stores an invoice for each.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/rushmore/zbus-go/zbus"
)

// Order is what is placed.
type Order struct {
	Number string `json:"number"` // the caller's
	Item   string `json:"item"`
	Count  int    `json:"count"`
}

// Placed is what became of it.
type Placed struct {
	Number string `json:"number"`
	Cents  int    `json:"cents"`
}

// Invoice is what a worker makes of an order.
type Invoice struct {
	Number string `json:"number"`
	Cents  int    `json:"cents"`
}

// prices are in cents.
func prices() map[string]int { return map[string]int{"pizza": 750, "tea": 200} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := connect(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connect takes orders at the broker that the environment names.
func connect(ctx context.Context) error {
	address := cmp.Or(os.Getenv("ZBUS_SERVER"), "127.0.0.1:15555")
	client, err := zbus.Dial(ctx, address, zbus.Options{Token: os.Getenv("ZBUS_TOKEN")})
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Println("taking orders; Ctrl-C ends")
	return run(ctx, client)
}

// run takes orders until ctx ends.
func run(ctx context.Context, client *zbus.Client) error {
	if _, err := client.DeclareTopic(ctx, zbus.TopicSpec{Name: "invoices"}); err != nil {
		return err
	}
	_, err := client.Subscribe(ctx, "orders", "billing", zbus.SubscribeOptions{
		Declare: &zbus.GroupSpec{Explicit: true}, // an order that was not invoiced comes again
	}, func(ctx context.Context, d *zbus.Delivery) error { return invoice(ctx, client, d) })
	if err != nil {
		return err
	}
	service := zbus.NewService(client, "shop", zbus.ServiceOptions{})
	zbus.Handle(service, "place", func(ctx context.Context, o Order) (Placed, error) { return place(ctx, client, o) })
	return service.Run(ctx) // and then it finishes what it has taken
}

// place stores an order, once.
func place(ctx context.Context, client *zbus.Client, o Order) (Placed, error) {
	if prices()[o.Item] == 0 || o.Count < 1 || o.Number == "" {
		return Placed{}, &zbus.CallError{Status: 400, Code: "bad_order", Message: fmt.Sprintf("can't take an order of %d %q", o.Count, o.Item)}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return Placed{}, err
	}
	if _, err := client.Publish(ctx, "orders", zbus.Message{ID: o.Number, Tag: "order." + o.Item, Body: body}); err != nil {
		return Placed{}, err
	}
	return Placed{Number: o.Number, Cents: o.Count * prices()[o.Item]}, nil
}

// invoice makes an invoice of an order. An error brings the order again.
func invoice(ctx context.Context, client *zbus.Client, d *zbus.Delivery) error {
	var o Order
	if err := json.Unmarshal(d.Body, &o); err != nil {
		return errors.Join(errors.New("this is no order"), err)
	}
	body, err := json.Marshal(Invoice{Number: o.Number, Cents: o.Count * prices()[o.Item]})
	if err != nil {
		return err
	}
	// By the same number: an order that comes again has no second invoice.
	_, err = client.Publish(ctx, "invoices", zbus.Message{ID: "invoice-" + o.Number, Body: body})
	return err
}
