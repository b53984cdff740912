package storetest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Compare drives a kind of store and a [Memory] with the same random batches of
// ops, and compares everything that can be read after each of them. Each of places
// is as for [Run]; for each sequence one of them is called. There are so many sequences
// unless -rapid.checks says how many.
func Compare(t *testing.T, checks int, places map[string]func(t *testing.T) Place) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(checks)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(r *rapid.T) {
		open := places[rapid.SampledFrom(slices.Sorted(maps.Keys(places))).Draw(r, "place")](t)
		store, memory := open(), NewMemory()
		defer func() {
			if err := store.Close(); err != nil {
				r.Fatalf("close: %v", err)
			}
		}()
		for range rapid.IntRange(1, 15).Draw(r, "steps") {
			if rapid.IntRange(0, 9).Draw(r, "reopen") == 0 {
				if err := store.Close(); err != nil {
					r.Fatalf("close: %v", err)
				}
				store = open()
			}
			seed := drawOps(r)
			compareCommit(r, store, memory, seed)
			compareDumps(r, store, memory)
			compareReads(r, store, memory)
		}
	})
}

func compareCommit(r *rapid.T, store storage.Store, memory *Memory, make func() []storage.Op) {
	a, b := make(), make() // of its own for each store: they fill in the ops
	want, _ := memory.Commit(a)
	got, err := store.Commit(b)
	if err != nil {
		r.Fatalf("commit: %v", err)
	}
	if err := settle(store); err != nil {
		r.Fatalf("after a commit: %v", err)
	}
	for i := range a {
		if !errors.Is(kind(got[i]), kind(want[i])) {
			r.Fatalf("op %d %T %+v: error %v, want %v", i, a[i], a[i], got[i], want[i])
		}
		if want[i] == nil && !reflect.DeepEqual(a[i], b[i]) {
			r.Fatalf("op %d came back as %+v, want %+v", i, b[i], a[i])
		}
	}
}

// kind is the storage error that err wraps.
func kind(err error) error {
	for _, k := range []error{storage.ErrNotFound, storage.ErrExists, storage.ErrConflict, storage.ErrInvalid} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

func compareDumps(r *rapid.T, store storage.Store, memory *Memory) {
	want, _ := dumpOf(memory)
	got, err := dumpOf(store)
	if err != nil {
		r.Fatalf("dump: %v", err)
	}
	if !reflect.DeepEqual(want, got) {
		r.Fatalf("the store holds\n%+v\nwant\n%+v", got, want)
	}
}

// compareReads compares what can be asked about messages.
func compareReads(r *rapid.T, store storage.Store, memory *Memory) {
	ctx := context.Background()
	state, _ := memory.Load(ctx)
	for _, t := range state.Topics {
		for i := range 2 {
			at := t.First - 1 + rapid.Int64Range(0, t.Next+2-t.First).Draw(r, "at")
			page := []storage.Page{{Rows: 1}, {Rows: 20, Bytes: 60, Brief: true}}[i]
			want, _ := memory.Read(ctx, t.ID, at, page, nil)
			got, err := store.Read(ctx, t.ID, at, page, nil)
			if err != nil || !sameRecords(got, want) {
				r.Fatalf("%+v of topic %d from %d: %+v, %v; want %+v", page, t.ID, at, got, err, want)
			}
			for what, f := range map[string]func(s storage.Store) (int64, error){
				"bytes from": func(s storage.Store) (int64, error) { return s.BytesFrom(ctx, t.ID, at) },
				"offset at":  func(s storage.Store) (int64, error) { return s.OffsetAt(ctx, t.ID, 1000+at) },
				"find id":    func(s storage.Store) (int64, error) { return s.FindID(ctx, t.ID, fmt.Sprint("id-", at)) },
			} {
				want, wantErr := f(memory)
				got, err := f(store)
				if !errors.Is(kind(err), kind(wantErr)) || err == nil && got != want {
					r.Fatalf("topic %d, %s %d: %d, %v; want %d, %v", t.ID, what, at, got, err, want, wantErr)
				}
			}
		}
	}
}

func sameRecords(a, b []storage.Record) bool {
	return slices.EqualFunc(a, b, func(a, b storage.Record) bool {
		return a.Offset == b.Offset && a.Time == b.Time && a.ID == b.ID && a.Omitted == b.Omitted && bytes.Equal(a.Body, b.Body)
	})
}

// drawOps draws a batch and returns how to make it.
func drawOps(r *rapid.T) func() []storage.Op {
	makers := rapid.SliceOfN(rapid.Custom(drawOp), 1, 8).Draw(r, "ops")
	return func() []storage.Op {
		ops := make([]storage.Op, len(makers))
		for i, m := range makers {
			ops[i] = m.make()
		}
		return ops
	}
}

// maker makes the same op each time. rapid prints its name.
type maker struct {
	name string
	make func() storage.Op
}

func (m maker) String() string { return m.name }

func drawOp(r *rapid.T) maker {
	if rapid.IntRange(0, 7).Draw(r, "atomic") > 0 {
		return drawSimple(r)
	}
	members := rapid.SliceOfN(rapid.Custom(drawSimple), 1, 5).Draw(r, "members")
	return maker{fmt.Sprintf("atomic %v", members), func() storage.Op {
		a := &storage.Atomic{}
		for _, m := range members {
			a.Ops = append(a.Ops, m.make())
		}
		return a
	}}
}

// appendToAll appends a few messages to each of the first topics. It fails unless
// they are all there.
func appendToAll(n int) storage.Op {
	a := &storage.Atomic{}
	for topic := range storage.TopicID(3) {
		a.Ops = append(a.Ops, &storage.Append{Topic: topic + 1, Records: records(n)})
	}
	return a
}

// drawSimple draws an op from small ranges, so that ops meet.
func drawSimple(r *rapid.T) maker {
	n := func(label string, hi int) int64 { return int64(rapid.IntRange(0, hi).Draw(r, label)) }
	topic, group := storage.TopicID(n("topic", 4)), storage.GroupID(n("group", 5))
	a, b, c := n("a", 12), n("b", 12), n("c", 90)
	name := rapid.SampledFrom([]string{"a", "A", "b", "c", "C"}).Draw(r, "name")
	makers := []func() storage.Op{
		func() storage.Op { return &storage.Append{Topic: topic, Records: records(int(c))} },
		func() storage.Op { return &storage.Append{Topic: topic, Records: records(int(a))} },
		func() storage.Op { return appendToAll(int(a%4) + 1) },
		func() storage.Op { return appendToAll(int(b%2) + 1) },
		func() storage.Op { return &storage.CreateTopic{Topic: &storage.Topic{Name: name, First: a, Next: a}} },
		func() storage.Op { return &storage.CreateTopic{Topic: &storage.Topic{Name: name, Created: b}} },
		func() storage.Op {
			return &storage.AlterTopic{Topic: topic, Replies: b%2 == 0, LegacyMask: a, Paused: a%2 == 0, Updated: b}
		},
		func() storage.Op { return &storage.RemoveTopic{Topic: topic} },
		func() storage.Op { return &storage.Trim{Topic: topic, First: c, Bytes: a} },
		func() storage.Op { return &storage.Purge{Limit: int(c)} },
		func() storage.Op { return &storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: name}} },
		func() storage.Op {
			return &storage.AlterGroup{Group: &storage.Group{ID: group, Filter: name, Settle: storage.Settle(a % 2), Exclusive: b%2 == 0, Paused: b%3 == 0, Ephemeral: c%2 == 0, Version: a}}
		},
		func() storage.Op { return &storage.RemoveGroup{Group: group} },
		func() storage.Op {
			return &storage.SaveProgress{
				Group: group, Epoch: a % 3, Position: storage.Progress{Cursor: b, Read: b + 6, Settled: storage.Ranges{{Lo: b + 1, Hi: b + 3}}},
				Park: []storage.Parked{{Offset: b, Count: 1, Cause: name}}, Unpark: []int64{a},
			}
		},
		func() storage.Op {
			return &storage.Relocate{Group: group, Epoch: a % 3, Position: storage.At(b), Entry: &storage.JournalEntry{Group: group, Time: c, To: b}}
		},
		func() storage.Op {
			place := storage.Progress{Cursor: b, Read: b + 6, Settled: storage.Ranges{{Lo: b + 2, Hi: b + 4}}}
			return &storage.Relocate{Group: group, Epoch: a % 3, Position: place}
		},
		func() storage.Op { return &storage.Audit{Entry: &storage.AuditEntry{Time: a, Action: name}} },
		func() storage.Op {
			return &storage.PutDocument{Document: storage.Document{Kind: "k", Name: name, Value: strings.Repeat("v", int(a%3))}}
		},
		func() storage.Op {
			return &storage.PutHistory{Series: storage.Series{Topic: topic, Group: group % 3}, Level: uint8(a % 2), Data: []byte(strings.Repeat("h", int(b)))}
		},
		func() storage.Op {
			return &storage.DropHistory{Series: storage.Series{Topic: topic, Group: group % 3}, Level: uint8(a % 2), To: b}
		},
		func() storage.Op {
			return &storage.ForgetHistory{Series: storage.Series{Topic: topic, Group: group % 3}}
		},
		func() storage.Op { return &storage.SaveClock{Clock: storage.Clock{Boot: name, Last: a, Held: b}} },
	}
	make := rapid.SampledFrom(makers).Draw(r, "kind")
	return maker{fmt.Sprintf("%T%+v", make(), make()), make}
}
