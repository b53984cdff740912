package broker

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// publish stores messages, and does further ops, in one commit of a shard: all of it or, with
// an error, nothing. done is called once with the outcome, as [NewPublishing] says. What it returns
// is what [Publishing.Publish] does.
func (s *shard) publish(ctx context.Context, messages []Message, extra []storage.Op, done func([]Stored, error)) (over error) {
	var p *Publishing
	p = s.b.NewPublishing(func() { done(p.all()) })
	p.atomic, p.extra = true, extra
	p.shareOf(s) // for ops without messages
	left := 0
	for i := range messages {
		left += int(messages[i].Size())
	}
	for _, m := range messages {
		left -= int(m.Size())
		if m.More = left; m.ID == "" {
			m.ID = strings.ToLower(rand.Text())
		}
		p.Add(m)
	}
	return p.Publish(ctx)
}

// publishAndWait is publish, and waits for the outcome until ctx ends.
func (s *shard) publishAndWait(ctx context.Context, messages []Message, extra []storage.Op) (stored []Stored, err error) {
	var answer []Stored
	var failed error
	done := make(chan struct{})
	_ = s.publish(ctx, messages, extra, func(list []Stored, e error) { // in the outcome as well
		answer, failed = list, e
		close(done)
	})
	select {
	case <-done:
		return answer, failed
	case <-ctx.Done():
		return nil, abandoned(ctx)
	}
}

// all is what became of the messages of an atomic Publishing.
func (p *Publishing) all() ([]Stored, error) {
	if p.err != nil {
		return nil, p.err
	}
	list := make([]Stored, len(p.items))
	for i := range list {
		stored, err := p.Result(i)
		if err != nil {
			return nil, err
		}
		list[i] = stored
	}
	return list, nil
}

// shardOf is where messages go that are all for topics of one shard.
func (b *Broker) shardOf(messages []Message) *shard {
	if len(messages) == 0 {
		return b.home()
	}
	return messages[0].Topic.shard
}
