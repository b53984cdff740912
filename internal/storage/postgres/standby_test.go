package postgres

import (
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

func TestStoreSaysWhetherItsCommitsAreReplicated(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{})
	board := condition.New(r.options.Log)
	r.options.Conditions = board
	if r.Replicated() {
		t.Fatal("there is no standby yet")
	}
	c.Standby(t, "s1")
	c.Synchronous(t, "s1")
	// A session that commits has the setting from the next statement on.
	until(t, "commits are replicated", func() bool {
		if err := r.append("a"); err != nil {
			t.Fatal(err)
		}
		return r.Replicated()
	})
	if len(board.List()) != 0 {
		t.Errorf("nothing is wrong, and %v", board.List())
	}
	other := mustOpen(t, Options{URL: r.url, Node: "b", lease: 1})
	if !other.Replicated() {
		t.Error("not known after the start")
	}
	relaxed := mustOpen(t, Options{URL: r.url, Node: "c", lease: 1, Relaxed: true})
	if relaxed.Replicated() {
		t.Error("relaxed commits are said to be replicated")
	}
}

// A commit waits for its standby, and the server is told to do without.
func TestCommitThatStoppedWaitingForItsStandbyIsLocal(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{CommitTimeout: time.Minute})
	board := condition.New(r.options.Log)
	r.options.Conditions = board
	s1 := c.Standby(t, "s1")
	c.Synchronous(t, "s1")
	until(t, "commits are replicated", func() bool {
		if err := r.append("a"); err != nil {
			t.Fatal(err)
		}
		return r.Replicated()
	})
	s1.Stop()
	done := r.start("b")
	until(t, "the commit waits", func() bool {
		return r.beside.must(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")[0][0] != "0"
	})
	c.Synchronous(t, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r.Replicated() {
		t.Error("said to be replicated, and the standby was down")
	}
	if list := board.List(); len(list) != 1 || list[0].Kind != standbyKind || list[0].NotReady {
		t.Errorf("conditions %+v", list)
	}
}
