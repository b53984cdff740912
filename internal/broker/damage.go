package broker

import (
	"context"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// damageKind is the kind of the conditions about damage; their subjects are topics.
const damageKind = "damage"

func damageText(topic, damage string) string {
	return "Topic(" + topic + ") is not served: " + damage + "; see zbus verify and zbus topic accept"
}

// Refused says why nothing can be published to the topic or consumed from it, or
// returns nil. What is stored of such a topic contradicts itself: continuing would pass
// messages over, or give an offset twice, without a word. It can be read, removed, or
// accepted as it is. A topic whose storage has failed can't even be read.
func (t *Topic) Refused() error {
	if e := t.refusal.Load(); e != nil {
		return e
	}
	return t.shard.failure()
}

// reportDamage raises a condition for each topic that is not served.
func (b *Broker) reportDamage() {
	for _, t := range b.allTopics() {
		if err := t.Refused(); err != nil {
			b.opts.Conditions.Raise(condition.Condition{
				Kind: damageKind, Subject: t.name, Severity: condition.Critical, Text: err.Error(),
			})
		}
	}
}

// accept has a topic that is not served be served again as it is. What can't be read
// of its log, up to where its groups have been, is damage from then on: it is counted
// and passed over. A group whose position is damaged gets everything again.
func (b *Broker) accept(ctx context.Context, name string, actor storage.Actor) (*Topic, error) {
	t, err := b.findTopic(name)
	if err != nil {
		return nil, err
	}
	t.changes.Lock()
	defer t.changes.Unlock()
	if t.Removed() {
		return nil, topicNotFound(name)
	}
	if t.Refused() == nil {
		return nil, errorf(Conflict, "Topic(%s) is served: there is nothing to accept", t.name)
	}
	def := t.Definition()
	damage := def.Damage
	def.Damage, def.Updated = "", b.now()
	op := &storage.Accept{Topic: &def}
	for _, g := range t.Groups() {
		g.mu.Lock()
		stored := g.def
		g.mu.Unlock()
		def.Next = max(def.Next, stored.Read)
		op.Groups = append(op.Groups, &stored)
	}
	err = t.shard.Do(ctx, &storage.Atomic{Ops: []storage.Op{op, b.audit(actor, "topic.accept", t.name, damage)}})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.def.Damage, t.def.Updated = "", def.Updated
	t.mu.Unlock()
	t.next.Store(def.Next)
	t.paused.Store(def.Paused)
	t.refusal.Store(nil)
	b.opts.Conditions.Clear(damageKind, t.name)
	t.wake()
	b.opts.Changed()
	return t, nil
}
