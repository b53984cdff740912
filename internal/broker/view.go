package broker

import (
	"context"
	"errors"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Caller is on whose behalf something is asked of the broker.
type Caller interface {
	// Actor names it in journal and audit.
	Actor() storage.Actor
	// Check is nil when it may do something, and [*access.Denied] when not.
	Check(v access.Verb, topic, group string) error
	// Anonymous reports whether it has not said who it is.
	Anonymous() bool
	// Quota is what its account may use; nil: as much as it wants.
	Quota() *access.Quota
}

// View is the broker as a caller gets to see it: the only way to topics, groups, plans and
// entries from outside of this package. What the caller may not see is not found; what it
// sees and may not do is [access.Denied]. A View is a value, and may be used by any number
// of goroutines.
type View struct {
	b    *Broker
	who  Caller
	need access.Verb
}

// As is the broker as a caller sees it who wants to do something.
func (b *Broker) As(who Caller, need access.Verb) View { return View{b, who, need} }

// System is the broker as its own parts see it, which show figures or keep promises.
func (b *Broker) System() View { return View{b, system{}, access.See} }

// system is the broker itself.
type system struct{}

func (system) Actor() storage.Actor                    { return itself() }
func (system) Check(access.Verb, string, string) error { return nil }
func (system) Anonymous() bool                         { return false }
func (system) Quota() *access.Quota                    { return nil }

// For is the view of the same caller who wants to do something else.
func (v View) For(need access.Verb) View {
	v.need = need
	return v
}

// Allows reports whether the caller may do something.
func (v View) Allows(need access.Verb, topic, group string) bool {
	return v.who.Check(need, topic, group) == nil
}

// Check is an error unless the caller may do something with a topic that exists. It is the
// same as for a topic that does not exist when the caller may not even see it.
func (v View) Check(need access.Verb, t *Topic, group string) error {
	return v.check(need, t.name, group)
}

func (v View) check(need access.Verb, topic, group string) error {
	err := v.who.Check(need, topic, group)
	if err == nil || v.unknown(err) {
		return err
	}
	if v.who.Check(access.See, topic, "") != nil {
		return topicNotFound(topic)
	}
	return err
}

// CheckElsewhere is an error unless the caller may do what it wants with a topic, or a group
// of it, that another server has: the same error as of a topic that is here. calls says that
// the topic is for calls.
func (v View) CheckElsewhere(topic, group string, calls bool) error {
	return v.check(wanted(v.need, calls), topic, group)
}

// unknown reports whether an error of a check says that it is not known, or no longer, who
// the caller is: then it is asked for that, with any topic alike.
func (v View) unknown(err error) bool {
	var refused *access.Refused
	return v.who.Anonymous() || errors.As(err, &refused)
}

// wanted is what the caller wants to do with a topic: those for calls have verbs of their
// own.
func (v View) wanted(t *Topic) access.Verb { return wanted(v.need, t.Calls()) }

func wanted(need access.Verb, calls bool) access.Verb {
	switch {
	case calls && need == access.Publish:
		return access.Call
	case calls && need == access.Consume:
		return access.Serve
	}
	return need
}

// Topic finds a topic, without regard to case, with which the caller may do what it wants.
func (v View) Topic(name string) (*Topic, error) {
	t, err := v.seen(name)
	if err == nil {
		err = v.Check(v.wanted(t), t, "")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// seen finds a topic that the caller may see, or says that there is none.
func (v View) seen(name string) (*Topic, error) {
	t, err := v.b.findTopic(name)
	if denied := v.who.Check(v.need, name, ""); denied != nil && v.unknown(denied) {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	return t, v.Check(access.See, t, "")
}

// Group finds a group of a topic with which the caller may do what it wants; "" is the
// default group, which is named like the topic.
func (v View) Group(topic, group string) (*Group, error) {
	t, err := v.seen(topic)
	if err != nil {
		return nil, err
	}
	return v.GroupOf(t, group)
}

// GroupOf is Group, of a topic that was found before.
func (v View) GroupOf(t *Topic, group string) (*Group, error) {
	if group == "" {
		group = t.name
	}
	if err := v.Check(v.wanted(t), t, group); err != nil {
		return nil, err
	}
	return t.group(group)
}

// MayConsume is an error when the caller may not, or no longer, consume from a group that it
// has.
func (v View) MayConsume(g *Group) error {
	return v.Check(v.For(access.Consume).wanted(g.t), g.t, g.name)
}

// Topics lists by name all topics that the caller may see.
func (v View) Topics() []*Topic {
	all := v.b.allTopics()
	kept := all[:0]
	for _, t := range all {
		if v.Allows(access.See, t.name, "") {
			kept = append(kept, t)
		}
	}
	return kept
}

// DeclareTopic makes sure that a topic exists with the given properties, and reports whether
// it was created. It creates no group. One that is so already may be declared by all who
// may see it.
func (v View) DeclareTopic(ctx context.Context, spec TopicSpec) (*Topic, bool, error) {
	spec.Actor = v.who.Actor()
	if !v.who.Anonymous() {
		spec.account = spec.Actor.Name
	}
	if spec.Owner != nil {
		if err := v.who.Check(access.Admin, "", ""); err != nil {
			return nil, false, err
		}
	}
	spec.permit = func() error { return v.who.Check(access.Manage, spec.Name, "") }
	if spec.New || v.who.Check(access.See, spec.Name, "") != nil {
		if err := spec.permit(); err != nil {
			return nil, false, err
		}
	}
	return v.b.declareTopic(ctx, spec)
}

// DeclareGroup makes sure that a group exists with the given properties, and reports whether
// it was created. Its topic has to exist. To create it is part of consuming; to change it
// takes more.
func (v View) DeclareGroup(ctx context.Context, spec GroupSpec) (*Group, bool, error) {
	t, err := v.seen(spec.Topic)
	if err != nil {
		return nil, false, err
	}
	if spec.Name == "" {
		spec.Name = t.name
	}
	spec.Actor = v.who.Actor()
	consume := v.For(access.Consume).wanted(t)
	spec.permit = func(exists bool) error {
		if !exists && v.Allows(consume, t.name, spec.Name) {
			return nil
		}
		return v.Check(access.Manage, t, spec.Name)
	}
	if !v.MayDeclare(t, spec.Name) {
		return nil, false, v.Check(consume, t, spec.Name)
	}
	if spec.Start.At == AtGroup && !v.Allows(consume, t.name, spec.Start.Group) {
		if err := v.Check(access.Manage, t, spec.Start.Group); err != nil {
			return nil, false, err
		}
	}
	return v.b.declareGroup(ctx, spec)
}

// MayDeclare reports whether the caller may create a group of a topic; "" is the default
// group.
func (v View) MayDeclare(t *Topic, group string) bool {
	if group == "" {
		group = t.name
	}
	return v.Allows(v.For(access.Consume).wanted(t), t.name, group) || v.Allows(access.Manage, t.name, group)
}

// RemoveTopic removes a topic with its messages and groups. Unless version is "", it must
// have that one.
func (v View) RemoveTopic(ctx context.Context, name, version string) error {
	if _, err := v.For(access.Move).Topic(name); err != nil {
		return err
	}
	return v.b.removeTopic(ctx, name, version, v.who.Actor())
}

// RemoveGroup removes a group of a topic; otherwise it is RemoveTopic.
func (v View) RemoveGroup(ctx context.Context, topic, name, version string) error {
	if _, err := v.For(access.Move).Group(topic, name); err != nil {
		return err
	}
	return v.b.removeGroup(ctx, topic, name, version, v.who.Actor())
}

// EmptyTopic drops all messages of a topic; otherwise it is RemoveTopic.
func (v View) EmptyTopic(ctx context.Context, name, version string) error {
	if _, err := v.For(access.Move).Topic(name); err != nil {
		return err
	}
	return v.b.emptyTopic(ctx, name, version, v.who.Actor())
}

// Accept has a damaged topic be as it is.
func (v View) Accept(ctx context.Context, name string) (*Topic, error) {
	if _, err := v.For(access.Move).Topic(name); err != nil {
		return nil, err
	}
	return v.b.accept(ctx, name, v.who.Actor())
}

// Resolve finds the offset that a position means. Another group's position may be asked for by
// who may see the topic.
func (v View) Resolve(ctx context.Context, t *Topic, g *Group, p Position) (int64, error) {
	return v.b.resolve(ctx, t, g, p)
}

// Relocate moves a group, which was found with the verb for it.
func (v View) Relocate(ctx context.Context, g *Group, p Position, kind, reason string) (Move, error) {
	if err := v.Check(access.Move, g.t, g.name); err != nil {
		return Move{}, err
	}
	return g.relocate(ctx, p, kind, v.who.Actor(), reason)
}

// RelocateIf moves a group to an offset if still returns no error. still gets the group's version
// and cursor at a point where nothing else can change them, and must not call the broker.
func (v View) RelocateIf(ctx context.Context, g *Group, to int64, still func(version string, cursor int64) error, reason string) (Move, error) {
	if err := v.Check(access.Move, g.t, g.name); err != nil {
		return Move{}, err
	}
	return g.move(ctx, relocation{to: storage.At(to), kind: "relocate", actor: v.who.Actor(), reason: reason, still: still})
}

// Revert takes back what an entry of a journal says.
func (v View) Revert(ctx context.Context, entry int64, reason string) (*Group, storage.JournalEntry, error) {
	g, e, err := v.b.entry(ctx, entry)
	if err == nil {
		err = v.Check(access.Move, g.t, g.name)
	}
	if err != nil {
		return nil, storage.JournalEntry{}, err
	}
	return v.b.revert(ctx, g, e, v.who.Actor(), reason)
}

// Store stores messages in one commit: all of them or, with an error, none. It returns when
// they are on disk as far as the durability setting goes. A message without an id gets one.
// When ctx ends earlier the outcome is Unknown: asking again with the same ids tells, of
// messages with [DedupKnown]. Their topics were found with the verb for it; what is more than
// the caller's account may publish is [*access.Limited].
func (v View) Store(ctx context.Context, messages []Message) ([]Stored, error) {
	if err := v.charge(ctx, messages); err != nil {
		return nil, err
	}
	stored, err := v.b.shardOf(messages).publishAndWait(ctx, messages, nil)
	v.who.Quota().Cool(ctx, err)
	return stored, err
}

// StoreThen is Store for those who do not wait for the disk: done is called once with what
// Store would return, from a commit callback or before StoreThen returns, and must not block.
// Until then the messages belong to the broker. Messages of one caller are stored in the order of
// its calls. StoreThen waits, until ctx ends, only where another caller is just storing one of
// the ids, ids of an earlier process have to be read, or it was too much.
func (v View) StoreThen(ctx context.Context, messages []Message, done func([]Stored, error)) {
	if err := v.charge(ctx, messages); err != nil {
		done(nil, err)
		return
	}
	v.who.Quota().Cool(ctx, v.b.shardOf(messages).publish(ctx, messages, nil, done))
}

// charge takes messages from what the caller may publish. An error comes a little later, and so does what belongs to a
// burst.
func (v View) charge(ctx context.Context, messages []Message) error {
	bytes := 0
	for i := range messages {
		bytes += len(messages[i].Body)
	}
	q := v.who.Quota()
	err := q.Publish(len(messages), bytes)
	if q.Cool(ctx, err); err == nil {
		q.Spread(ctx, len(messages), bytes)
	}
	return err
}

// Transact does all of a transaction, or nothing of it. Its groups and topics were found
// with the verbs for them.
func (v View) Transact(ctx context.Context, tx Transaction) ([]Stored, []storage.JournalEntry, error) {
	tx.Actor = v.who.Actor()
	if len(tx.Messages) > 0 {
		if err := v.charge(ctx, tx.Messages); err != nil {
			return nil, nil, err
		}
	}
	stored, moves, err := v.b.transact(ctx, tx)
	v.who.Quota().Cool(ctx, err)
	return stored, moves, err
}

// Audit lists what was done, newest first, from below an id (0: all), at most limit entries.
func (v View) Audit(ctx context.Context, before int64, limit int) ([]storage.AuditEntry, error) {
	if err := v.who.Check(access.Sessions, "", ""); err != nil {
		return nil, err
	}
	return v.b.auditEntries(ctx, before, limit)
}

// Note puts an action into the audit trail that is not one of the broker's own.
func (v View) Note(ctx context.Context, action, target, detail string) error {
	return v.b.Note(ctx, v.who.Actor(), action, target, detail)
}

// ConfirmClock has the wall clock count as right, although it has jumped.
func (v View) ConfirmClock(ctx context.Context) (suspended bool, err error) {
	if err := v.who.Check(access.Admin, "", ""); err != nil {
		return false, err
	}
	return v.b.confirmClock(ctx, v.who.Actor())
}

// allowed asks whether a change may be made.
func allowed(permit func() error) error {
	if permit == nil {
		return nil
	}
	return permit()
}
