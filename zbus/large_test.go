package zbus_test

import (
	"errors"
	"testing"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/zbustest"
	"github.com/rushmore/zbus-go/zbus"
)

func TestAMessageThatIsTooLargeIsRefusedByItself(t *testing.T) {
	t.Parallel()
	broker := zbustest.Start(t, func(c *config.Config) { c.MaxBody = 64 << 10 })
	p := through(t, broker.Addr)
	c := dial(t, p.addr, zbus.Options{})
	declare(t, c, "log")
	messages := make([]zbus.Message, 30)
	for i := range messages {
		messages[i].Body = make([]byte, 1000)
	}
	messages[10].Body, messages[20].Body = make([]byte, 64<<10+1), make([]byte, 8<<20)
	_, err := c.PublishBatch(within(t), "log", messages)
	var batch *zbus.BatchError
	if !errors.As(err, &batch) {
		t.Fatal(err)
	}
	for i, err := range batch.Errs {
		if large := i == 10 || i == 20; errors.Is(err, zbus.ErrTooLarge) != large || !large && err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if _, err := c.Publish(within(t), "log", zbus.Message{Body: make([]byte, 1<<20)}); !errors.Is(err, zbus.ErrTooLarge) || errors.Is(err, zbus.ErrUnknownOutcome) {
		t.Error(err)
	}
	if info, err := c.QueryTopic(within(t), "log"); err != nil || info.Messages != 28 {
		t.Errorf("%d messages are stored, %v", info.Messages, err)
	}
	if n := p.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
