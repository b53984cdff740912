package broker

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// TopicSpec says what a topic should be. A nil field leaves an existing topic's
// value alone and means the default for a new one.
type TopicSpec struct {
	Name       string
	Kind       storage.Kind // of a new topic; that of an existing one stays
	Replies    *bool        // of a topic that carries messages
	LegacyMask *int64
	Retention  Limits
	Paused     *bool
	Owner      *string       // the account that owns it; "": none. Nil: the one that creates it
	New        bool          // an existing topic is refused with Exists
	Version    string        // unless "", the topic must exist and have this one, see [Topic.Version]
	Actor      storage.Actor // for the audit trail; the creator of a new topic
	permit     func() error  // unless nil: asked before anything changes
	letters    bool          // a topic of dead letters, which the broker itself needs
	account    string        // the caller's, if it has one
}

// Limits say what the retention of a topic should be. What is nil stays as it is, and is
// none for a new topic; zero is none.
type Limits struct {
	MaxAge   *int64 // milliseconds
	MaxCount *int64 // messages
	MaxBytes *int64
}

// LimitsOf are the limits of r, all of them.
func LimitsOf(r storage.Retention) Limits { return Limits{&r.MaxAge, &r.MaxCount, &r.MaxBytes} }

// Of is r with these limits.
func (l Limits) Of(r storage.Retention) storage.Retention {
	for _, f := range []struct{ to, from *int64 }{{&r.MaxAge, l.MaxAge}, {&r.MaxCount, l.MaxCount}, {&r.MaxBytes, l.MaxBytes}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return r
}

// CheckName refuses a topic or group name that is not 1 to 200 letters, digits
// and ._~:- or that has two dots in a row.
func CheckName(what, name string) error {
	bad := name == "" || len(name) > 200 || name == "." || strings.Contains(name, "..")
	for i := 0; i < len(name) && !bad; i++ {
		c := name[i]
		bad = !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~:-", c) >= 0)
	}
	if bad {
		return errorf(Invalid, "%s name %q: must be 1 to 200 letters, digits or . _ ~ : - and have no two dots in a row", what, Excerpt(name))
	}
	return nil
}

// declareTopic makes sure that a topic exists with the given properties, and
// reports whether it was created. It creates no group.
func (b *Broker) declareTopic(ctx context.Context, spec TopicSpec) (*Topic, bool, error) {
	b.names.Lock()
	defer b.names.Unlock()
	t, err := b.findTopic(spec.Name)
	if err == nil {
		if spec.New {
			return nil, false, errorf(Exists, "Topic(%s) exists already", t.name)
		}
		t.changes.Lock()
		defer t.changes.Unlock()
		return t, false, b.alterTopic(ctx, t, spec)
	}
	if spec.Version != "" {
		return nil, false, err
	}
	if err := CheckName("topic", spec.Name); err != nil {
		return nil, false, err
	}
	if err := allowed(spec.permit); err != nil {
		return nil, false, err
	}
	if spec.Owner == nil {
		spec.Owner = &spec.account
	}
	if !spec.letters {
		if err := b.mayAddTopic(*spec.Owner); err != nil {
			return nil, false, err
		}
	}
	now := b.now()
	def := storage.Topic{Name: spec.Name, Creator: spec.Actor.Name, Created: now, Updated: now}
	def.Kind = spec.Kind
	spec.set(&def)
	if base := b.diesInto(spec.Name); base != nil {
		base.changes.Lock() // until the topic exists, none of its groups begins to need it
		defer base.changes.Unlock()
		if err := base.checkTakesLetters(&def); err != nil {
			return nil, false, err
		}
	}
	s := b.placeFor(spec.Name)
	err = s.commit(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.CreateTopic{Topic: &def}, b.audit(spec.Actor, "topic.create", spec.Name, topicChanges(new(storage.Topic), &def)),
	}})
	if err != nil {
		return nil, false, err
	}
	t = newTopic(s, def)
	t.born = b.clock()
	b.own(t, b.ownerOf(def.Owner))
	b.mu.Lock()
	b.topics[fold(def.Name)] = t
	b.mu.Unlock()
	b.opts.Changed()
	return t, true, nil
}

// set applies the spec to a definition, but for the kind.
func (spec *TopicSpec) set(def *storage.Topic) {
	if spec.Replies != nil && !def.Kind.Calls() {
		def.Replies = *spec.Replies
	}
	if spec.LegacyMask != nil {
		def.LegacyMask = *spec.LegacyMask
	}
	def.Retention = spec.Retention.Of(def.Retention)
	if spec.Owner != nil {
		def.Owner = *spec.Owner
	}
	if spec.Paused != nil {
		def.Paused = *spec.Paused
	}
}

// alterTopic changes what the spec names.
func (b *Broker) alterTopic(ctx context.Context, t *Topic, spec TopicSpec) error {
	def := t.Definition()
	if err := t.expect(spec.Version); err != nil {
		return err
	}
	old := def
	spec.set(&def)
	if def == old {
		return nil
	}
	if err := allowed(spec.permit); err != nil {
		return err
	}
	if err := t.Refused(); err != nil {
		return err
	}
	def.Updated = b.now()
	err := t.shard.commit(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.AlterTopic{
			Topic: t.id, Replies: def.Replies, LegacyMask: def.LegacyMask, Retention: def.Retention, Paused: def.Paused, Owner: def.Owner, Updated: def.Updated,
		},
		b.audit(spec.Actor, topicAction(old.Paused, def.Paused), t.name, topicChanges(&old, &def)),
	}})
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.def.Replies, t.def.LegacyMask = def.Replies, def.LegacyMask
	t.def.Retention, t.def.Paused, t.def.Owner, t.def.Updated = def.Retention, def.Paused, def.Owner, def.Updated
	t.mu.Unlock()
	t.replies.Store(def.Replies)
	t.paused.Store(def.Paused)
	if def.Owner != old.Owner {
		b.own(t, b.ownerOf(def.Owner))
	}
	t.wake()
	b.opts.Changed()
	return nil
}

// topicAction names a change in the audit trail.
func topicAction(was, is bool) string {
	switch {
	case is && !was:
		return "topic.pause"
	case was && !is:
		return "topic.resume"
	}
	return "topic.alter"
}

// Version changes with what can be changed about the topic.
func (t *Topic) Version() string {
	def := t.Definition()
	h := fnv.New64a()
	fmt.Fprint(h, def.ID, def.Replies, def.Retention, def.Paused, def.Owner)
	return strconv.FormatUint(h.Sum64(), 36)
}

// expect fails when the topic has another version than the caller saw.
func (t *Topic) expect(version string) error {
	if now := t.Version(); version != "" && version != now {
		return errorf(Stale, "Topic(%s) has changed: its version is %s, not %s", t.name, now, version)
	}
	return nil
}

// removeTopic removes a topic, its groups and its messages. Consumers are told
// that their group is gone. Unless version is "", the topic must have it.
func (b *Broker) removeTopic(_ context.Context, name, version string, actor storage.Actor) error {
	b.names.Lock()
	defer b.names.Unlock()
	t, err := b.findTopic(name)
	if err != nil {
		return err
	}
	t.changes.Lock()
	defer t.changes.Unlock()
	if err := t.expect(version); err != nil {
		return err
	}
	err = t.shard.commitThen(&storage.Atomic{Ops: []storage.Op{
		&storage.RemoveTopic{Topic: t.id}, b.audit(actor, "topic.remove", t.name, t.extent()),
	}}, func(err error) {
		if err == nil {
			b.forget(t)
			t.log.remove()
		}
	})
	if err != nil {
		return err
	}
	for _, g := range t.Groups() {
		g.end()
	}
	b.opts.Changed()
	return nil
}

// emptyTopic drops all messages of a topic. Its offsets continue where they are. Unless
// version is "", the topic must have it.
func (b *Broker) emptyTopic(ctx context.Context, name, version string, actor storage.Actor) error {
	t, err := b.findTopic(name)
	if err != nil {
		return err
	}
	t.changes.Lock()
	defer t.changes.Unlock()
	if t.Removed() {
		return topicNotFound(name)
	}
	if err := t.expect(version); err != nil {
		return err
	}
	if err := t.Refused(); err != nil {
		return err
	}
	if err := t.log.empty(ctx, b.audit(actor, "topic.empty", t.name, t.extent())); err != nil {
		return err
	}
	b.opts.Changed()
	return nil
}

// extent says for the audit trail how much there is in a topic that is about to lose it.
func (t *Topic) extent() string {
	return fmt.Sprintf("#%d to #%d", t.first.Load(), t.next.Load())
}
