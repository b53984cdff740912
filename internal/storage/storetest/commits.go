package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

func commitTests() []test {
	return []test{
		{"a bad op among good ones fails alone", commitBadOne},
		{"an atomic op happens as a whole or not at all", commitAtomic},
		{"ops that make no sense are refused", commitNonsense},
		{"ops of one batch see each other", commitOrder},
		{"the audit trail lists newest first", commitAudit},
		{"documents are put, replaced and removed", commitDocuments},
		{"of a clock that is saved again the last counts", commitClock},
		{"an empty commit is fine", func(h *harness) { h.commit() }},
		{"a store can be closed and opened many times", commitReopen},
	}
}

func commitBadOne(h *harness) {
	topic := h.topic("t")
	ops := []storage.Op{
		&storage.Append{Topic: topic, Records: records(2)},
		&storage.Append{Topic: 99, Records: records(2)},
		&storage.CreateTopic{Topic: &storage.Topic{Name: "T"}},
		&storage.CreateTopic{Topic: &storage.Topic{Name: "u"}},
		&storage.SaveProgress{Group: 5},
		&storage.Append{Topic: topic, Records: records(1)},
	}
	want := []error{nil, storage.ErrNotFound, storage.ErrExists, nil, storage.ErrNotFound, nil}
	for i, err := range h.commit(ops...) {
		if !errors.Is(err, want[i]) {
			h.Fatalf("op %d: %v, want %v", i, err, want[i])
		}
	}
	h.offsets(h.all(topic), 0, 1, 2)
	h.same(2, len(h.state().Topics))
}

func commitClock(h *harness) {
	h.same(storage.Clock{}, h.state().Clock)
	h.ok(&storage.SaveClock{Clock: storage.Clock{Boot: "b", Since: 1, Last: 2, Ahead: 3, Jump: 4, Held: 5}})
	h.ok(&storage.SaveClock{Clock: storage.Clock{Last: 1 << 50, Ahead: -(1 << 50), Jump: -6}})
	for range 2 {
		h.same(storage.Clock{Last: 1 << 50, Ahead: -(1 << 50), Jump: -6}, h.state().Clock)
		h.reopen()
	}
}

func commitDocuments(h *harness) {
	put := func(kind, name, value string) storage.Op {
		return &storage.PutDocument{Document: storage.Document{Kind: kind, Name: name, Value: value}}
	}
	h.ok(put("role", "b", "1"), put("role", "a", "2"), put("account", "b", "3"), put("role", "b", "4"), put("role", "c", "5"), put("role", "c", ""), put("role", "d", ""))
	want := []storage.Document{{Kind: "account", Name: "b", Value: "3"}, {Kind: "role", Name: "a", Value: "2"}, {Kind: "role", Name: "b", Value: "4"}}
	for range 2 {
		h.same(want, h.state().Documents)
		h.reopen()
	}
	h.refuse(storage.ErrInvalid, put("", "a", "1"))
	h.refuse(storage.ErrInvalid, put("role", "", "1"))
	h.refuse(storage.ErrInvalid, &storage.PutDocument{Document: storage.Document{Kind: "role", Name: "a", Damaged: true}})
	h.refuse(storage.ErrInvalid, &storage.Atomic{Ops: []storage.Op{put("role", "e", "1"), &storage.Audit{}}})
	h.same(want, h.state().Documents)
}

func commitAtomic(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 3)
	g := h.group(topic, "g").ID
	move := func() []storage.Op { // everything that a group of ops can touch
		return []storage.Op{
			&storage.Append{Topic: topic, Records: records(70)},
			&storage.SaveProgress{Group: g, Epoch: 7, Position: storage.Progress{Cursor: 73, Read: 73}, Park: []storage.Parked{{Offset: 1, Count: 1}}},
			&storage.CreateTopic{Topic: &storage.Topic{Name: "dead"}},
			&storage.CreateGroup{Group: &storage.Group{Topic: topic, Name: "g2"}},
			&storage.Relocate{Group: g, Epoch: 7, Position: storage.At(2), Entry: &storage.JournalEntry{Group: g}},
			&storage.Trim{Topic: topic, First: 1, Bytes: 1},
			&storage.Purge{Limit: 10},
			&storage.AlterTopic{Topic: topic, LegacyMask: 5},
			&storage.PutHistory{Series: storage.Series{Topic: topic, Group: g}, Data: []byte("x")},
			&storage.RemoveGroup{Group: g},
			&storage.RemoveTopic{Topic: topic},
			&storage.Audit{Entry: &storage.AuditEntry{Action: "x"}},
			&storage.SaveClock{Clock: storage.Clock{Last: 1}},
		}
	}
	for n := range len(move()) + 1 {
		bad := append(move()[:n:n], &storage.Append{Topic: 99, Records: records(1)})
		h.refuse(storage.ErrNotFound, &storage.Atomic{Ops: bad})
	}
	h.refuse(storage.ErrNotFound, &storage.Atomic{Ops: []storage.Op{
		&storage.RemoveTopic{Topic: topic}, &storage.Append{Topic: topic, Records: records(1)},
	}})
	h.ok(&storage.SaveProgress{Group: g, Epoch: 7, Position: storage.Progress{Cursor: 1, Read: 1}})

	// Around the failed one the others pass, and the ids and offsets with them.
	errs := h.commit(
		&storage.Append{Topic: topic, Records: records(1)},
		&storage.Atomic{Ops: append(move(), &storage.Purge{})},
		&storage.SaveProgress{Group: g, Epoch: 7, Position: storage.Progress{Cursor: 5, Read: 5}},
		&storage.Append{Topic: topic, Records: records(1)},
	)
	if errs[0] != nil || errs[1] == nil || !errors.Is(errs[2], storage.ErrInvalid) || errs[3] != nil {
		h.Fatalf("errors %v", errs)
	}
	h.offsets(h.all(topic), 0, 1, 2, 3, 4)

	purge := &storage.Purge{Limit: 100}
	h.ok(&storage.Atomic{Ops: append(move()[2:], purge)})
	h.same(4, purge.Deleted)
	h.reopen()
	s := h.state()
	if len(s.Topics) != 1 || s.Topics[0].Name != "dead" || len(s.Groups)+len(s.Parked) != 0 {
		h.Fatalf("state %+v", s)
	}
}

func commitNonsense(h *harness) {
	h.refuse(storage.ErrInvalid, nil)
	h.refuse(storage.ErrInvalid, &storage.Audit{})
	h.refuse(storage.ErrInvalid, &storage.Atomic{Ops: []storage.Op{&storage.Atomic{}}})
	h.refuse(storage.ErrInvalid, &storage.Atomic{Ops: []storage.Op{nil}})
	h.ok(&storage.Atomic{})
	h.ok(&storage.Append{Topic: h.topic("t")})
}

func commitOrder(h *harness) {
	t := &storage.Topic{Name: "t"}
	h.ok(&storage.CreateTopic{Topic: t})
	g := &storage.Group{Topic: t.ID, Name: "g"}
	appended := &storage.Append{Topic: t.ID, Records: records(5)}
	h.ok(
		&storage.Append{Topic: t.ID, Records: records(100)},
		&storage.CreateGroup{Group: g},
		&storage.Trim{Topic: t.ID, First: 90},
		appended,
		&storage.CreateTopic{Topic: &storage.Topic{Name: "u"}},
	)
	h.same(int64(100), appended.Records[0].Offset)
	h.ok(&storage.RemoveTopic{Topic: t.ID}, &storage.CreateTopic{Topic: &storage.Topic{Name: "T"}})
	errs := h.commit(&storage.CreateTopic{Topic: &storage.Topic{Name: "v"}}, &storage.CreateTopic{Topic: &storage.Topic{Name: "V"}})
	if errs[0] != nil || !errors.Is(errs[1], storage.ErrExists) {
		h.Fatalf("errors %v", errs)
	}
}

func commitAudit(h *harness) {
	for i := range int64(5) {
		e := &storage.AuditEntry{Time: 9 - i, Actor: storage.Actor{Name: "ann", Address: "[::1]:1", Token: "t1"}, Action: "topic.create", Target: fmt.Sprint("t", i), Detail: "d"}
		h.ok(&storage.Audit{Entry: e})
		h.same(i+1, e.ID)
	}
	h.reopen()
	list, err := h.Audit(context.Background(), 0, 2)
	want := []storage.AuditEntry{
		{ID: 5, Time: 5, Actor: storage.Actor{Name: "ann", Address: "[::1]:1", Token: "t1"}, Action: "topic.create", Target: "t4", Detail: "d"},
		{ID: 4, Time: 6, Actor: storage.Actor{Name: "ann", Address: "[::1]:1", Token: "t1"}, Action: "topic.create", Target: "t3", Detail: "d"},
	}
	if err != nil {
		h.Fatal(err)
	}
	h.same(want, list)
	list, err = h.Audit(context.Background(), 2, 10)
	if err != nil || len(list) != 1 || list[0].ID != 1 {
		h.Fatalf("audit before 2: %+v, %v", list, err)
	}
}

func commitReopen(h *harness) {
	topic := h.topic("t")
	for i := range 5 {
		h.reopen()
		h.fill(topic, 1)
		h.same(i+1, len(h.all(topic)))
	}
}
