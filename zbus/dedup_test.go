package zbus_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestPublishWithDedupCanBeRepeated(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t)
	direct := dial(t, broker.Addr, zbus.Options{})
	declare(t, direct, "log")
	p := through(t, broker.Addr)
	p.set(func() { p.cut, p.slice = 5_000, 700 })
	c := dial(t, p.addr, hurried)
	const messages = 300
	unknown := 0
	for i := range messages {
		m := zbus.Message{ID: fmt.Sprint("m", i), Dedup: true, Body: []byte("once")}
		err := c.Publish(within(t), "log", m)
		for ; errors.Is(err, zbus.ErrUnknownOutcome); err = c.Publish(within(t), "log", m) {
			unknown++
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	batch := []zbus.Message{{ID: "m0", Dedup: true}, {ID: "new", Dedup: true}, {ID: "m1"}}
	if err := direct.PublishBatch(within(t), "log", batch); err != nil {
		t.Fatal(err)
	}
	ids := stored(t, direct, "log")
	if ids["m1"]--; len(ids) != messages+1 || unknown == 0 { // the last one did not ask for it
		t.Errorf("%d ids are stored, want %d; %d outcomes were unknown", len(ids), messages+1, unknown)
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is stored %d times", id, n)
		}
	}
}

func TestDedupWithoutAnIDOrOfACallIsInvalid(t *testing.T) {
	t.Parallel()
	c := dial(t, zbustest.Start(t).Addr, zbus.Options{})
	declare(t, c, "log")
	if err := c.Publish(within(t), "log", zbus.Message{Dedup: true}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("without an ID: %v", err)
	}
	if _, err := c.Request(within(t), "log", zbus.Message{ID: "x", Dedup: true}); !errors.Is(err, zbus.ErrInvalid) {
		t.Errorf("of a call: %v", err)
	}
}
