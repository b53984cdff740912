package storage_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

var errDisk = errors.New("disk on fire")

// hold is a commit that waits to be released.
func hold() storetest.Fault { return storetest.Fault{Release: make(chan struct{})} }

// bench is a running writer on a faulty store, inside a synctest bubble.
type bench struct {
	*testing.T
	store  *storetest.Faulty
	topic  storage.TopicID
	writer *storage.Writer
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned
	err    error         // of Run, set before ended is closed
	// answers are the names of the tickets in the order of their Done, which is
	// called on the writer's goroutine. Read after synctest.Wait.
	answers []string
}

// newBench starts a writer. Faults are counted from the first commit that the
// test itself causes.
func newBench(t *testing.T, limits storage.WriterLimits, faults map[int]storetest.Fault) *bench {
	memory := storetest.NewMemory()
	create := &storage.CreateTopic{Topic: &storage.Topic{Name: "log"}}
	if errs, err := memory.Commit([]storage.Op{create}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	b := &bench{T: t, store: storetest.NewFaulty(memory, faults), topic: create.Topic.ID, ended: make(chan struct{})}
	b.writer = storage.NewWriter(b.store, limits)
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() {
		defer close(b.ended)
		b.err = b.writer.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-b.ended
		if b.store.Misused() {
			t.Error("the store was used after its state became unknown")
		}
	})
	return b
}

// appends makes a ticket of appends, one op a topic named, whose records carry
// the ticket's name.
func (b *bench) appends(name string, topics ...storage.TopicID) *storage.Ticket {
	t := &storage.Ticket{Bytes: 10}
	for _, topic := range topics {
		t.Ops = append(t.Ops, &storage.Append{Topic: topic, Records: []storage.Record{{ID: name}}})
	}
	t.Done = func(*storage.Ticket) { b.answers = append(b.answers, name) }
	return t
}

// submit hands in a ticket with one good append.
func (b *bench) submit(name string) *storage.Ticket {
	b.Helper()
	t := b.appends(name, b.topic)
	if err := b.writer.Submit(t); err != nil {
		b.Fatalf("submit %s: %v", name, err)
	}
	return t
}

// answered fails the test unless exactly these tickets are done, in this order.
func (b *bench) answered(names ...string) {
	b.Helper()
	if !slices.Equal(b.answers, names) {
		b.Fatalf("answered %q, want %q", b.answers, names)
	}
}

// stored fails the test unless the topic has exactly these records.
func (b *bench) stored(names ...string) {
	b.Helper()
	recs, err := b.store.Read(b.Context(), b.topic, 0, storage.Page{Rows: 1000}, nil)
	if err != nil {
		b.Fatal(err)
	}
	var got []string
	for i := range recs {
		got = append(got, recs[i].ID)
	}
	if !slices.Equal(got, names) {
		b.Fatalf("stored %q, want %q", got, names)
	}
}

// is fails the test unless every op of the ticket was answered with an error
// that is want (nil for success). Unknown is no answer for what is known.
func (b *bench) is(t *storage.Ticket, want error) {
	b.Helper()
	if len(t.Errs) != len(t.Ops) {
		b.Fatalf("%d answers for %d ops", len(t.Errs), len(t.Ops))
	}
	for _, err := range t.Errs {
		if !errors.Is(err, want) || errors.Is(want, storage.ErrUnavailable) && errors.Is(err, storage.ErrUnknown) {
			b.Errorf("answer %v, want %v", err, want)
		}
	}
}

func TestEveryWaiterLearnsTheFateOfItsCommit(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  storetest.Fault
		want   error
		stored bool
		fatal  bool
	}{
		{"it works", storetest.Fault{}, nil, true, false},
		{"it fails and nothing is stored", storetest.Fault{Before: errDisk}, errDisk, false, true},
		{"it is stored but the answer is lost", storetest.Fault{After: errDisk}, errDisk, true, true},
		{"no room, nothing is stored", storetest.Fault{Before: storage.ErrFull}, storage.ErrFull, false, false},
		{"not this time, nothing is stored", storetest.Fault{Before: storage.ErrNotStored}, storage.ErrNotStored, false, false},
		{"the lease has ended, nothing is stored", storetest.Fault{Before: storage.ErrFenced}, storage.ErrFenced, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := hold(), c.fault
				second.Release = make(chan struct{})
				b := newBench(t, storage.WriterLimits{}, map[int]storetest.Fault{1: first, 2: second})
				before := b.submit("before")
				synctest.Wait()
				waiting := []*storage.Ticket{b.submit("w0"), b.submit("w1"), b.submit("w2")}
				synctest.Wait()
				b.answered() // the commit has not returned

				close(first.Release)
				synctest.Wait()
				b.is(before, nil)
				b.answered("before")
				behind := b.submit("behind")

				close(second.Release)
				synctest.Wait()
				b.answered("before", "w0", "w1", "w2", "behind")
				for _, w := range waiting {
					b.is(w, c.want)
				}
				names := []string{"before"}
				if c.stored {
					names = append(names, "w0", "w1", "w2")
				}
				if !c.fatal {
					b.is(behind, nil)
					b.stored(append(names, "behind")...)
					return
				}
				b.stored(names...)
				for _, w := range waiting {
					if errors.Is(c.want, storage.ErrFenced) {
						b.is(w, storage.ErrUnavailable) // which is not unknown
					} else {
						b.is(w, storage.ErrUnknown)
					}
				}
				b.is(behind, storage.ErrUnavailable) // the store was never given it
				b.stopped(c.want)
			})
		})
	}
}

// stopped fails the test unless the writer has ended for this reason and takes
// nothing more.
func (b *bench) stopped(why error) {
	b.Helper()
	select {
	case <-b.ended:
	default:
		b.Fatal("the writer continues")
	}
	if !errors.Is(b.err, storage.ErrUnavailable) || errors.Is(b.err, storage.ErrUnknown) || !errors.Is(b.err, why) {
		b.Errorf("Run returned %v, want unavailable because of %v", b.err, why)
	}
	late := b.appends("late", b.topic)
	if err := b.writer.Submit(late); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) || !errors.Is(err, why) {
		b.Errorf("Submit after the end: %v, want unavailable because of %v", err, why)
	}
	if err := b.writer.Do(b.Context(), late.Ops...); !errors.Is(err, storage.ErrUnavailable) {
		b.Errorf("Do after the end: %v, want unavailable", err)
	}
	synctest.Wait()
	if slices.Contains(b.answers, "late") {
		b.Error("Done was called for a ticket that was refused")
	}
}

func TestFailedUpkeepStopsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hold()
		b := newBench(t, storage.WriterLimits{}, map[int]storetest.Fault{1: first})
		before := b.submit("before")
		synctest.Wait()
		behind := b.submit("behind")
		b.store.FailUpkeep(errDisk)
		close(first.Release)
		synctest.Wait()
		b.answered("before", "behind")
		b.is(before, nil) // it was committed, whatever came after
		b.is(behind, storage.ErrUnavailable)
		b.stored("before")
		b.stopped(errDisk)
	})
}

func TestIdleWriterKeepsUpTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, storage.WriterLimits{Upkeep: time.Second}, nil)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if n := b.store.Upkeeps(); n != 10 {
			t.Errorf("Maintain was called %d times in 10 s, want 10", n)
		}
	})
}

func TestBadOpFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hold()
		b := newBench(t, storage.WriterLimits{}, map[int]storetest.Fault{1: first})
		b.submit("before")
		synctest.Wait()
		bad, mixed := b.appends("bad", 404), b.appends("mixed", b.topic, 404, b.topic)
		if err := errors.Join(b.writer.Submit(bad), b.writer.Submit(mixed)); err != nil {
			t.Fatal(err)
		}
		good := b.submit("good")
		close(first.Release)
		synctest.Wait()
		b.is(bad, storage.ErrNotFound)
		for i, want := range []error{nil, storage.ErrNotFound, nil} {
			if !errors.Is(mixed.Errs[i], want) {
				t.Errorf("op %d: %v, want %v", i, mixed.Errs[i], want)
			}
		}
		b.is(good, nil)
		b.stored("before", "mixed", "mixed", "good")
	})
}

func TestWhatArrivesDuringACommitSharesTheNext(t *testing.T) {
	for _, c := range []struct {
		limit int64
		want  []int // ops of the commits
	}{
		{0, []int{1, 7}},
		{30, []int{1, 3, 3, 1}}, // tickets have 10 bytes
		{25, []int{1, 3, 3, 1}}, // the ticket that reaches the limit still goes with it
		{1, []int{1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(fmt.Sprint(c.limit, " bytes"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := hold()
				b := newBench(t, storage.WriterLimits{CommitBytes: c.limit}, map[int]storetest.Fault{1: first})
				names := []string{"t"}
				b.submit("t")
				synctest.Wait()
				for i := range 7 {
					names = append(names, fmt.Sprint(i))
					b.submit(names[i+1])
				}
				if n := b.writer.Backlog(); n != 80 { // the one that is being committed is not answered
					t.Errorf("backlog %d, want 80", n)
				}
				close(first.Release)
				synctest.Wait()
				var sizes []int
				for _, ops := range b.store.Commits() {
					sizes = append(sizes, len(ops))
				}
				if !slices.Equal(sizes, c.want) {
					t.Errorf("commits of %d ops, want %d", sizes, c.want)
				}
				b.answered(names...)
				b.stored(names...)
				if n := b.writer.Backlog(); n != 0 {
					t.Errorf("backlog %d when all is done", n)
				}
			})
		})
	}
}

func TestTicketOverThePendingLimitIsRefusedAndNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hold()
		b := newBench(t, storage.WriterLimits{PendingBytes: 35}, map[int]storetest.Fault{1: first})
		b.submit("before")
		synctest.Wait()
		b.submit("w0")
		b.submit("w1")
		refused := b.appends("refused", b.topic)
		if err := b.writer.Submit(refused); !errors.Is(err, storage.ErrOverloaded) {
			t.Fatalf("fourth unanswered ticket: %v, want overloaded", err)
		}
		close(first.Release)
		synctest.Wait()
		b.answered("before", "w0", "w1")
		b.stored("before", "w0", "w1")

		// One that alone is larger than the limit has to get through some day.
		large := b.appends("large", b.topic)
		large.Bytes = 1000
		if err := b.writer.Submit(large); err != nil {
			t.Fatalf("large ticket on an idle writer: %v", err)
		}
		synctest.Wait()
		b.is(large, nil)
	})
}

func TestStoppingWriterCommitsWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hold()
		b := newBench(t, storage.WriterLimits{CommitBytes: 1}, map[int]storetest.Fault{1: first})
		b.submit("before")
		synctest.Wait()
		b.submit("w0")
		b.submit("w1")
		b.stop()
		synctest.Wait()
		b.answered()
		close(first.Release)
		<-b.ended
		if b.err != nil {
			t.Errorf("Run returned %v after an orderly stop", b.err)
		}
		b.answered("before", "w0", "w1")
		b.stored("before", "w0", "w1")
		if err := b.writer.Submit(b.appends("late", b.topic)); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Submit after the stop: %v, want unavailable", err)
		}
	})
}

func TestCommitFailsWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := hold()
		b := newBench(t, storage.WriterLimits{CommitBytes: 1}, map[int]storetest.Fault{1: first, 2: {After: errDisk}})
		b.submit("before")
		synctest.Wait()
		lost, behind := b.submit("lost"), b.submit("behind")
		b.stop()
		close(first.Release)
		synctest.Wait()
		b.is(lost, storage.ErrUnknown)
		b.is(behind, storage.ErrUnavailable)
		b.stopped(errDisk)
	})
}

// A writer under constant load has to end as well: a goroutine that is answered and
// writes again is refused once the writer was told to stop.
func TestBusyWriterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := hold()
		b := newBench(t, storage.WriterLimits{CommitBytes: 1}, map[int]storetest.Fault{1: start})
		const most, callers = 10_000, 100
		n := 0
		var again func(*storage.Ticket)
		again = func(*storage.Ticket) {
			if n++; n == 2*callers {
				b.stop()
			}
			next := b.appends("busy", b.topic)
			next.Done = again
			if n < most {
				_ = b.writer.Submit(next) // refused in the end, as it should be
			}
		}
		for range callers {
			first := b.appends("busy", b.topic)
			first.Done = again
			if err := b.writer.Submit(first); err != nil {
				t.Fatal(err)
			}
		}
		close(start.Release)
		<-b.ended
		if n >= most {
			t.Errorf("%d tickets were done, the writer was to stop at %d", n, 2*callers)
		}
	})
}

func TestDoReportsTheFirstErrorAndHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := hold()
		b := newBench(t, storage.WriterLimits{}, map[int]storetest.Fault{2: second})
		ops := b.appends("do", b.topic, 404).Ops
		if err := b.writer.Do(t.Context(), ops...); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Do with a bad op: %v, want not found", err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errDisk)
		defer cancel()
		if err := b.writer.Do(ctx, b.appends("slow", b.topic).Ops...); !errors.Is(err, errDisk) || !errors.Is(err, storage.ErrUnknown) {
			t.Errorf("Do with a context that ends: %v, want unknown and the cause", err)
		}
		if err := b.writer.Do(ctx, b.appends("late", b.topic).Ops...); !errors.Is(err, errDisk) || errors.Is(err, storage.ErrUnknown) {
			t.Errorf("Do with a context that has ended: %v, want the cause alone", err)
		}
		close(second.Release)
		synctest.Wait()
		b.stored("do", "slow") // the caller left, its ops were committed
	})
}

func TestIdleWriterKeepsNoTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, storage.WriterLimits{}, nil)
		ticket := weak.Make(b.submit("large"))
		synctest.Wait()
		runtime.GC()
		if ticket.Value() != nil {
			t.Error("an answered ticket, with its bodies, is still held")
		}
	})
}

func TestNothingIsAnsweredBeforeTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, storage.WriterLimits{}, nil)
		release := b.store.HoldSync()
		b.submit("first")
		synctest.Wait()
		b.answered() // committed, not synced
		b.stored("first")
		b.submit("second") // waits for more, as the disk is busy
		synctest.Wait()
		b.stored("first")
		third := b.appends("third", b.topic)
		third.Bytes = 1 << 20
		if err := b.writer.Submit(third); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.stored("first", "second", "third") // that is worth writing while the first one is synced
		b.submit("fourth")
		synctest.Wait()
		b.answered()
		close(release)
		synctest.Wait()
		b.answered("first", "second", "third", "fourth")
	})
}

func TestAfterAFailedSyncWhatWasCommittedIsUnknownAndWhatWaitsIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, storage.WriterLimits{}, nil)
		release := b.store.HoldSync()
		first := b.submit("first")
		synctest.Wait()
		large := b.appends("large", b.topic) // committed while the first one is synced
		large.Bytes = 1 << 20
		if err := b.writer.Submit(large); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		waiting := b.submit("waiting")
		synctest.Wait()
		b.stored("first", "large")
		b.store.FailSync(errDisk)
		close(release)
		synctest.Wait()
		b.is(first, storage.ErrUnknown)
		b.is(first, errDisk)
		b.is(large, storage.ErrUnknown)
		b.is(waiting, storage.ErrUnavailable)
		b.stopped(errDisk)
	})
}

// A commit that is under way when a sync fails is not waited for by those who were
// not in it.
func TestCommitUnderWayWhenTheSyncFailsIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := hold()
		b := newBench(t, storage.WriterLimits{}, map[int]storetest.Fault{2: second})
		release := b.store.HoldSync()
		first := b.submit("first")
		synctest.Wait()
		large := b.appends("large", b.topic)
		large.Bytes = 1 << 20
		if err := b.writer.Submit(large); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		behind := b.submit("behind")
		b.store.FailSync(errDisk)
		close(release)
		synctest.Wait()
		b.is(first, storage.ErrUnknown)
		b.is(behind, storage.ErrUnavailable)
		close(second.Release)
		synctest.Wait()
		b.is(large, storage.ErrUnknown)
		b.stored("first", "large")
		b.stopped(errDisk)
	})
}

// plain is a store that is durable when Commit returns, and has nothing to do in between.
type plain struct{ storage.Store }

func TestWriterOfAStoreThatNeedsNoSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storetest.NewMemory()
		w := storage.NewWriter(plain{memory}, storage.WriterLimits{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		create := &storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}
		if err := w.Do(ctx, create); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // in which there is nothing to do
		if err := w.Do(ctx, &storage.Append{Topic: create.Topic.ID, Records: make([]storage.Record, 1)}); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if n := w.Totals(); n.Commits != 2 || n.Syncs != 0 {
			t.Fatalf("%d commits, %d syncs", n.Commits, n.Syncs)
		}
	})
}
