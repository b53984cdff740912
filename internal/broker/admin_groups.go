package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rushmore/zbus-go/internal/filter"
	"github.com/rushmore/zbus-go/internal/storage"
)

// GroupSpec says what a group should be. A nil field leaves an existing group's
// value alone and means the default for a new one.
type GroupSpec struct {
	Topic, Name string
	Filter      *string
	Settle      *storage.Settle
	Exclusive   *bool
	Paused      *bool
	Ephemeral   *bool
	LegacyMask  *int64
	AckTimeout  *int64 // milliseconds
	AckWindow   *int64
	MaxDeliver  *int64
	Start       Position // of a new group; ignored for an existing one
	New         bool     // an existing group is refused with Exists
	Version     string   // unless "", the group must exist and have this one, see [Group.Version]
	Actor       storage.Actor
	Reason      string // for the journal, when the filter changes

	permit func(exists bool) error // unless nil: asked before anything changes
	kind   string                  // of the journal entry when the filter changes; "filter" unless set
	entry  *storage.JournalEntry   // unless nil: becomes that entry
}

// declareGroup makes sure that a group exists with the given properties, and
// reports whether it was created. Its topic has to exist.
func (b *Broker) declareGroup(ctx context.Context, spec GroupSpec) (*Group, bool, error) {
	t, err := b.findTopic(spec.Topic)
	if err != nil {
		return nil, false, err
	}
	if err := t.Refused(); err != nil {
		return nil, false, err
	}
	if spec.Name == "" {
		spec.Name = t.name
	}
	// Before the lock: a search for a message id may take long.
	start := int64(0)
	unplaced := error(errorf(Conflict, "ConsumeGroup(%s) was removed in the meantime: declare it again", spec.Name))
	if _, err := t.group(spec.Name); err != nil {
		start, unplaced = b.startOf(ctx, t, spec.Start)
	}
	t.changes.Lock()
	defer t.changes.Unlock()
	if t.Removed() {
		return nil, false, topicNotFound(t.name)
	}
	if g, err := t.group(spec.Name); err == nil {
		if spec.New {
			return nil, false, errorf(Exists, "ConsumeGroup(%s) exists already", g.name)
		}
		return g, false, b.alterGroup(ctx, g, spec)
	}
	if spec.Version != "" {
		return nil, false, groupNotFound(spec.Name)
	}
	if err := CheckName("group", spec.Name); err != nil {
		return nil, false, err
	}
	if spec.permit != nil {
		if err := spec.permit(false); err != nil {
			return nil, false, err
		}
	}
	now := b.now()
	def := storage.Group{Topic: t.id, Name: spec.Name, Creator: spec.Actor.Name, Created: now, Updated: now, Version: 1}
	if err := spec.set(&def); err != nil {
		return nil, false, err
	}
	if err := b.checkDeadLetters(t, &def); err != nil {
		return nil, false, err
	}
	if unplaced != nil {
		return nil, false, unplaced
	}
	def.Progress = t.lasting(storage.At(start))
	if err := b.addGroup(); err != nil {
		return nil, false, err
	}
	err = t.shard.commit(ctx, audited(b.audit(spec.Actor, "group.create", t.name+"/"+spec.Name, groupChanges(new(storage.Group), &def)), spec.Name,
		&storage.CreateGroup{Group: &def, Entry: &storage.JournalEntry{
			Topic: t.id, Time: now, Kind: "create", Actor: spec.Actor, Reason: spec.Reason,
			From: storage.At(start), To: start, FilterFrom: def.Filter, FilterTo: def.Filter,
		}}))
	if err != nil {
		b.groups.Add(-1)
		return nil, false, err
	}
	g, err := newGroup(t, def)
	if err != nil {
		b.groups.Add(-1)
		return nil, false, err
	}
	g.moveTo(storage.At(start))
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
	if spec.Settle != nil {
		def.Settle = *spec.Settle
	}
	if spec.LegacyMask != nil {
		def.LegacyMask = *spec.LegacyMask
	}
	for _, f := range []struct{ from, to *bool }{
		{spec.Exclusive, &def.Exclusive}, {spec.Paused, &def.Paused}, {spec.Ephemeral, &def.Ephemeral},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if spec.Filter != nil {
		if _, err := filter.Parse(*spec.Filter); err != nil {
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
	old, position := g.def, g.standing()
	g.mu.Unlock()
	if err := g.expect(spec.Version); err != nil {
		return err
	}
	def := old
	if err := spec.set(&def); err != nil {
		return err
	}
	if sameDefinition(&def, &old) {
		return nil
	}
	if spec.permit != nil {
		if err := spec.permit(true); err != nil {
			return err
		}
	}
	if !dies(g.t, &old) {
		if err := b.checkDeadLetters(g.t, &def); err != nil {
			return err
		}
	}
	def.Version++
	def.Updated = b.now()
	alter := &storage.AlterGroup{Group: &def}
	if def.Filter != old.Filter {
		alter.Entry = &storage.JournalEntry{
			Topic: g.t.id, Group: g.id, Time: def.Updated, Kind: cmp.Or(spec.kind, "filter"), Actor: spec.Actor, Reason: spec.Reason,
			From: position, To: position.Cursor, FilterFrom: old.Filter, FilterTo: def.Filter,
		}
	}
	err := g.t.shard.commit(ctx, &storage.Atomic{Ops: []storage.Op{
		alter, b.audit(spec.Actor, "group.alter", g.t.name+"/"+g.name, groupChanges(&old, &def)),
	}})
	if err != nil {
		return err
	}
	if spec.entry != nil && alter.Entry != nil {
		*spec.entry = g.t.shard.stored(alter.Entry)
	}
	compiled, err := filter.Parse(def.Filter)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.filter = compiled
	g.def.Filter, g.def.Version, g.def.Updated = def.Filter, def.Version, def.Updated
	g.def.Settle, g.def.Exclusive, g.def.Paused, g.def.Ephemeral, g.def.LegacyMask = def.Settle, def.Exclusive, def.Paused, def.Ephemeral, def.LegacyMask
	g.def.AckTimeout, g.def.AckWindow, g.def.MaxDeliver = def.AckTimeout, def.AckWindow, def.MaxDeliver
	g.revive()
	g.deadRetry.due = 0 // what was wrong may be mended
	g.mu.Unlock()
	g.wakeUp()
	g.tidy()
	b.opts.Changed()
	return nil
}

// sameDefinition reports whether a change of a group changes nothing.
func sameDefinition(x, y *storage.Group) bool {
	return x.Filter == y.Filter && x.Settle == y.Settle && x.Exclusive == y.Exclusive && x.Paused == y.Paused &&
		x.Ephemeral == y.Ephemeral && x.LegacyMask == y.LegacyMask &&
		x.AckTimeout == y.AckTimeout && x.AckWindow == y.AckWindow && x.MaxDeliver == y.MaxDeliver
}

// Version changes with the group's definition and with every relocation. No other
// group ever has it, nor one of the same name that was made when this was removed.
func (g *Group) Version() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version()
}

// version is Version. Called with g.mu held.
func (g *Group) version() string {
	return fmt.Sprintf("%d-%d-%d", g.id, g.def.Version, g.def.Epoch)
}

// expect fails when the group has another version than the caller saw.
func (g *Group) expect(version string) error {
	if now := g.Version(); version != "" && version != now {
		return errorf(Stale, "ConsumeGroup(%s) has changed: its version is %s, not %s", g.name, now, version)
	}
	return nil
}

// removeGroup removes a group. Its consumers are told that it is gone. Unless
// version is "", the group must have it.
func (b *Broker) removeGroup(_ context.Context, topic, name, version string, actor storage.Actor) error {
	t, err := b.findTopic(topic)
	if err != nil {
		return err
	}
	t.changes.Lock()
	defer t.changes.Unlock()
	if t.Removed() {
		return topicNotFound(topic)
	}
	g, err := t.group(name)
	if err == nil {
		err = g.expect(version)
	}
	if err != nil {
		return err
	}
	remove := audited(b.audit(actor, "group.remove", g.t.name+"/"+g.name, ""), g.name, &storage.RemoveGroup{Group: g.id})
	err = t.shard.commitThen(remove, func(err error) {
		if err == nil || errors.Is(err, storage.ErrNotFound) {
			g.forget()
		}
	})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	g.end()
	b.opts.Changed()
	return nil
}

// end closes a removed group's subscriptions.
func (g *Group) end() {
	g.mu.Lock()
	g.gone = true
	g.dropPage()
	subs := append([]*Subscription(nil), g.subs...)
	for _, s := range subs {
		g.drop(s)
	}
	g.flying.clear()
	g.returned.clear()
	g.dead, g.noted = nil, nil
	retrying := g.deadRetry.pause > 0
	g.mu.Unlock()
	g.b.timers.cancel(g)
	if retrying {
		g.b.opts.Conditions.Clear(deadLetters, g.t.name+"/"+g.name)
	}
	for _, s := range subs {
		s.sink.Ended(s)
	}
	g.wakeUp()
	g.toSave(true) // acks that wait get their answer
}

// audited is an op together with its entry in the audit trail. Groups that come and
// go with their one consumer are not worth one.
func audited(entry *storage.Audit, group string, op storage.Op) storage.Op {
	if strings.HasPrefix(group, Ephemeral) {
		return op
	}
	return &storage.Atomic{Ops: []storage.Op{op, entry}}
}
