package broker

import (
	"context"
	"testing"
)

func TestTopicsAndGroupsAreLimited(t *testing.T) {
	inBubble(t, Options{MaxTopics: 2, MaxGroups: 3}, func(r *rig) {
		ctx := context.Background()
		topic := func(name string) error {
			_, _, err := r.b.declareTopic(ctx, TopicSpec{Name: name})
			return err
		}
		group := func(topic, name string) error {
			_, _, err := r.b.declareGroup(ctx, GroupSpec{Topic: topic, Name: name})
			return err
		}
		want := func(code Code, err error) {
			r.Helper()
			if code == Internal && err != nil || code != Internal && CodeOf(err) != code {
				r.Errorf("got %v", err)
			}
		}
		const fine = Internal
		want(fine, topic("a"))
		want(fine, topic("b"))
		want(Quota, topic("c"))
		want(fine, topic("a")) // it exists
		want(fine, group("a", "1"))
		want(fine, group("a", "2"))
		want(fine, group("b", "1"))
		want(Quota, group("b", "2"))
		want(fine, group("b", "1"))
		want(fine, r.b.removeGroup(ctx, "a", "1", "", named("")))
		want(fine, group("b", "2"))
		want(Quota, group("b", "3"))
		want(fine, r.b.removeTopic(ctx, "b", "", named("")))
		want(fine, topic("c"))
		want(fine, group("c", "1"))
		want(fine, group("c", "2"))
		want(Quota, group("c", "3"))
		if err := r.broker.End(); err != nil {
			r.Fatal(err)
		}
		if err := r.store.Close(); err != nil {
			r.Fatal(err)
		}
		r.open() // what is there is counted
		want(Quota, topic("d"))
		want(Quota, group("c", "3"))
	})
}
