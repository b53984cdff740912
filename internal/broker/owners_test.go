package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// accounts gives all accounts the same limits.
type accounts struct {
	epoch  atomic.Uint64
	limits atomic.Pointer[access.Limits]
	asked  atomic.Int64

	refused atomic.Int64 // times that it was told of
}

func (l *accounts) set(limits access.Limits) {
	l.limits.Store(&limits)
	l.epoch.Add(1)
}

func (l *accounts) LimitsEpoch() uint64 { return l.epoch.Load() }

func (l *accounts) LimitsFor(string) access.Limits {
	l.asked.Add(1)
	return *l.limits.Load()
}

func (l *accounts) LimitRefused(string) { l.refused.Add(1) }

// owners is a ledger for a rig.
func (r *rig) owners(limits access.Limits) *accounts {
	l := &accounts{}
	l.set(limits)
	r.b.Bill(l)
	return l
}

// ownedTopic declares one that ann owns.
func (r *rig) ownedTopic(name string, kind storage.Kind, retention storage.Retention) *Topic {
	r.Helper()
	t, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: name, Kind: kind, Retention: LimitsOf(retention), account: "ann"})
	if err != nil {
		r.Fatal(err)
	}
	return t
}

// owns checks how much ann owns.
func (r *rig) owns(topics, stored int64) {
	r.Helper()
	if n, size := r.b.Owned("ann"); n != topics || size != stored {
		r.Errorf("ann owns %d topics with %d bytes, want %d with %d", n, size, topics, stored)
	}
}

func limited(err error) bool { return errors.As(err, new(*access.Limited)) }

func body(n int) storage.Record { return storage.Record{Body: make([]byte, n)} }

func TestPublishOverWhatItsTopicsOwnerMayStoreIsRefused(t *testing.T) {
	inBubble(t, Options{DedupWindow: time.Minute}, func(r *rig) {
		r.owners(access.Limits{Stored: 1000})
		a, b := r.ownedTopic("a", storage.KindLog, storage.Retention{}), r.ownedTopic("b", storage.KindLog, storage.Retention{MaxCount: 1})
		memory := r.ownedTopic("memory", storage.KindMemory, storage.Retention{})
		other := r.topic("other", storage.KindLog, storage.Retention{})
		got := r.publish(a, body(400), body(400), body(300), body(200))
		for i, want := range []bool{false, false, true, false} {
			if limited(got[i].Err) != want {
				r.Errorf("message %d: %v", i, got[i].Err)
			}
		}
		r.owns(3, 1000)
		text := fmt.Sprint(got[2].Err)
		for _, part := range []string{"account ann", "Topic(a)", "800 of at most 1000 bytes", "300 more", "stored", "retention"} {
			if !strings.Contains(text, part) {
				r.Errorf("%q does not say %q", text, part)
			}
		}
		v := r.b.System()
		one := []Message{{Topic: b, Record: body(1)}}
		if _, err := v.Store(context.Background(), one); !limited(err) || CodeOf(err) != Quota || access.RetryAfter(err) <= 0 {
			r.Errorf("Store: %v", err)
		}
		if _, _, err := v.Transact(context.Background(), Transaction{Messages: []Message{{Topic: other, Record: body(1)}, one[0]}}); !limited(err) {
			r.Errorf("a transaction: %v", err)
		}
		v.StoreThen(context.Background(), one, func(_ []Stored, err error) {
			if !limited(err) {
				r.Errorf("StoreThen: %v", err)
			}
		})
		answered := make(chan struct{})
		p := r.b.NewPublishing(func() { close(answered) })
		p.Add(Message{Topic: b, Record: storage.Record{ID: "x", Body: []byte("x")}, Dedup: DedupAlways})
		p.Add(Message{Topic: b, Record: storage.Record{ID: strings.Repeat("x", MaxMessageID+1)}})
		if err := p.Publish(context.Background()); !limited(err) {
			r.Errorf("publishing says %v", err)
		}
		<-answered
		if _, err := p.Result(0); !limited(err) {
			r.Errorf("a message that is stored once: %v", err)
		}
		for _, free := range []*Topic{memory, other} { // these count for nobody
			if got := r.publish(free, body(5000)); got[0].Err != nil {
				r.Errorf("%s: %v", free.Name(), got[0].Err)
			}
		}
		if n := other.Next(); n != 1 {
			r.Errorf("%d messages are in the topic of nobody: a transaction that was refused left some", n)
		}
		r.owns(3, 1000)
	})
}

// Room that is kept for some messages of a batch is not given back by others, of which nothing
// has to be kept or which are refused.
func TestNoBatchPassesWhatTheOwnerMayStore(t *testing.T) {
	const large = 400
	for name, batch := range map[string][]struct {
		size  int
		dedup Dedup
	}{
		"refused in between": {{large, DedupAlways}, {700, DedupAlways}, {900, DedupAlways}, {large, DedupAlways}, {large, DedupAlways}},
		"with ids and without": {
			{large, NoDedup}, {1, DedupAlways}, {large, NoDedup}, {1, DedupAlways}, {large, NoDedup}, {1, DedupAlways}, {large, NoDedup},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{DedupWindow: time.Minute}, func(r *rig) {
				r.owners(access.Limits{Stored: 1000})
				a := r.ownedTopic("a", storage.KindLog, storage.Retention{})
				done := make(chan struct{})
				p := r.b.NewPublishing(func() { close(done) })
				for i, m := range batch {
					rec := body(m.size)
					rec.ID = fmt.Sprint(i)
					p.Add(Message{Topic: a, Record: rec, Dedup: m.dedup})
				}
				if err := p.Publish(context.Background()); !limited(err) {
					r.Errorf("publishing says %v", err)
				}
				<-done
				stored := 0
				for i := range batch {
					if _, err := p.Result(i); err == nil && batch[i].size == large {
						stored++
					} else if err != nil && !limited(err) {
						r.Errorf("message %d: %v", i, err)
					}
				}
				if _, bytes := r.b.Owned("ann"); stored != 2 || bytes > 1000 {
					r.Errorf("%d of %d bytes were stored, %d bytes in all, of at most 1000", stored, large, bytes)
				}
				p.Reset()
			})
		})
	}
}

// What makes room again is never refused, and publishing resumes at once or within seconds.
func TestRoomForAnOwnersMessagesComesBack(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		l := r.owners(access.Limits{Stored: 1000})
		a := r.ownedTopic("a", storage.KindLog, storage.Retention{MaxAge: 60_000})
		full := func() bool { return limited(r.publish(a, body(600))[0].Err) }
		if full() || !full() {
			r.Fatal("600 of 1000 bytes twice")
		}
		time.Sleep(63 * time.Second) // of retention by age
		synctest.Wait()
		r.owns(1, 0)
		if full() || !full() {
			r.Error("retention has not made room")
		}
		if err := r.b.emptyTopic(context.Background(), "a", "", itself()); err != nil || full() || !full() {
			r.Errorf("emptying has not made room: %v", err)
		}
		l.set(access.Limits{Stored: 1200})
		if full() || !full() {
			r.Error("a higher limit does not hold at once")
		}
		l.set(access.Limits{Stored: 1})
		if !full() {
			r.Error("a lower limit does not hold at once")
		}
		l.set(access.Limits{})
		if full() {
			r.Error("without a limit it is refused")
		}
		l.set(access.Limits{Stored: 600})
		b := r.ownedTopic("b", storage.KindLog, storage.Retention{})
		if err := r.b.removeTopic(context.Background(), "a", "", itself()); err != nil {
			r.Error(err)
		}
		if got := r.publish(b, body(600)); got[0].Err != nil {
			r.Errorf("after its other topic was removed: %v", got[0].Err)
		}
		r.owns(1, 600)
		if err := r.b.removeTopic(context.Background(), "b", "", itself()); err != nil {
			r.Error(err)
		}
		r.owns(0, 0)
		if len(r.b.owners) != 0 {
			r.Errorf("owners of nothing are kept: %d", len(r.b.owners))
		}
	})
}

func TestMessagesThatComeTogetherDoNotPassALimitTogether(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.owners(access.Limits{Stored: 100_000})
		topics := []*Topic{r.ownedTopic("a", storage.KindLog, storage.Retention{}), r.ownedTopic("b", storage.KindLog, storage.Retention{})}
		var stored atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 50 {
					if _, err := r.b.System().Store(context.Background(), []Message{{Topic: topics[i%2], Record: body(1000)}}); err == nil {
						stored.Add(1)
					} else if !limited(err) {
						r.Errorf("%v", err)
					}
				}
			})
		}
		all.Wait()
		if stored.Load() > 100 {
			r.Errorf("%d of at most 100 messages were stored", stored.Load())
		}
		ids := int64(0)
		for _, topic := range topics {
			ids += topic.Definition().Bytes
		}
		r.owns(2, ids)
		if o := r.b.owners["ann"]; o.coming.Load() != 0 {
			r.Errorf("%d bytes are still on their way", o.coming.Load())
		}
	})
}

// A letter has nowhere else to go, so it is stored; what it takes counts, so that publishing is refused.
func TestDeadLettersAreStoredOverTheLimitsOfTheOwnerAndCount(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.owners(access.Limits{Stored: 1000, Topics: 1})
		orders := r.ownedTopic("orders", storage.KindLog, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Name: "ship", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](1)})
		r.publish(orders, body(1000))
		b := r.pull(g, 1)[0]
		if err := g.nackNow(0, b.Handle(0), 0); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil || dead.Next() != 1 || dead.Definition().Owner != "ann" {
			r.Fatalf("the letter is not stored, or counts for nobody: %v", err)
		}
		r.owns(2, 1000+dead.Definition().Bytes)
		if err := r.b.emptyTopic(context.Background(), "orders", "", itself()); err != nil {
			r.Fatal(err)
		}
		if got := r.publish(orders, body(1)); !limited(got[0].Err) {
			r.Errorf("with letters of more than the limit: %v", got[0].Err)
		}
	})
}

func TestAccountOwnsNoMoreTopicsThanItMay(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.owners(access.Limits{Topics: 2})
		r.ownedTopic("a", storage.KindLog, storage.Retention{})
		r.ownedTopic("b", storage.KindMemory, storage.Retention{})
		declare := func(name, account string) error {
			_, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: name, account: account})
			return err
		}
		if err := declare("c", "ann"); !limited(err) || !strings.Contains(err.Error(), "account ann owns 2 topics, and may own 2") {
			r.Errorf("a third: %v", err)
		}
		for _, err := range []error{declare("a", "ann"), declare("c", ""), declare("d", "bob")} {
			if err != nil {
				r.Error(err)
			}
		}
		if _, err := r.b.findTopic("c"); err != nil {
			r.Error("that of nobody is not there")
		}
		// An administrator may give it more; then it has more.
		give := func(name, owner string) {
			if _, _, err := r.b.System().DeclareTopic(context.Background(), TopicSpec{Name: name, Owner: &owner}); err != nil {
				r.Error(err)
			}
		}
		r.publish(mustFind(r, "c"), body(10))
		give("c", "ann")
		r.owns(3, 10)
		r.close()
		r.open()
		r.owners(access.Limits{Topics: 2})
		r.owns(3, 10)
		give("c", "")
		give("b", "bob")
		r.owns(1, 0)
		if err := declare("e", "ann"); err != nil {
			r.Error(err)
		}
		r.owns(2, 0)
	})
}

func mustFind(r *rig, name string) *Topic {
	t, err := r.b.findTopic(name)
	if err != nil {
		r.Fatal(err)
	}
	return t
}

func TestOnlyAdministratorsSayWhoOwnsATopic(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("orders", storage.KindLog, storage.Retention{})
		owner := "ann"
		for _, name := range []string{"orders", "new"} {
			_, _, err := r.b.As(manager{}, access.Manage).DeclareTopic(context.Background(), TopicSpec{Name: name, Owner: &owner})
			if CodeOf(err) != Forbidden {
				r.Errorf("%s: %v", name, err)
			}
		}
		r.owns(0, 0)
	})
}

// manager may do everything but administer.
type manager struct{ system }

func (manager) Check(v access.Verb, _, _ string) error {
	if v == access.Admin {
		return &access.Denied{Account: "manager", Missing: "admin"}
	}
	return nil
}

// The limits of an account are asked for when they have changed, not with each message.
func TestLimitsOfOwnersAreNotAskedForWithEachMessage(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		l := r.owners(access.Limits{Stored: 1 << 20})
		a := r.ownedTopic("a", storage.KindLog, storage.Retention{})
		for range 10 {
			r.publish(a, body(1), body(1), body(1))
		}
		if n := l.asked.Load(); n != 1 {
			r.Errorf("they were asked for %d times", n)
		}
	})
}
