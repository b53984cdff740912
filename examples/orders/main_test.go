package main

import (
	"context"
	"errors"
	"testing"

	"github.com/rushmore/zbus-go/zbus"
	"github.com/rushmore/zbus-go/zbus/zbustest"
)

func TestAnOrderIsPlacedOnceAndInvoicedOnce(t *testing.T) {
	b := zbustest.Start(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	client := b.Client()
	go func() { ended <- run(ctx, client) }()

	caller := b.Client()
	order := Order{Number: "7", Item: "pizza", Count: 2}
	var placed Placed
	b.Eventually("the service takes orders", func() bool { return caller.Call(ctx, "shop", "place", &placed, order) == nil })
	if placed != (Placed{"7", 1500}) {
		t.Errorf("placed %+v", placed)
	}
	if err := caller.Call(ctx, "shop", "place", &placed, order); err != nil { // as after an unknown outcome
		t.Error(err)
	}
	err := caller.Call(ctx, "shop", "place", &placed, Order{Number: "8", Item: "car", Count: 1})
	if !errors.Is(err, &zbus.CallError{Code: "bad_order"}) {
		t.Errorf("an order of a car: %v", err)
	}
	b.Settled("orders", "billing")
	if all := b.Messages("orders"); len(all) != 1 || all[0].Tag != "order.pizza" {
		t.Errorf("the orders are %+v", all)
	}
	if all := b.Messages("invoices"); len(all) != 1 || all[0].Body != `{"number":"7","cents":1500}` {
		t.Errorf("the invoices are %+v", all)
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
