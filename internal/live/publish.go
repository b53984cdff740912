package live

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/apiconv"
	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/broker"
)

type publishOp struct {
	head
	Topic    string                `json:"topic"`
	Messages []apimodel.NewMessage `json:"messages"`
}

// publish stores messages in one commit. The answer follows when they are on disk.
func (s *socket) publish(c *call) error {
	messages, err := s.messages(c)
	if err != nil {
		return err
	}
	held := c.keep()
	s.out.expect(held)
	s.hub.opts.Broker.As(s.who, access.Publish).StoreThen(s.life, messages, func(stored []broker.Stored, err error) {
		s.release(held)
		s.out.arrive(&published{socket: s, ref: c.Ref, stored: stored, err: err}, held)
	})
	return nil
}

// messages are those of a publish. The frame is no longer needed.
func (s *socket) messages(c *call) ([]broker.Message, error) {
	var op publishOp
	if err := c.decode(&op); err != nil {
		return nil, err
	}
	c.data = nil
	if err := needed("topic", op.Topic); err != nil {
		return nil, err
	}
	t, err := c.view.Topic(op.Topic)
	if err != nil {
		return nil, err
	}
	if len(op.Messages) == 0 || len(op.Messages) > apiconv.MaxBatch {
		return nil, fail(broker.Invalid, "messages: need 1 to %d", apiconv.MaxBatch)
	}
	messages := make([]broker.Message, len(op.Messages))
	for i, m := range op.Messages {
		where := "the message"
		if len(op.Messages) > 1 {
			where = fmt.Sprintf("message %d", i+1)
		}
		if messages[i], err = apiconv.ParseMessage(t, m, where); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// published is what became of a publish. It is an answer.
type published struct {
	socket *socket
	ref    string
	stored []broker.Stored
	err    error
}

// publishedFrame is its frame.
type publishedFrame struct {
	Type    string                   `json:"type"`
	Ref     string                   `json:"ref,omitempty"`
	Results []apimodel.PublishResult `json:"results"`
}

func (p *published) cost() int64 { return int64(len(p.stored))*128 + 128 }

func (p *published) frame() any {
	if p.err != nil {
		return p.socket.problemOf(p.ref, p.err)
	}
	results := make([]apimodel.PublishResult, len(p.stored))
	for i, x := range p.stored {
		results[i] = apiconv.PublishResult(x)
	}
	return publishedFrame{"published", p.ref, results}
}
