package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// waiter is a broker that waits for a database.
type waiter struct {
	told chan Node
	done chan error
	s    *Store // once done has an error of nil
	stop func()
}

func waitFor(t *testing.T, o Options) *waiter {
	w := &waiter{told: make(chan Node, 100), done: make(chan error, 1)}
	o.Waiting = func(n Node) { w.told <- n }
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s, err := Open(ctx, o)
		w.s = s
		w.done <- err
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if w.s != nil {
			_ = w.s.Close()
		}
	})
	return w
}

// beating has a store say that it is there until stopped.
func beating(t *testing.T, s *Store) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
				if err := s.Maintain(); err != nil {
					t.Errorf("the broker that has the database: %v", err)
					return
				}
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func TestBrokerWaitsUntilTheOtherOneStops(t *testing.T) {
	c := pgtest.Start(t)
	url := c.Database(t)
	a := mustOpen(t, Options{URL: url, Node: "a", Address: "host-a:1", beat: time.Millisecond})
	stop := beating(t, a)
	b := waitFor(t, Options{URL: url, Node: "b", Address: "host-b:2", lease: time.Minute, beat: 50 * time.Millisecond})
	if n := <-b.told; n != (Node{Name: "a", Address: "host-a:1"}) {
		t.Errorf("waits for %+v", n)
	}
	until(t, "the one that waits is seen", func() bool {
		st, err := a.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return len(st.Nodes) == 2 && st.Nodes[0].Name == "a" && st.Nodes[1] == Node{Name: "b", Address: "host-b:2", Waiting: true}
	})
	// One of the same name is refused as long as the first one lives, although it may wait.
	again := waitFor(t, Options{URL: url, Node: "a", lease: time.Minute})
	if err := <-again.done; !errors.Is(err, storage.ErrInUse) || !strings.Contains(err.Error(), `"a"`) {
		t.Fatalf("a second broker of the same name: %v", err)
	}
	// One that stops to wait is gone.
	e := waitFor(t, Options{URL: url, Node: "e", lease: time.Minute, beat: time.Millisecond})
	<-e.told
	e.stop()
	if err := <-e.done; !errors.Is(err, context.Canceled) {
		t.Fatalf("one that stops: %v", err)
	}
	stop()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-b.done; err != nil {
		t.Fatal(err)
	}
	// What the one that stopped had sent last may be done behind its back.
	var st Status
	until(t, "only the broker that has the database is left", func() (done bool) {
		var err error
		if st, err = b.s.Status(context.Background()); err != nil {
			t.Fatal(err)
		}
		return len(st.Nodes) == 1 && st.Nodes[0].Name == "b" && st.Primary != ""
	})
	if got := st.Takeovers; len(got) != 2 || got[0].Node != "b" || got[0].Previous != "a" || got[0].Reason != "stopped" || got[1].Reason != "first" || got[1].Node != "a" {
		t.Errorf("takeovers: %+v", got)
	}
}

func TestBrokerThatWaitsTakesThePlaceOfOneThatIsSilent(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{})
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	b := waitFor(t, Options{URL: r.url, Node: "b", lease: 2 * time.Second})
	if err := <-b.done; err != nil {
		t.Fatal(err)
	}
	if st, err := b.s.Status(context.Background()); err != nil || st.Takeovers[0].Reason != "silent" || st.Takeovers[0].Previous != "a" {
		t.Fatalf("takeovers: %+v, %v", st.Takeovers, err)
	}
	if err := r.append("b"); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("commit of the one that was silent: %v", err)
	}
	_ = b.s.Close()
	r.has("a")
}

// One that waits has seen what the database had, so it notices when that is gone.
func TestBrokerThatWaitsNoticesThatTheDatabaseHasGoneBack(t *testing.T) {
	c := pgtest.Start(t)
	for name, change := range map[string]string{
		"transactions": "UPDATE brokers SET seq = seq - 1",
		"generation":   "UPDATE identity SET generation = generation - 1",
	} {
		r := newRig(t, c, Options{})
		b := waitFor(t, Options{URL: r.url, Node: "b", lease: time.Minute})
		<-b.told
		r.beside.must(t, change)
		if err := <-b.done; !errors.Is(err, errLost) || !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// After an outage of the database every row is old. That is no reason to take the place of a broker that lives.
func TestOutageOfTheDatabaseIsNoSilenceOfItsBroker(t *testing.T) {
	const lease = time.Minute
	h := func(seen string) []holder { return []holder{{name: "a", holder: "1", seen: seen}} }
	w := &watch{most: lease}
	if w.note(h("1"), lease) != nil || w.most != lease {
		t.Fatal("the first look shows nothing")
	}
	w.since, w.last = w.since.Add(-lease), w.last.Add(-lease)
	if w.note(h("1"), lease) != nil || time.Since(w.since) > lease/2 || w.most != afterOutage*lease {
		t.Errorf("after an outage: %+v", w)
	}
	if alive := w.note(h("2"), lease); alive == nil || w.most != lease {
		t.Errorf("after a sign of life: %+v", w)
	}
}

// The tables are changed by the one that has the lease, while nobody else uses them.
func TestSchemaIsChangedWithTheLeaseInHand(t *testing.T) {
	c := pgtest.Start(t)
	r := newRig(t, c, Options{beat: time.Millisecond})
	for _, sql := range []string{
		"DROP TABLE waiting", "DROP TABLE takeovers", "ALTER TABLE brokers DROP COLUMN address", "DELETE FROM goose_db_version WHERE version_id = 2",
	} {
		r.beside.must(t, sql)
	}
	version := func() string { return r.beside.must(t, "SELECT max(version_id) FROM goose_db_version")[0][0] }
	stop := beating(t, r.Store)
	b := waitFor(t, Options{URL: r.url, Node: "b", lease: time.Minute})
	<-b.told
	if _, err := Open(context.Background(), Options{URL: r.url, Node: "c", lease: time.Minute}); !errors.Is(err, storage.ErrInUse) {
		t.Fatalf("a second broker: %v", err)
	}
	if v := version(); v != "1" {
		t.Fatalf("the schema is at %s while a broker uses it", v)
	}
	stop()
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	if err := r.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-b.done; err != nil {
		t.Fatal(err)
	}
	if v := version(); v != "2" {
		t.Errorf("the schema is at %s", v)
	}
	_ = b.s.Close()
	r.has("a")
}
