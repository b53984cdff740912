package storetest

import (
	"context"
	"errors"

	"github.com/rushmore/zbus-go/internal/storage"
)

func groupTests() []test {
	return []test{
		{"a group comes back as it was created", groupRoundTrip},
		{"group names are unique within their topic", groupNames},
		{"impossible groups are refused", groupInvalid},
		{"altering a group leaves its position alone", groupAlter},
		{"progress, settled ranges and parked messages come back", groupProgress},
		{"impossible progress is refused", groupProgressInvalid},
		{"progress of another epoch is a conflict", groupEpoch},
		{"relocating empties the group and raises the epoch", groupRelocate},
		{"relocating can restore what is settled", groupRestore},
		{"a removed group takes its parked messages along, not its journal", groupRemove},
		{"a removed topic takes its groups along", groupRemoveTopic},
		{"the journal lists newest first, by group", groupJournal},
	}
}

func groupRoundTrip(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 30)
	want := storage.Group{
		Topic: topic, Name: "Billing", Filter: "x", Settle: storage.SettleExplicit, Exclusive: true, Ephemeral: true, LegacyMask: 1 << 40, Creator: "bob", Created: 1, Updated: 2,
		AckTimeout: 3, AckWindow: 4, MaxDeliver: 5, Epoch: 6, Version: 7,
		Progress: storage.Progress{Cursor: 10, Read: 20, Settled: storage.Ranges{{Lo: 12, Hi: 13}, {Lo: 15, Hi: 20}}},
	}
	made := want
	h.ok(&storage.CreateGroup{Group: &made})
	if made.ID == 0 {
		h.Fatal("the group got no id")
	}
	want.ID = made.ID
	h.same(want, h.groupState(made.ID))
	h.reopen()
	h.same(want, h.groupState(made.ID))
}

func groupNames(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	h.group(a, "Billing")
	h.refuse(storage.ErrExists, &storage.CreateGroup{Group: &storage.Group{Topic: a, Name: "bILLING"}})
	h.group(b, "billing")
	h.reopen()
	h.refuse(storage.ErrExists, &storage.CreateGroup{Group: &storage.Group{Topic: b, Name: "BILLING"}})
}

func groupInvalid(h *harness) {
	topic := h.topic("t")
	h.refuse(storage.ErrInvalid, &storage.CreateGroup{})
	h.refuse(storage.ErrInvalid, &storage.CreateGroup{Group: &storage.Group{Topic: topic}})
	h.refuse(storage.ErrInvalid, &storage.CreateGroup{Group: &storage.Group{
		Topic: topic, Name: "g", Progress: storage.Progress{Cursor: 1, Read: 1}, // beyond the end
	}})
	h.refuse(storage.ErrInvalid, &storage.AlterGroup{})
	h.refuse(storage.ErrNotFound, &storage.AlterGroup{Group: &storage.Group{ID: 9}})
	h.refuse(storage.ErrNotFound, &storage.RemoveGroup{Group: 9})
	h.refuse(storage.ErrNotFound, &storage.SaveProgress{Group: 9})
	h.refuse(storage.ErrNotFound, &storage.Relocate{Group: 9})
}

func groupAlter(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 10)
	g := h.group(topic, "g")
	h.ok(&storage.SaveProgress{Group: g.ID, Epoch: 7, Position: storage.Progress{Cursor: 3, Read: 5}})
	want := h.groupState(g.ID)
	altered := storage.Group{ // position, epoch, name and creator do not count
		ID: g.ID, Topic: 77, Name: "other", Creator: "other", Created: 99, Epoch: 99, Progress: storage.Progress{Cursor: 9, Read: 9},
		Filter: "c", Settle: storage.SettleExplicit, Paused: true, LegacyMask: 8, AckTimeout: 9, AckWindow: 10, MaxDeliver: 11, Version: 2, Updated: 50,
	}
	want.Filter, want.AckTimeout, want.AckWindow, want.MaxDeliver = "c", 9, 10, 11
	want.Settle, want.Exclusive, want.Paused, want.Ephemeral, want.LegacyMask = storage.SettleExplicit, false, true, false, 8
	want.Version, want.Updated = 2, 50
	entry := &storage.JournalEntry{
		Topic: topic, Group: g.ID, Time: 50, Kind: "filter", Actor: storage.Actor{Name: "ann", Address: "[::1]:1", Token: "t1"}, Reason: "why",
		FilterFrom: "a|b", FilterTo: "c", From: storage.Progress{Cursor: 3, Read: 5}, To: 3,
	}
	h.ok(&storage.AlterGroup{Group: &altered, Entry: entry})
	h.same(want, h.groupState(g.ID))
	if entry.ID == 0 {
		h.Fatal("the entry got no id")
	}
	h.reopen()
	h.same(want, h.groupState(g.ID))
	h.same([]storage.JournalEntry{*entry}, h.journal(g.ID, 10))
}

func (h *harness) journal(g storage.GroupID, limit int) []storage.JournalEntry {
	h.Helper()
	list, err := h.Journal(context.Background(), g, 0, limit)
	if err != nil {
		h.Fatalf("journal of group %d: %v", g, err)
	}
	return list
}

func groupProgress(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 40)
	g, other := h.group(topic, "g").ID, h.group(topic, "other").ID
	position := storage.Progress{Cursor: 10, Read: 40, Settled: storage.Ranges{{Lo: 11, Hi: 12}, {Lo: 20, Hi: 39}}}
	parked := []storage.Parked{
		{Group: g, Offset: 10, Count: 2, Due: 99, Cause: "timeout"},
		{Group: g, Offset: 15, Count: 1},
	}
	h.ok(
		&storage.SaveProgress{Group: g, Epoch: 7, Position: position, Park: parked},
		&storage.SaveProgress{Group: other, Epoch: 7, Position: storage.Progress{Read: 1}, Park: []storage.Parked{{Offset: 0, Count: 3}}},
	)
	check := func() {
		h.Helper()
		h.same(position, h.groupState(g).Progress)
		h.same(append(parked, storage.Parked{Group: other, Offset: 0, Count: 3}), h.state().Parked)
	}
	check()
	h.reopen()
	check()

	position = storage.Progress{Cursor: 40, Read: 40}
	parked = []storage.Parked{{Group: g, Offset: 15, Count: 4, Due: 5, Cause: "nack"}, {Group: g, Offset: 16}}
	h.ok(&storage.SaveProgress{Group: g, Epoch: 7, Position: position, Park: parked, Unpark: []int64{10, 33}})
	check()
	h.reopen()
	check()
}

func groupProgressInvalid(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 20)
	g := h.group(topic, "g").ID
	ranges := func(lohi ...int64) (rs storage.Ranges) {
		for i := 0; i < len(lohi); i += 2 {
			rs = append(rs, storage.Range{Lo: lohi[i], Hi: lohi[i+1]})
		}
		return rs
	}
	for _, position := range []storage.Progress{
		{Cursor: -1, Read: 5},
		{Cursor: 6, Read: 5},
		{Cursor: 6, Read: 21},
		{Cursor: 5, Read: 15, Settled: ranges(5, 6)},
		{Cursor: 5, Read: 15, Settled: ranges(7, 7)},
		{Cursor: 5, Read: 15, Settled: ranges(7, 16)},
		{Cursor: 5, Read: 15, Settled: ranges(9, 10, 7, 8)},
		{Cursor: 5, Read: 15, Settled: ranges(7, 9, 9, 10)},
	} {
		h.refuse(storage.ErrInvalid, &storage.SaveProgress{Group: g, Epoch: 7, Position: position})
	}
	for _, p := range []storage.Parked{{Offset: -1, Count: 1}, {Offset: 20, Count: 1}, {Offset: 3, Count: -1}} {
		h.refuse(storage.ErrInvalid, &storage.SaveProgress{Group: g, Epoch: 7, Position: storage.Progress{Read: 20}, Park: []storage.Parked{p}})
	}
}

func groupEpoch(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 5)
	g := h.group(topic, "g").ID
	save := func(epoch int64) storage.Op {
		return &storage.SaveProgress{Group: g, Epoch: epoch, Position: storage.Progress{Cursor: 2, Read: 2}}
	}
	h.refuse(storage.ErrConflict, save(6))
	h.refuse(storage.ErrConflict, save(8))
	h.refuse(storage.ErrConflict, &storage.Relocate{Group: g, Epoch: 6})
	h.ok(save(7))
	h.ok(&storage.Relocate{Group: g, Epoch: 7, Position: storage.At(1)})
	h.refuse(storage.ErrConflict, save(7))
	h.refuse(storage.ErrConflict, &storage.Relocate{Group: g, Epoch: 7})
	h.reopen()
	h.refuse(storage.ErrConflict, save(7))
	h.ok(save(8))

	// Both in one batch: the second of two relocations comes too late.
	errs := h.commit(&storage.Relocate{Group: g, Epoch: 8, Position: storage.At(3)}, &storage.Relocate{Group: g, Epoch: 8, Position: storage.At(4)}, save(9))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		h.Fatalf("errors %v", errs)
	}
}

func groupRelocate(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 20)
	g := h.group(topic, "g").ID
	position := storage.Progress{Cursor: 3, Read: 12, Settled: storage.Ranges{{Lo: 5, Hi: 6}}}
	h.ok(&storage.SaveProgress{Group: g, Epoch: 7, Position: position, Park: []storage.Parked{{Offset: 4, Count: 1}}})
	h.refuse(storage.ErrInvalid, &storage.Relocate{Group: g, Epoch: 7, Position: storage.At(21)})
	h.refuse(storage.ErrInvalid, &storage.Relocate{Group: g, Epoch: 7, Position: storage.At(-1)})
	want := h.groupState(g)
	want.Progress, want.Epoch, want.Updated = storage.Progress{Cursor: 20, Read: 20}, 8, 500
	entry := &storage.JournalEntry{Topic: topic, Group: g, Time: 500, Kind: "relocate", From: position, To: 20}
	h.ok(&storage.Relocate{Group: g, Epoch: 7, Position: storage.At(20), Entry: entry})
	check := func() {
		h.Helper()
		h.same(want, h.groupState(g))
		h.same(0, len(h.state().Parked))
		h.same([]storage.JournalEntry{*entry}, h.journal(g, 5))
	}
	check()
	h.reopen()
	check()
}

func groupRestore(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 20)
	g := h.group(topic, "g").ID
	position := storage.Progress{Cursor: 3, Read: 12, Settled: storage.Ranges{{Lo: 5, Hi: 6}, {Lo: 8, Hi: 11}}}
	beyond := storage.Progress{Cursor: 3, Read: 12, Settled: storage.Ranges{{Lo: 5, Hi: 13}}}
	h.refuse(storage.ErrInvalid, &storage.Relocate{Group: g, Epoch: 7, Position: beyond})
	h.ok(&storage.Relocate{Group: g, Epoch: 7, Position: position})
	h.same(position, h.groupState(g).Progress)
	h.reopen()
	h.same(position, h.groupState(g).Progress)
}

func groupRemove(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 5)
	g := h.group(topic, "g").ID
	h.ok(
		&storage.SaveProgress{Group: g, Epoch: 7, Position: storage.Progress{Read: 5}, Park: []storage.Parked{{Offset: 1, Count: 1}}},
		&storage.AlterGroup{Group: &storage.Group{ID: g}, Entry: &storage.JournalEntry{Group: g, Kind: "filter"}},
		&storage.RemoveGroup{Group: g},
	)
	h.same(0, len(h.state().Groups)+len(h.state().Parked))
	h.same(1, len(h.journal(g, 5)))
	h.refuse(storage.ErrNotFound, &storage.RemoveGroup{Group: g})
	h.reopen()
	if again := h.group(topic, "g").ID; again <= g {
		h.Fatalf("id %d after %d", again, g)
	}
	h.same(0, len(h.state().Parked))
}

func groupRemoveTopic(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	h.fill(a, 2)
	h.fill(b, 2)
	g, kept := h.group(a, "g").ID, h.group(b, "g").ID
	park := []storage.Parked{{Offset: 1, Count: 1}}
	for _, id := range []storage.GroupID{g, kept} {
		h.ok(&storage.SaveProgress{Group: id, Epoch: 7, Position: storage.Progress{Read: 2}, Park: park})
	}
	h.ok(&storage.RemoveTopic{Topic: a})
	h.refuse(storage.ErrNotFound, &storage.SaveProgress{Group: g, Epoch: 7})
	s := h.state()
	if len(s.Groups) != 1 || s.Groups[0].ID != kept || len(s.Parked) != 1 || s.Parked[0].Group != kept {
		h.Fatalf("left: %+v", s)
	}
}

func groupJournal(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 10)
	a, b := h.group(topic, "a").ID, h.group(topic, "b").ID
	for i := range int64(5) {
		h.ok(&storage.Relocate{Group: a, Epoch: 7 + i, Position: storage.At(i), Entry: &storage.JournalEntry{
			Group: a, Topic: topic, Time: 10 - i, Kind: "relocate", Actor: storage.Actor{Name: "x"}, To: i,
			From: storage.Progress{Cursor: i, Read: 9, Settled: storage.Ranges{{Lo: i + 1, Hi: i + 2}}},
		}})
		h.ok(&storage.Relocate{Group: b, Epoch: 7 + i, Position: storage.At(i), Entry: &storage.JournalEntry{Group: b, Kind: "empty"}})
	}
	h.reopen()
	list := h.journal(a, 3)
	if len(list) != 3 || list[0].To != 4 || list[2].To != 2 || list[0].From.Settled[0].Lo != 5 {
		h.Fatalf("journal %+v", list)
	}
	h.same(5, len(h.journal(b, 100)))
	rest, err := h.Journal(context.Background(), a, list[2].ID, 100)
	if err != nil || len(rest) != 2 || rest[0].To != 1 {
		h.Fatalf("journal before %d: %+v, %v", list[2].ID, rest, err)
	}
	one, err := h.Entry(context.Background(), list[1].ID)
	if err != nil {
		h.Fatal(err)
	}
	h.same(list[1], one)
	if _, err := h.Entry(context.Background(), 99); !errors.Is(err, storage.ErrNotFound) {
		h.Fatalf("entry 99: %v", err)
	}
	entry := &storage.JournalEntry{Topic: topic, Kind: "create", To: 4}
	c := &storage.Group{Topic: topic, Name: "c", Progress: storage.At(4)}
	h.ok(&storage.CreateGroup{Group: c, Entry: entry})
	h.same([]storage.JournalEntry{*entry}, h.journal(c.ID, 5))
	h.same(0, len(h.journal(99, 100)))
}
