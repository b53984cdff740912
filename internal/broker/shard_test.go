package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rushmore/zbus-go/internal/bubbles"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/internal/storage/storetest"
)

// shards is a broker on two files, "a" and "b". Each has the topics log and memory with
// the name of the file before theirs, as in "a-log", and the explicit group "g" of its log. So
// the numbers of all that are the same in the two files.
type shards struct {
	*rig
	paths []string
	disks []*storetest.Faulty
	board *condition.Board
}

var shardNames = []string{"a", "b"}

// onShards runs a test of a broker on two files.
func onShards(t *testing.T, test func(s *shards)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &shards{board: condition.New(slog.New(slog.DiscardHandler))}
		s.rig = &rig{T: t, opts: Options{DedupWindow: window, Conditions: s.board}}
		for _, name := range shardNames {
			s.path = filepath.Join(t.TempDir(), name+".db")
			s.paths = append(s.paths, s.path)
			s.open()
			s.topic(name+"-log", storage.KindLog, storage.Retention{})
			s.topic(name+"-memory", storage.KindMemory, storage.Retention{})
			s.group(GroupSpec{Topic: name + "-log", Name: "g", Settle: ptr(storage.SettleExplicit), MaxDeliver: ptr[int64](2)})
			s.close()
		}
		s.openAll()
		defer func() { s.works("close", s.closeAll()) }()
		test(s)
	})
}

func (s *shards) openAll() {
	s.Helper()
	var all []Storage
	s.disks = nil
	for _, path := range s.paths {
		file, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Durability: sqlite.Relaxed})
		if err != nil {
			s.Fatal(err)
		}
		store := storetest.NewFaulty(file, nil)
		s.disks = append(s.disks, store)
		all = append(all, Storage{store, storage.NewWriter(store, storage.WriterLimits{Upkeep: 2 * time.Second})})
	}
	var err error
	if s.b, err = Open(context.Background(), s.opts, all...); err != nil {
		s.Fatal(err)
	}
	s.broker = bubbles.Run(s.b.Run)
}

// closeAll stops the broker and returns what its run did.
func (s *shards) closeAll() error {
	err := s.broker.End()
	for _, store := range s.disks {
		if err := store.Close(); err != nil {
			s.Error(err)
		}
	}
	return err
}

// find finds a topic.
func (s *shards) find(name string) *Topic {
	s.Helper()
	t, err := s.b.findTopic(name)
	if err != nil {
		s.Fatal(err)
	}
	return t
}

// fails checks what an error is; nil is fine.
func (s *shards) fails(what string, err error, want Code) {
	s.Helper()
	if err == nil || CodeOf(err) != want {
		s.Errorf("%s: %v, want the code %d", what, err, want)
	}
}

func (s *shards) works(what string, err error) {
	s.Helper()
	if err != nil {
		s.Errorf("%s: %v", what, err)
	}
}

// Whatever is done to a topic is done in its own file, though numbers of topics, groups and
// entries are the same in the other one.
func TestTopicsOfTwoStoragesAreServedEachFromItsOwn(t *testing.T) {
	onShards(t, func(s *shards) {
		ctx := context.Background()
		entries := map[string]storage.JournalEntry{}
		for i, name := range shardNames {
			topic := s.find(name + "-log")
			g, err := topic.group("g")
			s.works("group", err)
			var ids []string
			for n := range 4 + i { // so that neither log is as long as the other
				ids = append(ids, fmt.Sprint("m", n))
			}
			messages := given(topic, ids...)
			for n := range messages {
				messages[n].Body = []byte(name)
			}
			for _, stored := range s.stores(messages, []int64{0, 1, 2, 3, 4}[:len(ids)]...) {
				at, err := topic.log.findID(ctx, stored.ID)
				if err != nil || at != stored.Offset {
					t.Errorf("%s of %s is at %d, %v; want %d", stored.ID, name, at, err, stored.Offset)
				}
			}
			s.stores(given(topic, "m1"), -2)

			c := s.subscribe(g, "c")
			b := c.take(2)[0]
			s.works("ack", g.ackNow(0, b.Handle(0)))
			s.works("nack", g.nackNow(1, b.Handle(1), 0))
			b = c.take(1)[0]
			s.works("nack", g.nackNow(1, b.Handle(0), 0)) // it dies of that
			time.Sleep(time.Second)
			synctest.Wait()
			letters := s.find(name + "-log" + deadSuffix)
			if letters.shard != topic.shard || letters.Next() != 1 || g.Cursor() != 2 {
				t.Errorf("%d letters of %s in shard %d, cursor %d", letters.Next(), name, letters.shard.index, g.Cursor())
			}
			c.sub.Close()

			move, err := g.relocate(ctx, Position{At: AtLatest}, "relocate", named("ann"), name)
			s.works("relocate", err)
			entries[name] = move.Entry
			_, _, err = s.b.transact(ctx, Transaction{Messages: given(topic, "t"), Moves: []GroupMove{{Group: g, Position: Position{At: AtEarliest}}}})
			s.works("transaction", err)
			if size, err := g.t.BytesFrom(ctx, g.Cursor()); err != nil || size <= 0 {
				t.Errorf("lag of %s: %d bytes, %v", name, size, err)
			}
			_, _, err = s.b.declareGroup(ctx, GroupSpec{Topic: topic.name, Name: "of " + name})
			s.fails("a bad name", err, Invalid)
			_, _, err = s.b.declareGroup(ctx, GroupSpec{Topic: topic.name, Name: "of-" + name})
			s.works("declare a group", err)
			s.works("audit", s.b.Note(ctx, named("ann"), "note", name, ""))
		}
		for name, want := range entries {
			g, e, err := s.b.entry(ctx, want.ID)
			if err != nil || g.Topic().name != name+"-log" || e.Reason != name || e.ID != want.ID {
				t.Errorf("entry %d of %s: %+v, %v", want.ID, name, e, err)
			}
			list, err := g.Journal(ctx, want.ID+1, 1)
			if err != nil || len(list) != 1 || list[0].ID != want.ID {
				t.Errorf("the journal of %s: %+v, %v", name, list, err)
			}
			_, done, err := s.b.revert(ctx, g, e, named("ann"), "")
			if err != nil || g.Cursor() != want.From.Cursor || done.ID <= want.ID {
				t.Errorf("reverted: cursor %d, %+v, %v", g.Cursor(), done, err)
			}
		}
		s.auditIsWhole()
		s.works("close", s.closeAll())
		s.eachFileHasItsOwn()
		s.openAll()
		for _, name := range shardNames { // nothing is in memory now
			m, err := s.find(name+"-log").Message(ctx, 3)
			if err != nil || string(m.Body) != name {
				t.Errorf("in %s is %+v, %v", name, m, err)
			}
		}
	})
}

// auditIsWhole reads the trail in pages of one entry, and at once.
func (s *shards) auditIsWhole() {
	s.Helper()
	whole, err := s.b.auditEntries(context.Background(), 0, 1000)
	s.works("audit", err)
	before, n := int64(0), 0
	for ; ; n++ {
		page, err := s.b.auditEntries(context.Background(), before, 1)
		if err != nil || len(page) == 0 {
			s.works("audit", err)
			break
		}
		if page[0] != whole[n] {
			s.Errorf("entry %d is %+v, want %+v", n, page[0], whole[n])
		}
		before = page[0].ID
	}
	targets := map[string]bool{}
	for _, e := range whole {
		targets[e.Target] = true
	}
	if n != len(whole) || !targets["a-log/g"] || !targets["b-log/g"] {
		s.Errorf("%d entries in pages, %d at once: %v", n, len(whole), targets)
	}
}

// eachFileHasItsOwn opens one file after the other alone.
func (s *shards) eachFileHasItsOwn() {
	s.Helper()
	for i, name := range shardNames {
		s.path = s.paths[i]
		s.open()
		var names []string
		for _, t := range s.b.allTopics() {
			names = append(names, t.name)
		}
		if want := []string{name + "-log", name + "-log" + deadSuffix, name + "-memory"}; !slices.Equal(names, want) {
			s.Errorf("file %s has the topics %q, want %q", name, names, want)
		}
		topic := s.find(name + "-log")
		if n := topic.Next(); n != int64(5+i) {
			s.Errorf("%s has %d messages", topic.name, n)
		}
		if _, err := topic.group("of-" + name); err != nil {
			s.Error(err)
		}
		s.close()
	}
}

// The messages of one read of a session are for any topics, and answered together.
func TestPublishingToTwoStoragesIsAnsweredOnce(t *testing.T) {
	onShards(t, func(s *shards) {
		release := s.disks[1].HoldSync()
		answers := 0
		p := s.b.NewPublishing(func() { answers++ })
		for range 2 { // it can be used again
			answers = 0
			for i := range 6 {
				topic := s.find(shardNames[i%2] + []string{"-log", "-memory"}[i/2%2])
				m := Message{Topic: topic, Record: storage.Record{ID: fmt.Sprint(i)}, Dedup: DedupAlways}
				if topic.Memory() {
					m.Dedup = NoDedup
				}
				p.Add(m)
			}
			_ = p.Publish(context.Background())
			synctest.Wait()
			if release != nil {
				if answers != 0 {
					t.Error("answered before both are synced")
				}
				close(release)
				release = nil
				synctest.Wait()
			}
			if answers != 1 {
				t.Fatalf("answered %d times", answers)
			}
			for i := range 6 {
				_, err := p.Result(i)
				s.works("publish", err)
			}
			p.Reset()
		}
		for _, name := range shardNames { // two ids each, and one message in memory twice
			if log, memory := s.find(name+"-log"), s.find(name+"-memory"); log.Next() != 2 || memory.Next()-memory.First() != 2 {
				t.Errorf("%s has %d messages and %d in memory", name, log.Next(), memory.Next()-memory.First())
			}
		}
	})
}

func TestOneCommitIsNotOfTwoStorages(t *testing.T) {
	onShards(t, func(s *shards) {
		ctx := context.Background()
		a, b := s.find("a-log"), s.find("b-log")
		_, err := s.b.System().Store(ctx, append(given(a, "1"), given(b, "2")...))
		s.fails("store", err, Invalid)
		g, _ := b.group("g")
		_, _, err = s.b.transact(ctx, Transaction{Messages: given(a, "1"), Moves: []GroupMove{{Group: g, Position: Position{At: AtLatest}}}})
		s.fails("transaction", err, Invalid)
		if a.Next() != 0 || b.Next() != 0 {
			t.Errorf("stored: %d and %d messages", a.Next(), b.Next())
		}
		s.stores(given(a, "1"), 0) // the id was not taken
	})
}

// asked are kinds of requests about the topics of a file.
func (s *shards) asked(name string) map[string]error {
	ctx := context.Background()
	log, memory := s.find(name+"-log"), s.find(name+"-memory")
	g, err := log.group("g")
	if err != nil {
		s.Fatal(err)
	}
	all := map[string]error{
		"publish":           s.publish(log, storage.Record{ID: "x"})[0].Err,
		"publish to memory": s.publish(memory, storage.Record{ID: "x"})[0].Err,
		"empty":             s.b.emptyTopic(ctx, memory.name, "", named("ann")),
		"retention":         log.trim(ctx, log.First()+1),
	}
	_, all["store"] = s.b.System().Store(ctx, given(log, "new"))
	_, all["read"] = log.shard.reader().Read(ctx, log.id, 0, storage.Page{Rows: 1}, nil)
	_, all["time"] = log.log.offsetAt(ctx, 1)
	_, all["journal"] = g.Journal(ctx, 0, 1)
	_, all["lag"] = g.t.BytesFrom(ctx, g.Cursor())
	_, all["relocate"] = g.relocate(ctx, Position{At: AtEarliest}, "relocate", named("ann"), "")
	_, _, all["alter"] = s.b.declareTopic(ctx, TopicSpec{Name: log.name, LegacyMask: ptr(log.Next())})
	_, _, all["declare group"] = s.b.declareGroup(ctx, GroupSpec{Topic: memory.name, Name: fmt.Sprint("n", log.Next())})
	_, _, all["transaction"] = s.b.transact(ctx, Transaction{Messages: given(log, fmt.Sprint("t", log.Next()))})
	c := &consumer{session: "c"}
	if c.sub, all["subscribe"] = g.Subscribe(c); all["subscribe"] == nil {
		all["storeDead"] = s.deadLetters(g, c)
		c.sub.Close()
	}
	return all
}

// deadLetters has a message die, and waits for its letter.
func (s *shards) deadLetters(g *Group, c *consumer) error {
	letters := func() int64 {
		t, err := s.b.findTopic(g.t.name + deadSuffix)
		if err != nil {
			return 0
		}
		return t.Next()
	}
	before := letters()
	for range 2 {
		batches := c.take(1)
		if len(batches) == 0 {
			return errors.New("nothing is delivered")
		}
		if err := g.nackNow(batches[0].Items[0].Record.Offset, batches[0].Handle(0), 0); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	if letters() != before+1 {
		return errors.New("there is no letter")
	}
	return nil
}

func TestFailedStorageLeavesTheTopicsOfOthers(t *testing.T) {
	for i, failed := range shardNames {
		onShards(t, func(s *shards) {
			other := shardNames[1-i]
			for _, name := range shardNames {
				s.mustPublish(s.find(name+"-log"), "x", "y", "z")
			}
			g, _ := s.find(failed + "-log").group("g")
			before := s.subscribe(g, "before")
			s.disks[i].FailNext(storetest.Fault{After: errCrash})
			s.fails("the commit that fails", s.publish(s.find(failed+"-log"), storage.Record{ID: "x"})[0].Err, Unknown)
			time.Sleep(2 * retentionInterval) // the background work of others runs
			synctest.Wait()
			for range 2 { // it stays so
				for what, err := range s.asked(failed) {
					s.fails(what+" of what failed", err, Unavailable)
				}
				for what, err := range s.asked(other) {
					s.works(what+" of the other", err)
				}
			}
			if got := before.take(1); len(got) > 0 {
				t.Errorf("a consumer gets %d batches of what failed", len(got))
			}
			if kinds := s.raised(); !slices.Equal(kinds, []string{storageKind}) {
				t.Errorf("the conditions are %q", kinds)
			}
			s.goesOn()
			s.disks[1-i].FailNext(storetest.Fault{After: errCrash})
			s.fails("the last one", s.publish(s.find(other+"-log"), storage.Record{ID: "x"})[0].Err, Unknown)
			<-s.b.Done()
			s.fails("the broker", s.b.Err(), Unavailable)
			if err := s.closeAll(); !errors.Is(err, errCrash) {
				t.Errorf("it ran and failed by %v", err)
			}
			s.openAll()
			s.works("after a new start", s.publish(s.find(failed+"-log"), storage.Record{ID: "x"})[0].Err)
		})
	}
}

// goesOn checks that the broker has not ended.
func (s *shards) goesOn() {
	s.Helper()
	select {
	case <-s.b.Done():
		s.Error("the broker has ended")
	default:
	}
	s.works("the broker", s.b.Err())
}

func (s *shards) raised() (kinds []string) {
	for _, c := range s.board.List() {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}
