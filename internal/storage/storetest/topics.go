package storetest

import (
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

func topicTests() []test {
	return []test{
		{"a topic comes back as it was created", topicRoundTrip},
		{"topic names are unique without regard to ASCII case", topicNames},
		{"impossible topics are refused", topicInvalid},
		{"altering a topic sets mask, retention and pause only", topicAlter},
		{"ops on a topic that is not there find nothing", topicMissing},
		{"offsets continue after trimming to empty and reopening", topicOffsetsGoOn},
		{"a topic can start at any offset and ends at the largest", topicStart},
		{"times never decrease", topicTimes},
		{"bytes are exact after appends and trims", topicBytes},
		{"trim never lowers first and stops at next", topicTrim},
		{"a removed topic's name gets a new id and none of the old messages", topicNameReuse},
		{"purge deletes what can no longer be reached, and counts it", topicPurge},
		{"purge continues after reopening", topicPurgeReopen},
		{"trim keeps ids until another one forgets them", topicKeptIDs},
	}
}

func topicRoundTrip(h *harness) {
	want := storage.Topic{
		Name: "Orders.eu~1", Kind: storage.KindProxy, Replies: true, LegacyMask: -1 << 62, Creator: "ann", Owner: "ann", Created: 5, Updated: 6, First: 40, Next: 40, LastTime: 900,
		Retention: storage.Retention{MaxAge: 1, MaxCount: 2, MaxBytes: 3},
	}
	made := want
	h.ok(&storage.CreateTopic{Topic: &made})
	if made.ID == 0 {
		h.Fatal("the topic got no id")
	}
	want.ID = made.ID
	h.same(want, h.topicState(made.ID))
	h.reopen()
	h.same(want, h.topicState(made.ID))
}

func topicNames(h *harness) {
	h.topic("Orders")
	for _, name := range []string{"Orders", "orders", "ORDERS"} {
		h.refuse(storage.ErrExists, &storage.CreateTopic{Topic: &storage.Topic{Name: name}})
	}
	h.reopen()
	h.refuse(storage.ErrExists, &storage.CreateTopic{Topic: &storage.Topic{Name: "oRDERS"}})
	h.topic("bücher")
	h.topic("bÜcher") // only ASCII letters have a case
}

func topicInvalid(h *harness) {
	for _, t := range []*storage.Topic{
		nil,
		{},
		{Name: "x", First: -1, Next: -1},
		{Name: "x", First: 0, Next: 3},
		{Name: "x", First: storage.MaxOffset + 2, Next: storage.MaxOffset + 2},
		{Name: "x", Bytes: 1},
	} {
		h.refuse(storage.ErrInvalid, &storage.CreateTopic{Topic: t})
	}
}

func topicAlter(h *harness) {
	id := h.topic("t")
	h.fill(id, 3)
	want := h.topicState(id)
	want.Replies, want.LegacyMask, want.Paused, want.Owner, want.Updated, want.Retention = true, 9, true, "bob", 77, storage.Retention{MaxAge: 4, MaxCount: 5, MaxBytes: 6}
	h.ok(&storage.AlterTopic{Topic: id, Replies: true, LegacyMask: 9, Paused: true, Owner: "bob", Updated: 77, Retention: want.Retention})
	h.same(want, h.topicState(id))
	h.reopen()
	h.same(want, h.topicState(id))
}

func topicMissing(h *harness) {
	removed := h.topic("t")
	h.fill(removed, 2)
	h.ok(&storage.RemoveTopic{Topic: removed})
	for _, id := range []storage.TopicID{removed, 99, 0, -1, 1 << 60} {
		h.refuse(storage.ErrNotFound, &storage.Append{Topic: id, Records: records(1)})
		h.refuse(storage.ErrNotFound, &storage.AlterTopic{Topic: id})
		h.refuse(storage.ErrNotFound, &storage.RemoveTopic{Topic: id})
		h.refuse(storage.ErrNotFound, &storage.Trim{Topic: id, First: 1})
		h.refuse(storage.ErrNotFound, &storage.CreateGroup{Group: &storage.Group{Topic: id, Name: "g"}})
	}
}

func topicOffsetsGoOn(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	h.fill(a, 5)
	h.fill(b, 2)
	h.ok(&storage.Trim{Topic: a, First: 5, Bytes: h.topicState(a).Bytes})
	h.ok(&storage.Purge{Limit: 100})
	h.offsets(h.all(a))
	h.reopen()
	h.fill(a, 2)
	h.fill(b, 1)
	h.offsets(h.all(a), 5, 6)
	h.offsets(h.all(b), 0, 1, 2)
}

func topicStart(h *harness) {
	t := &storage.Topic{Name: "late", First: storage.MaxOffset - 1, Next: storage.MaxOffset - 1}
	after := &storage.Topic{Name: "after"}
	h.ok(&storage.CreateTopic{Topic: t}, &storage.CreateTopic{Topic: after})
	h.refuse(storage.ErrInvalid, &storage.Append{Topic: t.ID, Records: records(3)})
	h.fill(t.ID, 2)
	h.fill(after.ID, 1)
	h.refuse(storage.ErrInvalid, &storage.Append{Topic: t.ID, Records: records(1)})
	h.offsets(h.all(t.ID), storage.MaxOffset-1, storage.MaxOffset)
	h.ok(&storage.Trim{Topic: t.ID, First: storage.MaxOffset + 1}, &storage.Purge{Limit: 10})
	h.offsets(h.all(t.ID))
	h.offsets(h.all(after.ID), 0)
}

func topicTimes(h *harness) {
	id := h.topic("t")
	append1 := func(times ...int64) *storage.Append {
		op := &storage.Append{Topic: id}
		for _, t := range times {
			op.Records = append(op.Records, storage.Record{Time: t})
		}
		return op
	}
	op := append1(50, 40, 60, -5)
	h.ok(op, append1(55))
	if op.Records[1].Time != 50 || op.Records[3].Time != 60 {
		h.Fatalf("times given back: %+v", op.Records)
	}
	h.ok(&storage.Trim{Topic: id, First: 5}, &storage.Purge{Limit: 9})
	h.reopen()
	h.ok(append1(1, 70))
	rs := h.all(id)
	h.offsets(rs, 5, 6)
	h.same([]int64{60, 70}, []int64{rs[0].Time, rs[1].Time})
	h.same(int64(70), h.topicState(id).LastTime)
}

func topicBytes(h *harness) {
	id := h.topic("t")
	var want int64
	for i := range 200 {
		rs := records(1 + i%3)
		rs[0].Body = make([]byte, i*7)
		for j := range rs {
			want += rs[j].Size()
		}
		h.ok(&storage.Append{Topic: id, Records: rs})
	}
	h.same(want, h.topicState(id).Bytes)
	var dropped int64
	for _, r := range h.read(id, 0, storage.Page{Rows: 57}) {
		dropped += r.Size()
	}
	h.ok(&storage.Trim{Topic: id, First: 57, Bytes: dropped})
	h.same(want-dropped, h.topicState(id).Bytes)
	h.refuse(storage.ErrInvalid, &storage.Trim{Topic: id, First: 58, Bytes: want})
	h.refuse(storage.ErrInvalid, &storage.Trim{Topic: id, First: 58, Bytes: -1})
	var left int64
	for _, r := range h.all(id) {
		left += r.Size()
	}
	h.reopen()
	h.same(left, h.topicState(id).Bytes)
}

func topicTrim(h *harness) {
	id := h.topic("t")
	h.fill(id, 10)
	h.ok(&storage.Trim{Topic: id, First: 4})
	before := h.topicState(id)
	h.ok(&storage.Trim{Topic: id, First: 3, Bytes: 1})
	h.same(before, h.topicState(id))
	h.offsets(h.read(id, 0, storage.Page{Rows: 2}), 4, 5)
	h.ok(&storage.Trim{Topic: id, First: 1000, Bytes: before.Bytes})
	after := h.topicState(id)
	h.same([]int64{10, 10, 0}, []int64{after.First, after.Next, after.Bytes})
}

func topicNameReuse(h *harness) {
	var last storage.TopicID
	for i := range 3 {
		id := h.topic("t")
		if id <= last {
			h.Fatalf("id %d after %d", id, last)
		}
		last = id
		h.offsets(h.all(id))
		h.group(id, "g")
		h.fill(id, 3)
		h.offsets(h.all(id), 0, 1, 2)
		h.ok(&storage.RemoveTopic{Topic: id})
		if i == 1 {
			h.ok(&storage.Purge{Limit: 100})
		}
		h.same(storage.State{}, h.state())
		h.reopen()
	}
}

func topicPurge(h *harness) {
	a, b, c := h.topic("a"), h.topic("b"), h.topic("c")
	for _, id := range []storage.TopicID{a, b, c} {
		h.fill(id, 100)
	}
	purge := func(limit, want int) {
		h.Helper()
		op := &storage.Purge{Limit: limit, Deleted: 12345}
		h.ok(op)
		h.same(want, op.Deleted)
	}
	purge(10, 0)
	h.ok(&storage.Trim{Topic: a, First: 30}, &storage.RemoveTopic{Topic: b})
	h.fill(a, 1)
	purge(7, 7)
	h.ok(&storage.Trim{Topic: a, First: 60})
	purge(103, 103)
	h.ok(&storage.RemoveTopic{Topic: a}) // the rest of a: 41 rows and what is left below 60
	purge(1000, 160+41-110)
	purge(1000, 0)
	h.same(100, len(h.all(c)))
	h.refuse(storage.ErrInvalid, &storage.Purge{})

	// In one batch: rows that were appended, dropped and purged together.
	d := &storage.Topic{Name: "d"}
	h.ok(&storage.CreateTopic{Topic: d})
	op := &storage.Purge{Limit: 1000}
	h.ok(&storage.Append{Topic: d.ID, Records: records(70)}, &storage.RemoveTopic{Topic: d.ID}, op)
	h.same(70, op.Deleted)
}

func topicPurgeReopen(h *harness) {
	for i := range 4 {
		id := h.topic(fmt.Sprint("t", i))
		h.fill(id, 50)
		if i%2 == 0 {
			h.ok(&storage.RemoveTopic{Topic: id})
		} else {
			h.ok(&storage.Trim{Topic: id, First: 20})
		}
	}
	total := 0
	for range 20 {
		op := &storage.Purge{Limit: 33}
		h.ok(op)
		total += op.Deleted
		if op.Deleted < op.Limit {
			break
		}
		h.reopen()
	}
	h.same(2*50+2*20, total)
}

func topicKeptIDs(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	h.fill(a, 20)
	h.fill(b, 20)
	first := []storage.KeptID{{Offset: 1, Time: 1 << 41, ID: "x"}, {Offset: 4, Time: 5, ID: "\xff\x00"}}
	second := []storage.KeptID{{Offset: 7, Time: 6, ID: "x"}}
	h.ok(&storage.Trim{Topic: a, First: 5, IDs: first}, &storage.Trim{Topic: b, First: 8, IDs: second})
	h.ok(&storage.Trim{Topic: a, First: 8, IDs: second, Forget: 4}) // not all of first
	want := []storage.KeptIDs{{Topic: a, IDs: first}, {Topic: a, IDs: second}, {Topic: b, IDs: second}}
	h.same(want, h.state().Kept)
	h.reopen()
	h.same(want, h.state().Kept)
	h.refuse(storage.ErrInvalid, &storage.Trim{Topic: a, First: 9, Bytes: -1, IDs: second, Forget: 9})
	h.refuse(storage.ErrNotFound, &storage.Trim{Topic: b + 1, IDs: second, Forget: 9})

	h.ok(&storage.Trim{Topic: a, Forget: 5}, &storage.RemoveTopic{Topic: b})
	want = []storage.KeptIDs{{Topic: a, IDs: second}}
	h.same(want, h.state().Kept)
	h.reopen()
	h.same(want, h.state().Kept)
	h.ok(&storage.Trim{Topic: a, Forget: 8})
	h.reopen()
	h.same(0, len(h.state().Kept))
}
