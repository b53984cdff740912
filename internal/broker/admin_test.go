package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// pause stops and resumes a topic.
func (r *rig) pause(name string, paused bool) {
	r.Helper()
	if _, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: name, Paused: &paused}); err != nil {
		r.Fatal(err)
	}
}

func TestPausedTopicDeliversNothing(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(3, 0)
		c := r.subscribe(g, "c")
		b := c.take(2)[0]
		b.Done(2)
		r.pause("orders", true)
		r.mustPublish(g.Topic(), "")
		if err := g.nackNow(1, b.Handle(1), 0); err != nil {
			r.Errorf("nack in a paused topic: %v", err)
		}
		if err := g.ackNow(0, b.Handle(0)); err != nil {
			r.Errorf("ack in a paused topic: %v", err)
		}
		late := r.subscribe(r.group(GroupSpec{Topic: "orders", Name: "late"}), "l")
		time.Sleep(time.Minute)
		if early, _ := offsets(append(c.take(9), late.take(9)...)); len(early) > 0 {
			r.Errorf("delivered %d in a paused topic", early)
		}
		r.pause("orders", false)
		synctest.Wait()
		if list, _ := offsets(c.drain()); !slices.Equal(list, []int64{1, 2, 3}) {
			r.Errorf("delivered %d after the pause, want 1 to 3", list)
		}
	})
}

func TestPauseOfATopicOutlivesTheProcess(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.explicitGroup(3, 0)
		r.pause("orders", true)
		r.crash()
		g := r.again()
		if topic := g.Topic(); !topic.Definition().Paused || topic.Next() != 3 {
			r.Errorf("after a crash the topic is %+v", topic.Definition())
		}
		c := r.subscribe(g, "c")
		if list, _ := offsets(c.take(9)); len(list) > 0 {
			r.Errorf("delivered %d after a crash", list)
		}
		r.topic("orders", 0, storage.Retention{MaxCount: 100}) // leaves the pause alone
		synctest.Wait()
		if list, _ := offsets(c.drain()); len(list) > 0 {
			r.Errorf("delivered %d after a change of something else", list)
		}
		r.pause("orders", false)
		synctest.Wait()
		if list, _ := offsets(c.drain()); !slices.Equal(list, []int64{0, 1, 2}) {
			r.Errorf("delivered %d after the pause, want 0 to 2", list)
		}
		audit, err := r.b.auditEntries(context.Background(), 0, 3)
		if err != nil || audit[0].Action != "topic.resume" || audit[1].Action != "topic.alter" {
			r.Errorf("audit trail %+v: %v", audit, err)
		}
	})
}

func TestEphemeralGroupsOfAnEarlierProcessAreRemoved(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("orders", 0, storage.Retention{})
		for name, ephemeral := range map[string]bool{"~gone": true, "~kept": false, "named": true} {
			r.group(GroupSpec{Topic: "orders", Name: name, Ephemeral: &ephemeral})
		}
		names := func() (list []string) {
			topic, err := r.b.findTopic("orders")
			if err != nil {
				r.Fatal(err)
			}
			synctest.Wait()
			for _, g := range topic.Groups() {
				list = append(list, g.Name())
			}
			return list
		}
		time.Sleep(time.Second)
		if list := names(); len(list) != 3 {
			r.Errorf("while their process lives the groups are %q", list)
		}
		r.crash()
		r.group(GroupSpec{Topic: "orders", Name: "~new", Ephemeral: ptr(true)})
		r.b.home().removeLeftovers(context.Background()) // its consumer may not be there yet
		time.Sleep(time.Second)
		if list := names(); !slices.Equal(list, []string{"named", "~kept", "~new"}) {
			r.Errorf("in the next process the groups are %q", list)
		}
	})
}

func TestChangeOfATopicThatWasSeenOtherwiseIsRefused(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		ctx := context.Background()
		topic := r.topic("orders", 0, storage.Retention{})
		if _, _, err := r.b.declareTopic(ctx, TopicSpec{Name: "ORDERS", New: true}); CodeOf(err) != Exists || err == nil {
			r.Errorf("new topic of a taken name: %v", err)
		}
		seen := []string{topic.Version()}
		for _, spec := range []TopicSpec{
			{Paused: ptr(true)}, {Replies: ptr(true)}, {Retention: Limits{MaxCount: ptr[int64](7)}}, {Retention: Limits{MaxBytes: ptr[int64](7)}},
		} {
			spec.Name, spec.Version = "orders", topic.Version()
			if _, _, err := r.b.declareTopic(ctx, spec); err != nil {
				r.Errorf("change of what was seen: %v", err)
			}
			if slices.Contains(seen, topic.Version()) {
				r.Errorf("the version is the same after %+v", spec)
			}
			seen = append(seen, topic.Version())
		}
		now := topic.Definition()
		for _, old := range seen[:len(seen)-1] {
			if _, _, err := r.b.declareTopic(ctx, TopicSpec{Name: "orders", Paused: ptr(false), Version: old}); CodeOf(err) != Stale || err == nil {
				r.Errorf("change of what was seen earlier: %v", err)
			}
			if err := r.b.removeTopic(ctx, "orders", old, named("ann")); CodeOf(err) != Stale || err == nil {
				r.Errorf("removal of what was seen earlier: %v", err)
			}
		}
		if topic.Definition() != now || topic.Removed() {
			r.Errorf("the topic was changed: %+v", topic.Definition())
		}
		r.crash()
		if err := r.b.removeTopic(ctx, "orders", topic.Version(), named("ann")); err != nil {
			r.Errorf("removal of what was seen before a crash: %v", err)
		}
	})
}

func TestChangeOfAGroupThatWasSeenOtherwiseIsRefused(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		ctx := context.Background()
		g := r.explicitGroup(5, 0)
		if _, _, err := r.b.declareGroup(ctx, GroupSpec{Topic: "orders", New: true}); CodeOf(err) != Exists || err == nil {
			r.Errorf("new group of a taken name: %v", err)
		}
		seen := []string{g.Version()}
		change := func(spec GroupSpec) error {
			spec.Topic, spec.Version = "orders", seen[len(seen)-1]
			_, _, err := r.b.declareGroup(ctx, spec)
			return err
		}
		move := func() error {
			_, err := g.relocate(ctx, at(2), "relocate", named("ann"), "")
			return err
		}
		for i, err := range []func() error{
			func() error { return change(GroupSpec{Filter: ptr("a")}) },
			move,
			func() error { return change(GroupSpec{Paused: ptr(true)}) },
			func() error { return change(GroupSpec{Paused: ptr(false), Settle: ptr(storage.SettleAuto)}) },
			move, // to where it is
			func() error { return change(GroupSpec{MaxDeliver: ptr[int64](9)}) },
		} {
			if err := err(); err != nil || slices.Contains(seen, g.Version()) {
				r.Errorf("change %d: %v; the version is %s after %s", i, err, g.Version(), seen)
			}
			seen = append(seen, g.Version())
		}
		if info := g.Info(); info.Paused || info.Settle != storage.SettleAuto {
			r.Errorf("all is taken back, and the group is %+v", info)
		}
		r.subscribe(g, "c").take(3) // does not count as a change
		r.crash()
		r.onlyNewest(r.again(), seen)
	})
}

// onlyNewest tries to change and to remove a group by all versions that it had.
func (r *rig) onlyNewest(g *Group, seen []string) {
	r.Helper()
	ctx, newest := context.Background(), len(seen)-1
	for _, old := range seen[:newest] {
		if _, _, err := r.b.declareGroup(ctx, GroupSpec{Topic: "orders", Filter: ptr("b"), Version: old}); CodeOf(err) != Stale || err == nil {
			r.Errorf("change of what was seen earlier: %v", err)
		}
		if err := r.b.removeGroup(ctx, "orders", "", old, named("ann")); CodeOf(err) != Stale || err == nil {
			r.Errorf("removal of what was seen earlier: %v", err)
		}
	}
	if f := g.Info().Filter; f != "a" {
		r.Errorf("the filter is %q", f)
	}
	if err := r.b.removeGroup(ctx, "orders", "", seen[newest], named("ann")); err != nil {
		r.Errorf("removal of what was seen: %v", err)
	}
}

// A declaration changes what it names and nothing else: least of all does a consumer that
// declares its group again resume what an operator paused.
func TestDeclarationChangesOnlyWhatItNames(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{MaxAge: 1000, MaxCount: 7})
		spec := GroupSpec{Topic: "orders", Name: "g", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](3)}
		g := r.group(spec)
		r.group(GroupSpec{Topic: "orders", Name: "g", Paused: ptr(true)})
		r.group(spec)
		r.group(GroupSpec{Topic: "orders", Name: "g", Settle: ptr(storage.SettleAuto)})
		if info := g.Info(); !info.Paused || info.Settle != storage.SettleAuto {
			r.Errorf("a paused group that was declared anew is %+v", info)
		}
		if n := g.Info().MaxDeliver; n != 3 {
			r.Errorf("a declaration without a limit of deliveries made it %d", n)
		}
		r.group(GroupSpec{Topic: "orders", Name: "g", Paused: ptr(false), MaxDeliver: ptr[int64](0)})
		if info := g.Info(); info.Paused || info.MaxDeliver != 0 {
			r.Errorf("resumed and without a limit, the group is %+v", info)
		}
		for _, step := range []struct {
			limits Limits
			want   storage.Retention
		}{
			{Limits{MaxBytes: ptr[int64](9)}, storage.Retention{MaxAge: 1000, MaxCount: 7, MaxBytes: 9}},
			{Limits{MaxAge: ptr[int64](0)}, storage.Retention{MaxCount: 7, MaxBytes: 9}},
			{Limits{}, storage.Retention{MaxCount: 7, MaxBytes: 9}},
			{LimitsOf(storage.Retention{MaxAge: 5}), storage.Retention{MaxAge: 5}},
		} {
			if _, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: "orders", Retention: step.limits}); err != nil {
				r.Fatal(err)
			}
			if now := topic.Definition().Retention; now != step.want {
				r.Errorf("%+v made the limits %+v, want %+v", step.limits, now, step.want)
			}
		}
	})
}
