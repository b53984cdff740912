package broker

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

func TestTransactionAndCrash(t *testing.T) {
	for _, c := range []struct {
		when  string
		fault storetest.Fault
		done  bool
	}{
		{"before the commit", storetest.Fault{Before: errCrash}, false},
		{"after the commit", storetest.Fault{After: errCrash}, true},
	} {
		onLedger(t, func(l *ledger) {
			l.store.FailNext(c.fault)
			if _, _, err := l.rig.b.transact(context.Background(), l.transaction()); CodeOf(err) != Unknown || err == nil {
				l.Errorf("crash %s: %v", c.when, err)
			}
			l.reload()
			l.is("crash "+c.when, c.done)
		})
	}
}

// begin starts a transaction and holds its commit, which fails or not.
func (l *ledger) begin(fail bool) (end func()) {
	fault := storetest.Fault{Release: make(chan struct{})}
	if fail {
		fault.Before = storage.ErrFull
	}
	l.store.FailNext(fault)
	done := make(chan error, 1)
	go func() {
		_, _, err := l.rig.b.transact(context.Background(), l.transaction())
		done <- err
	}()
	synctest.Wait()
	return func() {
		l.Helper()
		close(fault.Release)
		if err := <-done; fail != (CodeOf(err) == Full) || !fail && err != nil {
			l.Errorf("transaction: %v", err)
		}
		synctest.Wait()
	}
}

func TestGroupsOfATransactionWaitForItsCommit(t *testing.T) {
	for _, fail := range []bool{false, true} {
		onLedger(t, func(l *ledger) {
			m := l.subscribe(l.moves, "m")
			end := l.begin(fail)
			early, _ := offsets(append(l.c.take(9), m.take(9)...))
			if len(early) > 0 {
				l.Errorf("delivered %d before the commit", early)
			}
			if err := l.acks.ackNow(0, l.b.Handle(0)); CodeOf(err) != Conflict || err == nil {
				l.Errorf("ack of what the transaction acks: %v, want a conflict", err)
			}
			end()
			want := []int64{0, 1, 2, 3}
			if !fail {
				want = []int64{3}
			}
			if list, _ := offsets(m.drain()); !slices.Equal(list, want) {
				l.Errorf("failed: %t: the moved group gives %d, want %d", fail, list, want)
			}
			if list, _ := offsets(l.c.drain()); !slices.Equal(list, []int64{3}) {
				l.Errorf("failed: %t: the other group gives %d, want 3", fail, list)
			}
		})
	}
}

// What a consumer held that went during the commit is given to another one, unless it
// was acked.
func TestConsumerMayGoDuringATransaction(t *testing.T) {
	for _, c := range []struct {
		fail, leave bool
		want        []int64
	}{
		{false, false, []int64{1, 3}},
		{true, false, []int64{0, 1, 2, 3}},
		{false, true, []int64{3}},
		{true, true, []int64{3}},
	} {
		onLedger(t, func(l *ledger) {
			end := l.begin(c.fail)
			if c.leave {
				l.c.sub.Leave()
			} else {
				l.c.sub.Close()
			}
			end()
			if list, _ := offsets(l.subscribe(l.acks, "d").take(9)); !slices.Equal(list, c.want) {
				l.Errorf("failed: %t, left: %t: then comes %d, want %d", c.fail, c.leave, list, c.want)
			}
			if c.fail && c.leave {
				if err := l.acks.ackNow(2, l.b.Handle(2)); err != nil {
					l.Errorf("ack after a failed transaction: %v", err)
				}
			}
		})
	}
}

// Who has a handle was sent its message, also if that is reported while the message
// is out of flight.
func TestBatchMayBeReportedDuringATransaction(t *testing.T) {
	onLedger(t, func(l *ledger) {
		g := l.acks
		l.b = l.c.take(1)[0] // 3, not reported yet
		tx := Transaction{Acks: []Acks{{g, []DeliveryHandle{l.handle(0)}}}}
		fault := storetest.Fault{Release: make(chan struct{}), Before: storage.ErrFull}
		l.store.FailNext(fault)
		done := make(chan error, 1)
		go func() {
			_, _, err := l.rig.b.transact(context.Background(), tx)
			done <- err
		}()
		synctest.Wait()
		l.b.Done(1)
		close(fault.Release)
		if err := <-done; CodeOf(err) != Full {
			l.Fatal(err)
		}
		l.c.sub.Close()
		if list, _ := offsets(l.subscribe(g, "d").take(9)); !slices.Contains(list, 3) {
			l.Errorf("3 is not given back with its connection: %d", list)
		}
	})
}

// A save that began before the transaction must not end after it: it has the position
// from before.
func TestSaveUnderWayDoesNotUndoATransaction(t *testing.T) {
	onLedger(t, func(l *ledger) {
		s, done := &l.rig.b.home().saver, make(chan error, 1)
		if err := l.acks.ackNow(1, l.b.Handle(1)); err != nil {
			l.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		s.turn.Lock()
		l.acks.mu.Lock()
		old := l.acks.saveOp(storage.At(0))
		l.acks.mu.Unlock()
		go func() {
			_, _, err := l.rig.b.transact(context.Background(), l.transaction())
			done <- err
		}()
		for range 1000 { // it would be through by then
			runtime.Gosched()
		}
		if err := l.rig.b.home().Do(context.Background(), old); err != nil {
			l.Fatal(err)
		}
		s.turn.Unlock()
		if err := <-done; err != nil {
			l.Fatal(err)
		}
		l.reload()
		if at := l.acks.Info().Cursor; at != 3 {
			l.Errorf("cursor %d after a crash, want 3", at)
		}
	})
}

// A memory topic has no position to store, so an ack in it is as good as its process.
func TestTransactionWithAcksInMemory(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("ticks", storage.KindMemory, storage.Retention{})
		g := r.group(GroupSpec{Topic: "ticks", Settle: ptr(storage.SettleExplicit)})
		r.mustPublish(topic, "", "")
		c := r.subscribe(g, "c")
		b := c.take(2)[0]
		first := b.Items[0].Record.Offset
		tx := Transaction{Acks: []Acks{{g, []DeliveryHandle{{first, b.Handle(0)}}}}}
		if _, _, err := r.b.transact(context.Background(), tx); err != nil {
			r.Fatal(err)
		}
		if info := g.Info(); info.Cursor != first+1 || info.InFlight != 1 {
			r.Errorf("the group is at %+v", info)
		}
	})
}
