package broker

import (
	"context"
	"fmt"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// itself is who does what nobody asked for.
func itself() storage.Actor { return storage.Actor{Name: "broker"} }

// maxDetail is how long the detail of an entry in the audit trail may be, in bytes.
const maxDetail = 1000

func (b *Broker) audit(actor storage.Actor, action, target, detail string) *storage.Audit {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return &storage.Audit{Entry: &storage.AuditEntry{Time: b.now(), Actor: actor, Action: action, Target: target, Detail: detail}}
}

// Note puts an action into the audit trail that is not one of the broker's own: who did
// what to what, and more of it for people. It returns when that is stored.
func (b *Broker) Note(ctx context.Context, actor storage.Actor, action, target, detail string) error {
	return b.home().commit(ctx, b.audit(actor, action, target, detail))
}

// TakeDocuments hands over those that were stored when the broker was opened: their owner is
// who takes them.
func (b *Broker) TakeDocuments() []storage.Document {
	documents := b.documents
	b.documents = nil
	return documents
}

// PutDocuments stores documents, and entries in the audit trail, all or none. It returns when
// they are stored.
func (b *Broker) PutDocuments(ctx context.Context, ops ...storage.Op) error {
	return b.home().commit(ctx, &storage.Atomic{Ops: ops})
}

// changes tells which values differ, for the audit trail.
type changes []string

// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func (c *changes) add(name string, was, is any) {
	if was != is {
		*c = append(*c, fmt.Sprintf("%s %v → %v", name, was, is))
	}
}

func (c *changes) String() string { return strings.Join(*c, ", ") }

// topicChanges are the differences of two definitions of a topic.
func topicChanges(old, def *storage.Topic) string {
	var c changes
	c.add("replies", old.Replies, def.Replies)
	c.add("mask", old.LegacyMask, def.LegacyMask)
	c.add("max age", fmt.Sprint(old.Retention.MaxAge, " ms"), fmt.Sprint(def.Retention.MaxAge, " ms"))
	c.add("max count", old.Retention.MaxCount, def.Retention.MaxCount)
	c.add("max bytes", old.Retention.MaxBytes, def.Retention.MaxBytes)
	c.add("owner", old.Owner, def.Owner)
	return c.String()
}

// groupChanges are the differences of two definitions of a group.
func groupChanges(old, def *storage.Group) string {
	var c changes
	c.add("filter", fmt.Sprintf("%q", old.Filter), fmt.Sprintf("%q", def.Filter))
	c.add("settle", old.Settle, def.Settle)
	c.add("exclusive", old.Exclusive, def.Exclusive)
	c.add("paused", old.Paused, def.Paused)
	c.add("ephemeral", old.Ephemeral, def.Ephemeral)
	c.add("mask", old.LegacyMask, def.LegacyMask)
	c.add("ack timeout", fmt.Sprint(old.AckTimeout, " ms"), fmt.Sprint(def.AckTimeout, " ms"))
	c.add("ack window", old.AckWindow, def.AckWindow)
	c.add("max deliver", old.MaxDeliver, def.MaxDeliver)
	return c.String()
}

// moveDetail tells of a move and its reason.
func moveDetail(from, to int64, reason string) string {
	text := fmt.Sprintf("#%d → #%d", from, to)
	if reason != "" {
		text += ": " + reason
	}
	return text
}
