package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

func TestDeadLetterSaysWhereItComesFrom(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		g := r.group(GroupSpec{Topic: "orders", Name: "ship", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](2)})
		r.publish(topic, storage.Record{ID: "x", Tag: "a.b", Headers: `{"k":"v"}`, Body: []byte("body")}, storage.Record{})
		c := r.subscribe(g, "c")
		for range 2 {
			b := c.take(1)[0]
			if err := g.nackNow(0, b.Handle(0), 0); err != nil {
				r.Fatal(err)
			}
		}
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil {
			r.Fatal(err)
		}
		letter, err := dead.Message(context.Background(), 0)
		if err != nil {
			r.Fatal(err)
		}
		var headers map[string]string
		if err := json.Unmarshal([]byte(letter.Headers), &headers); err != nil {
			r.Fatalf("headers %s: %v", letter.Headers, err)
		}
		for name, want := range map[string]string{
			"k": "v", "dead-topic": "orders", "dead-group": "ship", "dead-offset": "0", "dead-count": "2", "dead-cause": "test",
		} {
			if headers[name] != want {
				r.Errorf("header %s is %q, want %q", name, headers[name], want)
			}
		}
		if letter.ID != "x" || letter.Tag != "a.b" || string(letter.Body) != "body" {
			r.Errorf("the letter is %+v", letter)
		}
		if at := g.Info().Cursor; at != 1 {
			r.Errorf("cursor %d: the dead message is not settled", at)
		}
		if list, _ := offsets(c.take(1)); !slices.Equal(list, []int64{1}) {
			r.Errorf("then came %d, want 1", list)
		}
	})
}

func TestDeadLetterThatCannotBeStoredIsTriedLessAndLessOften(t *testing.T) {
	board := condition.New(slog.New(slog.DiscardHandler))
	inBubble(t, Options{Conditions: board}, func(r *rig) {
		r.topic("orders"+deadSuffix, storage.KindMemory, storage.Retention{}) // before the group has a limit
		g := r.explicitGroup(2, 0)
		g.mu.Lock()
		g.def.MaxDeliver = 1 // as an earlier version let it
		g.mu.Unlock()
		b := r.pull(g, 1)[0]
		if err := g.nackNow(0, b.Handle(0), 0); err != nil {
			r.Fatal(err)
		}
		c := r.subscribe(g, "c")
		var pauses []int64
		for range 12 {
			info := g.Info()
			if info.DeadLetters.Waiting != 1 || info.DeadLetters.Cause == "" || info.Returned != 0 {
				r.Fatalf("the letter can't be stored, and the group says %+v", info)
			}
			pauses = append(pauses, info.DeadLetters.Retry/1000)
			time.Sleep(time.Duration(info.DeadLetters.Retry+1) * time.Millisecond)
			synctest.Wait()
		}
		if want := []int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300}; !slices.Equal(pauses, want) {
			r.Errorf("tried again after %d s, want %d", pauses, want)
		}
		if n := g.Counts().Dead; n != 0 {
			r.Errorf("%d dead letters are counted, none is stored", n)
		}
		got := c.take(5)
		if list, _ := offsets(got); !slices.Equal(list, []int64{1}) {
			r.Fatalf("delivered %d, want only what is not dead", list)
		}
		if err := g.ackNow(1, got[0].Handle(0)); err != nil {
			r.Fatal(err)
		}
		if list := board.List(); len(list) != 1 || list[0].Kind != deadLetters || list[0].Subject != "orders/orders" || list[0].Severity != condition.Warning {
			r.Errorf("conditions: %+v", list)
		}
		if err := r.b.removeTopic(context.Background(), "orders"+deadSuffix, "", named("ann")); err != nil {
			r.Fatal(err)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if info := g.Info(); info.DeadLetters.Waiting != 0 || info.DeadLetters.Cause != "" || g.Counts().Dead != 1 || info.Cursor != 2 {
			r.Errorf("the cause is gone: %+v, %+v", info, g.Counts())
		}
		if list := board.List(); len(list) > 0 {
			r.Errorf("conditions after the cause is gone: %+v", list)
		}
	})
}

// A full disk may refuse the answer or the letter, and loses neither.
func TestDeadLetterIsStoredWhenThereIsRoomAgain(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(1, 1)
		dead := r.topic("orders"+deadSuffix, 0, storage.Retention{})
		b := r.pull(g, 1)[0]
		time.Sleep(time.Second)
		r.store.FailNext(storetest.Fault{Before: storage.ErrFull})
		g.Nack(0, b.Handle(0), Return{Cause: "test"}, func(error) {})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if info := g.Info(); info.Cursor != 1 || dead.Next() != 1 || g.Counts().Dead != 1 {
			r.Errorf("%d letters, %+v, the group is at %+v", dead.Next(), g.Counts(), info)
		}
	})
}

// A message and its letter change places in one commit.
func TestCrashLeavesAMessageOrItsLetter(t *testing.T) {
	for when, fault := range map[string]storetest.Fault{
		"before the commit": {Before: errCrash},
		"after the commit":  {After: errCrash},
	} {
		inBubble(t, Options{}, func(r *rig) {
			g := r.explicitGroup(2, 1)
			r.topic("orders"+deadSuffix, 0, storage.Retention{})
			r.pull(g, 1)
			time.Sleep(time.Second)
			r.store.FailNext(fault)
			time.Sleep(DefaultAckTimeout * time.Millisecond)
			synctest.Wait()
			if r.b.Err() == nil {
				r.Fatalf("%s: the commit of the letter went well", when)
			}
			r.crash()
			g = r.again()
			synctest.Wait()
			dead, err := r.b.findTopic("orders" + deadSuffix)
			if err != nil {
				r.Fatal(err)
			}
			if at := g.Info().Cursor; at != 1 || dead.Next() != 1 {
				r.Errorf("crash %s: %d letters, the group is at %d, want 1 and 1", when, dead.Next(), at)
			}
		})
	}
}

// A group with many dead messages takes turns with the others.
func TestGroupsBuryInTurn(t *testing.T) {
	const messages = 12 * letterRows
	inBubble(t, Options{}, func(r *rig) {
		topic := r.topic("orders", 0, storage.Retention{})
		r.topic("orders"+deadSuffix, 0, storage.Retention{})
		die := func(name string, n, timeout int64) {
			r.pull(r.group(GroupSpec{
				Topic: "orders", Name: name, Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](1), AckTimeout: &timeout, Start: Position{At: AtEarliest},
			}), n)
		}
		r.mustPublish(topic, make([]string, messages)...)
		die("many", messages, 1000)
		die("one", 1, 2000)
		release := r.store.HoldSync()
		time.Sleep(3 * time.Second) // the first letters of many are held, and one waits
		close(release)
		time.Sleep(time.Minute)
		dead, err := r.b.findTopic("orders" + deadSuffix)
		if err != nil || dead.Next() != messages+1 {
			r.Fatalf("%d letters, %v", dead.Next(), err)
		}
		for offset := range dead.Next() {
			if rec, err := dead.Message(t.Context(), offset); err != nil || strings.Contains(rec.Headers, `"dead-group":"one"`) {
				if err != nil || offset > 3*letterRows {
					r.Errorf("the letter of the other group is number %d, %v", offset, err)
				}
				return
			}
		}
		r.Error("the other group has no letter")
	})
}

// An ack goes with the next commit of letters of its group, or between two.
func TestAckDoesNotWaitUntilAllLettersAreStored(t *testing.T) {
	const batches = 12
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(batches*letterRows+1, 1)
		r.topic("orders"+deadSuffix, 0, storage.Retention{})
		for range batches {
			r.pull(g, letterRows)
		}
		time.Sleep(time.Second)
		acked := r.pull(g, 1)[0]
		release := r.store.HoldSync()
		time.Sleep((DefaultAckTimeout - 500) * time.Millisecond)
		before := r.b.Writer().Commits // the first letters are being committed
		var after int64
		g.Ack(batches*letterRows, acked.Handle(0), func(err error) {
			if after = int64(r.b.Writer().Commits); err != nil {
				r.Error(err)
			}
		})
		for range 5000 { // it has come as far as it can
			runtime.Gosched()
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Second)
		if n := after - int64(before); after == 0 || n > 4 { // others may be committed before it is told
			r.Errorf("the ack was answered after %d commits", n)
		}
		if at := g.Info().Cursor; at != batches*letterRows+1 || g.Counts().Dead != batches*letterRows {
			r.Errorf("the group is at %d, %+v", at, g.Counts())
		}
	})
}

func TestRaisedLimitGivesDeadMessagesBack(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.topic("orders"+deadSuffix, storage.KindMemory, storage.Retention{})
		g := r.explicitGroup(1, 0)
		g.mu.Lock()
		g.def.MaxDeliver = 1
		g.mu.Unlock()
		b := r.pull(g, 1)[0]
		if err := g.nackNow(0, b.Handle(0), 0); err != nil {
			r.Fatal(err)
		}
		r.group(GroupSpec{Topic: "orders", MaxDeliver: ptr[int64](0)})
		if list, counts := offsets(r.pull(g, 1)); !slices.Equal(list, []int64{0}) || counts[0] != 2 {
			r.Errorf("delivered %d with counts %d, want offset 0 for the second time", list, counts)
		}
	})
}

func TestLimitOfDeliveriesNeedsATopicForDeadLetters(t *testing.T) {
	long := strings.Repeat("n", 196)
	for _, c := range []struct {
		topic string
		kind  int // of its dead-letter topic; -1: there is none
		want  Code
	}{
		{"orders", -1, 0},
		{"orders", 0, 0},
		{"orders", int(storage.KindMemory), Conflict},
		{"orders", int(storage.KindRPC), Conflict},
		{long[1:], -1, 0},
		{long, -1, Invalid},
		{"orders.", -1, Invalid},
	} {
		inBubble(t, Options{}, func(r *rig) {
			r.topic(c.topic, 0, storage.Retention{})
			if c.kind >= 0 {
				r.topic(c.topic+deadSuffix, storage.Kind(c.kind), storage.Retention{})
			}
			declare := func(name string, settle storage.Settle, most int64) error {
				_, _, err := r.b.declareGroup(context.Background(), GroupSpec{Topic: c.topic, Name: name, Settle: &settle, MaxDeliver: &most})
				return err
			}
			check := func(err error) {
				r.Helper()
				if (err == nil) != (c.want == 0) || err != nil && CodeOf(err) != c.want {
					r.Errorf("topic %.20q, dead letters %d: %v, want code %d", c.topic, c.kind, err, c.want)
				}
			}
			check(declare("new", storage.SettleExplicit, 3))
			if err := declare("old", storage.SettleExplicit, 0); err != nil {
				r.Fatal(err)
			}
			check(declare("old", storage.SettleExplicit, 3))
			if err := declare("auto", storage.SettleAuto, 3); err != nil { // never comes to it
				r.Fatal(err)
			}
			check(declare("auto", storage.SettleExplicit, 3))
		})
	}
}

func TestTopicThatTakesDeadLettersKeepsThemOnDisk(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		r.explicitGroup(0, 3)
		for kind, want := range map[storage.Kind]bool{storage.KindLog: true, storage.KindMemory: false, storage.KindRPC: false, storage.KindProxy: false} {
			_, _, err := r.b.declareTopic(context.Background(), TopicSpec{Name: "Orders" + deadSuffix, Kind: kind})
			if (err == nil) != want || err != nil && CodeOf(err) != Conflict {
				r.Errorf("%s: %v", kind, err)
			}
			if err == nil {
				err = r.b.removeTopic(context.Background(), "orders"+deadSuffix, "", named("ann"))
			}
			if want && err != nil {
				r.Fatal(err)
			}
		}
	})
}

// A letter can die, too. It says where it died last.
func TestDeadLetterOfADeadLetter(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(0, 1)
		r.publish(g.t, storage.Record{ID: "x", Headers: `{"sender":"s","k":"v"}`, Body: []byte("body")})
		die := func(g *Group) {
			b := r.pull(g, 1)[0]
			if err := g.nackNow(0, b.Handle(0), 0); err != nil {
				r.Fatal(err)
			}
		}
		die(g)
		second := r.group(GroupSpec{Topic: "orders.dead", Name: "again", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](1), Start: Position{At: AtEarliest}})
		die(second)
		last, err := r.b.findTopic("orders.dead.dead")
		if err != nil {
			r.Fatal(err)
		}
		letter, err := last.Message(context.Background(), 0)
		if err != nil {
			r.Fatal(err)
		}
		var headers map[string]string
		if err := json.Unmarshal([]byte(letter.Headers), &headers); err != nil {
			r.Fatal(err)
		}
		want := map[string]string{
			"sender": "s", "k": "v", "dead-topic": "orders.dead", "dead-group": "again", "dead-offset": "0", "dead-count": "1", "dead-cause": "test",
		}
		if !maps.Equal(headers, want) || strings.Count(letter.Headers, "dead-topic") != 1 || !strings.HasPrefix(letter.Headers, nativeHeaders) {
			r.Errorf("headers %s, want %v", letter.Headers, want)
		}
	})
}

// Acks do not wait for letters.
func TestManyDeadLettersShareCommits(t *testing.T) {
	inBubble(t, Options{}, func(r *rig) {
		g := r.explicitGroup(600, 1)
		r.pull(g, 600)
		before := r.b.Writer().Commits
		time.Sleep(DefaultAckTimeout*time.Millisecond + time.Second)
		synctest.Wait()
		if n := g.Counts().Dead; n != 600 || g.Info().Cursor != 600 {
			r.Errorf("%d dead letters: %+v", n, g.Info())
		}
		if n := r.b.Writer().Commits - before; n > 60 {
			r.Errorf("%d commits for 600 dead letters", n)
		}
	})
}
