package broker

import (
	"context"
	"errors"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// TopicSpec says what a topic should be. A nil field leaves an existing topic's
// value alone and means the default for a new one.
type TopicSpec struct {
	Name      string
	Mask      *int64
	Retention *storage.Retention
	Actor     string // for the audit trail; the creator of a new topic
}

// GroupSpec says what a group should be. A nil field leaves an existing group's
// value alone and means the default for a new one.
type GroupSpec struct {
	Topic, Name string
	Filter      *string
	Mask        *int64
	AckTimeout  *int64 // milliseconds
	AckWindow   *int64
	MaxDeliver  *int64
	Start       Place // of a new group; ignored for an existing one
	Actor       string
	Reason      string // for the journal, when the filter changes
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
		if len(name) > 64 {
			name = name[:64] + "…"
		}
		return errorf(Invalid, "%s name %q: must be 1 to 200 letters, digits or . _ ~ : - and have no two dots in a row", what, name)
	}
	return nil
}

// DeclareTopic makes sure that a topic exists with the given properties, and
// reports whether it was created. It creates no group.
func (b *Broker) DeclareTopic(ctx context.Context, spec TopicSpec) (*Topic, bool, error) {
	b.admin.Lock()
	defer b.admin.Unlock()
	t, err := b.Topic(spec.Name)
	if err == nil {
		return t, false, b.alterTopic(ctx, t, spec)
	}
	if err := CheckName("topic", spec.Name); err != nil {
		return nil, false, err
	}
	now := b.now()
	def := storage.Topic{Name: spec.Name, Creator: spec.Actor, Created: now, Updated: now}
	if spec.Mask != nil {
		def.Mask = *spec.Mask
	}
	def.Memory = def.Mask&(MaskMemory|MaskRPC|MaskProxy) != 0
	if spec.Retention != nil {
		def.Retention = *spec.Retention
	}
	err = b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.CreateTopic{Topic: &def}, b.audit(spec.Actor, "topic.create", spec.Name),
	}})
	if err != nil {
		return nil, false, err
	}
	t = newTopic(b, def)
	t.born.Store(b.clock())
	b.mu.Lock()
	b.topics[fold(def.Name)] = t
	b.mu.Unlock()
	b.opts.Changed()
	return t, true, nil
}

// alterTopic changes what the spec names. Where the messages of an existing
// topic live (memory or disk) does not change with its mask.
func (b *Broker) alterTopic(ctx context.Context, t *Topic, spec TopicSpec) error {
	def := t.Definition()
	old := def
	if spec.Mask != nil {
		def.Mask = *spec.Mask
	}
	if spec.Retention != nil {
		def.Retention = *spec.Retention
	}
	if def.Mask == old.Mask && def.Retention == old.Retention {
		return nil
	}
	def.Updated = b.now()
	err := b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.AlterTopic{Topic: t.id, Mask: def.Mask, Retention: def.Retention, Updated: def.Updated},
		b.audit(spec.Actor, "topic.alter", t.name),
	}})
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.def.Mask, t.def.Retention, t.def.Updated = def.Mask, def.Retention, def.Updated
	t.mu.Unlock()
	t.bits.Store(def.Mask)
	b.opts.Changed()
	return nil
}

// DeclareGroup makes sure that a group exists with the given properties, and
// reports whether it was created. Its topic has to exist.
func (b *Broker) DeclareGroup(ctx context.Context, spec GroupSpec) (*Group, bool, error) {
	t, err := b.Topic(spec.Topic)
	if err != nil {
		return nil, false, err
	}
	if spec.Name == "" {
		spec.Name = t.name
	}
	// Before the lock: a search for a message id may take long.
	start := int64(0)
	unplaced := error(errorf(Conflict, "ConsumeGroup(%s) was removed meanwhile: declare it again", spec.Name))
	if _, err := t.Group(spec.Name); err != nil {
		start, unplaced = b.startOf(ctx, t, spec.Start)
	}
	b.admin.Lock()
	defer b.admin.Unlock()
	if t.Removed() {
		return nil, false, topicNotFound(t.name)
	}
	if g, err := t.Group(spec.Name); err == nil {
		return g, false, b.alterGroup(ctx, g, spec)
	}
	if err := CheckName("group", spec.Name); err != nil {
		return nil, false, err
	}
	now := b.now()
	def := storage.Group{Topic: t.id, Name: spec.Name, Creator: spec.Actor, Created: now, Updated: now, Version: 1}
	if err := spec.set(&def); err != nil {
		return nil, false, err
	}
	if unplaced != nil {
		return nil, false, unplaced
	}
	if !t.memory { // places in a memory topic mean nothing to the next process
		def.Progress = storage.Progress{Cursor: start, Read: start}
	}
	err = b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.CreateGroup{Group: &def}, b.audit(spec.Actor, "group.create", t.name+"/"+spec.Name),
	}})
	if err != nil {
		return nil, false, err
	}
	g, err := newGroup(t, def)
	if err != nil {
		return nil, false, err
	}
	if t.memory {
		g.place(storage.Progress{Cursor: start, Read: start})
	}
	t.mu.Lock()
	t.groups[fold(def.Name)] = g
	t.mu.Unlock()
	b.opts.Changed()
	return g, true, nil
}

// set applies the spec to a definition, after checking it.
func (spec *GroupSpec) set(def *storage.Group) error {
	for _, f := range []struct {
		name     string
		from     *int64
		to       *int64
		min, max int64
	}{
		{"group_mask", spec.Mask, &def.Mask, 0, 1<<31 - 1},
		{"group_ack_timeout", spec.AckTimeout, &def.AckTimeout, 0, 24 * 3600 * 1000},
		{"group_ack_window", spec.AckWindow, &def.AckWindow, 0, maxAckWindow},
		{"max_deliver", spec.MaxDeliver, &def.MaxDeliver, 0, 1 << 20},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < f.min || *f.from > f.max {
			return errorf(Invalid, "%s %d: must be %d to %d", f.name, *f.from, f.min, f.max)
		}
		*f.to = *f.from
	}
	if spec.Filter != nil {
		if _, err := ParseFilter(*spec.Filter); err != nil {
			return err
		}
		def.Filter = *spec.Filter
	}
	return nil
}

// alterGroup changes what the spec names; consumers stay connected. A change of
// the filter is journalled.
func (b *Broker) alterGroup(ctx context.Context, g *Group, spec GroupSpec) error {
	g.mu.Lock()
	old, place := g.def, g.progress()
	g.mu.Unlock()
	def := old
	if err := spec.set(&def); err != nil {
		return err
	}
	if def.Filter == old.Filter && def.Mask == old.Mask && def.AckTimeout == old.AckTimeout &&
		def.AckWindow == old.AckWindow && def.MaxDeliver == old.MaxDeliver {
		return nil
	}
	def.Version++
	def.Updated = b.now()
	alter := &storage.AlterGroup{Group: &def}
	if def.Filter != old.Filter {
		alter.Entry = &storage.JournalEntry{
			Topic: g.t.id, Group: g.id, Time: def.Updated, Kind: "filter", Actor: spec.Actor, Reason: spec.Reason,
			From: place, To: place.Cursor, FilterFrom: old.Filter, FilterTo: def.Filter,
		}
	}
	err := b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		alter, b.audit(spec.Actor, "group.alter", g.t.name+"/"+g.name),
	}})
	if err != nil {
		return err
	}
	filter, err := ParseFilter(def.Filter)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.filter = filter
	g.def.Filter, g.def.Mask, g.def.Version, g.def.Updated = def.Filter, def.Mask, def.Version, def.Updated
	g.def.AckTimeout, g.def.AckWindow, g.def.MaxDeliver = def.AckTimeout, def.AckWindow, def.MaxDeliver
	g.mu.Unlock()
	g.wakeUp()
	b.opts.Changed()
	return nil
}

// RemoveTopic removes a topic, its groups and its messages. Consumers are told
// that their group is gone.
func (b *Broker) RemoveTopic(ctx context.Context, name, actor string) error {
	b.admin.Lock()
	defer b.admin.Unlock()
	t, err := b.Topic(name)
	if err != nil {
		return err
	}
	err = b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.RemoveTopic{Topic: t.id}, b.audit(actor, "topic.remove", t.name),
	}})
	if err != nil {
		return err
	}
	t.gone.Store(true)
	b.mu.Lock()
	delete(b.topics, fold(t.name))
	b.mu.Unlock()
	for _, g := range t.Groups() {
		g.end()
	}
	if t.memory {
		t.mu.Lock()
		t.forget(t.next.Load())
		t.mu.Unlock()
	}
	b.opts.Changed()
	return nil
}

// RemoveGroup removes a group. Its consumers are told that it is gone.
func (b *Broker) RemoveGroup(ctx context.Context, topic, name, actor string) error {
	b.admin.Lock()
	defer b.admin.Unlock()
	g, err := b.Group(topic, name)
	if err != nil {
		return err
	}
	err = b.writer.Do(ctx, &storage.Atomic{Ops: []storage.Op{
		&storage.RemoveGroup{Group: g.id}, b.audit(actor, "group.remove", g.t.name+"/"+g.name),
	}})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	g.t.mu.Lock()
	delete(g.t.groups, fold(g.name))
	g.t.mu.Unlock()
	g.end()
	b.opts.Changed()
	return nil
}

// end closes a removed group's subscriptions.
func (g *Group) end() {
	g.mu.Lock()
	g.gone = true
	subs := append([]*Subscription(nil), g.subs...)
	for _, s := range subs {
		g.drop(s)
	}
	g.flying.clear()
	g.returned.clear()
	g.dead = nil
	g.mu.Unlock()
	for _, s := range subs {
		s.sink.Ended(s)
	}
	g.wakeUp()
	g.b.saver.mark(g, true) // acks that wait get their answer
}

// EmptyTopic drops all messages of a topic. Its offsets go on where they are.
func (b *Broker) EmptyTopic(ctx context.Context, name, actor string) error {
	b.admin.Lock()
	defer b.admin.Unlock()
	t, err := b.Topic(name)
	if err != nil {
		return err
	}
	if err := b.writer.Do(ctx, b.audit(actor, "topic.empty", t.name)); err != nil {
		return err
	}
	if t.memory {
		t.mu.Lock()
		t.forget(t.next.Load())
		t.mu.Unlock()
	} else if err := t.trimAll(ctx); err != nil {
		return err
	}
	b.opts.Changed()
	return nil
}

func (b *Broker) audit(actor, action, target string) *storage.Audit {
	return &storage.Audit{Entry: &storage.AuditEntry{Time: b.now(), Actor: actor, Action: action, Target: target}}
}
