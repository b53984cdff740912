package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Place is where one store keeps its data: each call opens it, empty the first
// time, after what the call before returned was closed.
type Place func() storage.Store

// Run tests a kind of store against the whole contract. place makes a new
// place; it ends t when something is wrong with it.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for _, suite := range [][]test{topicTests(), groupTests(), commitTests(), readTests(), historyTests()} {
		for _, test := range suite {
			t.Run(test.name, func(t *testing.T) {
				h := &harness{T: t, place: place(t)}
				h.Store = h.place()
				test.run(h)
				if err := h.Close(); err != nil {
					t.Fatalf("close: %v", err)
				}
			})
		}
	}
}

type test struct {
	name string
	run  func(h *harness)
}

// harness is a store under test.
type harness struct {
	*testing.T
	storage.Store
	place Place
}

// commit commits ops, which must work as a whole.
func (h *harness) commit(ops ...storage.Op) []error {
	h.Helper()
	errs, err := h.Commit(ops)
	if err != nil || len(errs) != len(ops) {
		h.Fatalf("commit of %d ops: %d errors, %v", len(ops), len(errs), err)
	}
	if err := settle(h.Store); err != nil {
		h.Fatalf("after a commit: %v", err)
	}
	return errs
}

// settle does what is to be done after a commit.
func settle(store storage.Store) (err error) {
	if y, ok := store.(storage.Syncer); ok {
		err = y.Sync()
	}
	if m, ok := store.(storage.Maintainer); ok && err == nil {
		err = m.Maintain()
	}
	return err
}

// ok commits ops that must all succeed.
func (h *harness) ok(ops ...storage.Op) {
	h.Helper()
	for i, err := range h.commit(ops...) {
		if err != nil {
			h.Fatalf("op %d %T: %v", i, ops[i], err)
		}
	}
}

// refuse commits an op that must fail with want and change nothing.
func (h *harness) refuse(want error, op storage.Op) {
	h.Helper()
	before := h.dump()
	if err := h.commit(op)[0]; !errors.Is(err, want) {
		h.Fatalf("%T %+v: error %v, want %v", op, op, err, want)
	}
	h.same(before, h.dump())
}

func (h *harness) reopen() {
	h.Helper()
	if err := h.Close(); err != nil {
		h.Fatalf("close: %v", err)
	}
	h.Store = h.place()
}

// topic creates a topic.
func (h *harness) topic(name string) storage.TopicID {
	h.Helper()
	t := &storage.Topic{Name: name, Creator: "me", Created: 1, Updated: 1}
	h.ok(&storage.CreateTopic{Topic: t})
	return t.ID
}

// group creates a group that starts at the first offset.
func (h *harness) group(topic storage.TopicID, name string) *storage.Group {
	h.Helper()
	g := &storage.Group{
		Topic: topic, Name: name, Filter: "a|b", Exclusive: true, LegacyMask: 3, Creator: "me", Created: 1, Updated: 2,
		AckTimeout: 30_000, AckWindow: 64, MaxDeliver: 5, Epoch: 7, Version: 1,
	}
	h.ok(&storage.CreateGroup{Group: g})
	return g
}

// fill appends n messages, one batch, at the times 1000, 1001, … (or later).
func (h *harness) fill(topic storage.TopicID, n int) {
	h.Helper()
	h.ok(&storage.Append{Topic: topic, Records: records(n)})
}

func records(n int) []storage.Record {
	rs := make([]storage.Record, n)
	for i := range rs {
		rs[i] = storage.Record{
			Time: 1000 + int64(i), ID: fmt.Sprintf("id-%d", i), Tag: "tag", Headers: `{"k":"v"}`,
			Body: fmt.Appendf(nil, "body %d", i),
		}
	}
	return rs
}

func (h *harness) state() storage.State {
	h.Helper()
	s, err := h.Load(context.Background())
	if err != nil {
		h.Fatalf("load: %v", err)
	}
	return s
}

func (h *harness) topicState(id storage.TopicID) storage.Topic {
	h.Helper()
	for _, t := range h.state().Topics {
		if t.ID == id {
			return t
		}
	}
	h.Fatalf("topic %d is not loaded", id)
	return storage.Topic{}
}

func (h *harness) groupState(id storage.GroupID) storage.Group {
	h.Helper()
	for _, g := range h.state().Groups {
		if g.ID == id {
			return g
		}
	}
	h.Fatalf("group %d is not loaded", id)
	return storage.Group{}
}

func (h *harness) read(topic storage.TopicID, from int64, page storage.Page) []storage.Record {
	h.Helper()
	rs, err := h.Read(context.Background(), topic, from, page, nil)
	if err != nil {
		h.Fatalf("read topic %d from %d: %v", topic, from, err)
	}
	return rs
}

// all reads everything a topic has.
func (h *harness) all(topic storage.TopicID) []storage.Record {
	h.Helper()
	return h.read(topic, 0, storage.Page{Rows: 1 << 20})
}

// offsets must be the offsets of records.
func (h *harness) offsets(rs []storage.Record, want ...int64) {
	h.Helper()
	got := make([]int64, 0, len(rs))
	for _, r := range rs {
		got = append(got, r.Offset)
	}
	if !slices.Equal(got, want) {
		h.Fatalf("offsets %v, want %v", got, want)
	}
}

// dump is everything that can be read from a store.
type dump struct {
	State   storage.State
	Records map[storage.TopicID][]storage.Record
	Journal map[storage.GroupID][]storage.JournalEntry
	Audit   []storage.AuditEntry
	History map[storage.Series][]storage.HistoryChunk
}

func (h *harness) dump() dump {
	h.Helper()
	d, err := dumpOf(h.Store)
	if err != nil {
		h.Fatalf("dump: %v", err)
	}
	return d
}

func dumpOf(s storage.Store) (d dump, err error) {
	ctx := context.Background()
	if d.State, err = s.Load(ctx); err != nil {
		return d, err
	}
	d.Records = map[storage.TopicID][]storage.Record{}
	for _, t := range d.State.Topics {
		rs, err := s.Read(ctx, t.ID, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil {
			return d, err
		}
		for i := range rs {
			rs[i].Body = append([]byte{}, rs[i].Body...) // an empty body may be nil
		}
		d.Records[t.ID] = append([]storage.Record{}, rs...)
	}
	d.Journal = map[storage.GroupID][]storage.JournalEntry{}
	for id := range storage.GroupID(32) {
		list, err := s.Journal(ctx, id, 0, 1000)
		if err != nil {
			return d, err
		}
		if len(list) > 0 {
			d.Journal[id] = list
		}
	}
	if d.Audit, err = s.Audit(ctx, 0, 1000); err != nil {
		return d, err
	}
	d.History, err = historyOf(s)
	return d, err
}

// same fails the test when two values differ.
func (h *harness) same(want, got any) {
	h.Helper()
	if !reflect.DeepEqual(want, got) {
		h.Fatalf("got  %+v\nwant %+v", got, want)
	}
}
