package zbus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

// What a handler says of its message gets to the dead letter, and decides when it comes again.
func TestHandlersSayWhatBecomesOfAMessage(t *testing.T) {
	t.Parallel()
	addr := zbustest.Start(t).Addr
	c := dial(t, addr, zbus.Options{})
	if _, err := c.DeclareGroup(within(t), "orders", zbus.GroupSpec{Name: "g", Explicit: true, MaxDeliver: 3}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the stock is out of reach")
	attempts := make(chan string, 100)
	_, err := c.Subscribe(within(t), "orders", "g", zbus.SubscribeOptions{Backoff: zbus.BackoffSteps(time.Hour)}, func(_ context.Context, d *zbus.Delivery) error {
		attempts <- fmt.Sprint(string(d.Body), " ", d.Attempt)
		switch body := string(d.Body); {
		case body == "dead":
			return zbus.Dead(broken, "no such customer\r\n"+strings.Repeat("ü", 400))
		case body == "dead without a reason":
			return zbus.Dead(broken, "")
		case body == "soon" && d.Attempt < 3:
			return zbus.RetryAfter(broken, time.Millisecond)
		case body == "soon":
			panic("secrets of the stack")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"dead", "dead without a reason", "soon"} {
		if _, err := c.Publish(within(t), "orders", zbus.Message{ID: body, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	causes := map[string]string{}
	eventually(t, "the topic of dead letters is there", func() bool {
		_, err := c.QueryTopic(within(t), "orders.dead")
		return err == nil
	})
	for d, err := range c.Messages(within(t), "orders.dead", "reader", zbus.SubscribeOptions{Declare: &zbus.GroupSpec{Start: zbus.Earliest()}}) {
		if err != nil {
			t.Fatal(err)
		}
		if causes[string(d.Body)] = d.Header("dead-cause"); len(causes) == 3 {
			break
		}
	}
	if got := causes["dead"]; !strings.HasPrefix(got, "no such customer  ü") || len(got) > 520 || len(got) < 400 {
		t.Errorf("cause %q", got)
	}
	if causes["dead without a reason"] != broken.Error() || causes["soon"] != "panic" {
		t.Errorf("causes %q", causes)
	}
	if n := len(attempts); n != 5 {
		t.Errorf("%d attempts, want 1, 1 and 3", n)
		for range n {
			t.Log(<-attempts)
		}
	}
	// By hand, and where there are no dead letters.
	for _, group := range []string{"g2", "plain"} {
		spec := zbus.GroupSpec{Name: group, Explicit: true, MaxDeliver: 5, Start: zbus.Earliest()}
		if group == "plain" {
			spec.MaxDeliver = 0
		}
		if _, err := c.DeclareGroup(within(t), "orders", spec); err != nil {
			t.Fatal(err)
		}
		for d, err := range c.Messages(within(t), "orders", group, zbus.SubscribeOptions{Manual: true}) {
			if err != nil {
				t.Fatal(err)
			}
			err = d.DeadLetter(within(t), "by hand")
			if (group == "plain") != errors.Is(err, zbus.ErrInvalid) || group == "g2" && err != nil {
				t.Errorf("%s: %v", group, err)
			}
			break
		}
	}
}
