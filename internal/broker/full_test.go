package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// An ack that finds no room, or no database, is stored when there is some. Until then its
// outcome is unknown.
func TestAckThatCanNotBeStoredIsAnsweredWhenItIs(t *testing.T) {
	for _, cause := range []error{storage.ErrFull, storage.ErrNotStored} {
		t.Run(cause.Error(), func(t *testing.T) { ackLater(t, cause) })
	}
}

func ackLater(t *testing.T, cause error) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(3, 0)
		b := r.subscribe(g, "c").take(3)[0]
		release := make(chan struct{})
		r.store.FailNext(storetest.Fault{Before: cause, Release: release})
		var answers []error
		answer := func(err error) { answers = append(answers, err) }
		g.Ack(0, b.Handle(0), answer)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if len(answers) != 0 {
			r.Errorf("without room: %v", answers)
		}
		g.Ack(1, b.Handle(1), answer) // what waits joins what comes
		time.Sleep(time.Second)
		synctest.Wait()
		if len(answers) != 2 || answers[0] != nil || answers[1] != nil {
			r.Fatalf("with room: %v", answers)
		}
		r.crash()
		if g, err := r.b.System().Group("orders", ""); err != nil || g.Cursor() != 2 {
			r.Errorf("the group is at %d, %v; want 2", g.Cursor(), err)
		}
	})
}

// A broker that stops answers what it could not store, and it stays so.
func TestAckThatIsNotStoredAtTheEndIsAnsweredSo(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(2, 0)
		b := r.subscribe(g, "c").take(2)[0]
		synctest.Wait()
		time.Sleep(time.Second)
		r.store.FailCommits(storage.ErrFull)
		var answers []error
		g.Ack(0, b.Handle(0), func(err error) { answers = append(answers, err) })
		time.Sleep(time.Second)
		synctest.Wait()
		if len(answers) != 0 {
			r.Errorf("before the end: %v", answers)
		}
		r.close()
		if len(answers) != 1 || CodeOf(answers[0]) != Full {
			r.Errorf("at the end: %v", answers)
		}
		r.open()
		if g, err := r.b.System().Group("orders", ""); err != nil || g.Cursor() != 0 {
			r.Errorf("the group is at %d, %v; want 0", g.Cursor(), err)
		}
	})
}
