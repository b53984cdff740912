package broker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rushmore/zbus-go/internal/storage"
)

// When a publish is told that its topic is not there, no client finds the topic: a
// message sent again must not be told that it is stored there.
func TestARemovedTopicIsFoundByNobodyWhoHeardOfIt(t *testing.T) {
	for name, remove := range map[string]func(r *rig) error{
		"topic": func(r *rig) error { return r.b.removeTopic(context.Background(), "t", "", named("ann")) },
		"group": func(r *rig) error { return r.b.removeGroup(context.Background(), "t", "g", "", named("ann")) },
	} {
		inBubble(t, Options{DedupWindow: window}, func(r *rig) {
			r.topic("t", 0, storage.Retention{})
			r.group(GroupSpec{Topic: "t", Name: "g"})
			hold := make(chan struct{}) // answers wait
			first := &storage.Ticket{Ops: []storage.Op{r.b.audit(named("ann"), "x", "y", "")}, Done: func(*storage.Ticket) { <-hold }}
			if err := r.b.home().Submit(first); err != nil {
				r.Fatal(err)
			}
			removed := make(chan error, 1)
			go func() { removed <- remove(r) }()
			synctest.Wait()
			var found error
			later := &storage.Ticket{Ops: []storage.Op{r.b.audit(named("ann"), "x", "y", "")}, Done: func(*storage.Ticket) { _, found = r.b.System().Group("t", "g") }}
			if err := r.b.home().Submit(later); err != nil {
				r.Fatal(err)
			}
			close(hold)
			if err := <-removed; err != nil {
				r.Fatal(err)
			}
			synctest.Wait()
			if CodeOf(found) != NotFound {
				r.Errorf("%s: who heard of a later commit finds it: %v", name, found)
			}
		})
	}
}
