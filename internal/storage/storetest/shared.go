package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// SharedPlace is a database that several stores can be opened on at a time, of which one has the
// lease.
type SharedPlace struct {
	// Open opens a store. It is refused while another one has the lease and shows signs of life.
	Open func() (storage.Store, error)
	// Take opens a store after the lease of the one before has ended: that one may be frozen, and
	// does not know of it.
	Take func() storage.Store
	// During runs a commit of the store that has the lease, has the lease end in the middle of it,
	// and returns when the commit has.
	During func(commit func())
}

// RunShared tests a kind of store that is shared against what the contract says of leases. place makes
// a new place; it ends t when something is wrong with it.
func RunShared(t *testing.T, place func(t *testing.T) SharedPlace) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, p SharedPlace)
	}{
		{"a second broker is refused while the first has the lease", sharedRefused},
		{"nothing is stored after the lease has ended", sharedFenced},
		{"a lease that ends in the middle of a commit ends the commit", sharedDuring},
		{"the next holder of the lease has all that was answered", sharedTaken},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, place(t)) })
	}
}

// mustOpen opens a store and makes a topic.
func (p SharedPlace) mustOpen(t *testing.T) *harness {
	t.Helper()
	s, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	return &harness{T: t, Store: s}
}

func sharedRefused(t *testing.T, p SharedPlace) {
	h := p.mustOpen(t)
	topic := h.topic("t")
	if s, err := p.Open(); !errors.Is(err, storage.ErrInUse) {
		t.Fatalf("opened twice: %v, %v", s, err)
	}
	h.fill(topic, 2)
	h.offsets(h.all(topic), 0, 1)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	again := p.mustOpen(t)
	again.fill(topic, 1)
	again.offsets(again.all(topic), 0, 1, 2)
}

// fenced commits ops that must be refused, since the lease has ended.
func (h *harness) fenced(ops ...storage.Op) {
	h.Helper()
	errs, err := h.Commit(ops)
	if !errors.Is(err, storage.ErrFenced) || errors.Is(err, storage.ErrNotStored) || errors.Is(err, storage.ErrUnknown) {
		h.Fatalf("commit without a lease: %v, %v", errs, err)
	}
}

func sharedFenced(t *testing.T, p SharedPlace) {
	old := p.mustOpen(t)
	topic := old.topic("t")
	old.fill(topic, 3)
	now := &harness{T: t, Store: p.Take()}
	before := now.dump()
	old.fenced(&storage.Append{Topic: topic, Records: records(1)}, &storage.CreateTopic{Topic: &storage.Topic{Name: "u"}})
	now.same(before, now.dump())
	if _, err := old.Commit([]storage.Op{&storage.Append{Topic: topic, Records: records(1)}}); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("after the lease has ended: %v", err)
	}
	now.fill(topic, 2)
	now.offsets(now.all(topic), 0, 1, 2, 3, 4)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	now.fill(topic, 1) // the end of the old one has not taken the lease away
	now.offsets(now.all(topic), 0, 1, 2, 3, 4, 5)
}

func sharedDuring(t *testing.T, p SharedPlace) {
	old := p.mustOpen(t)
	topic := old.topic("t")
	old.fill(topic, 3)
	p.During(func() {
		old.fenced(&storage.Append{Topic: topic, Records: records(2)})
	})
	now := p.mustOpen(t)
	now.offsets(now.all(topic), 0, 1, 2)
	now.fill(topic, 1)
	now.offsets(now.all(topic), 0, 1, 2, 3)
}

func sharedTaken(t *testing.T, p SharedPlace) {
	old := p.mustOpen(t)
	topic := old.topic("t")
	old.fill(topic, 100)
	g := old.group(topic, "g")
	old.ok(&storage.SaveProgress{Group: g.ID, Epoch: 7, Position: storage.Progress{Cursor: 40, Read: 60}})
	want := old.dump()
	now := &harness{T: t, Store: p.Take()}
	now.same(want, now.dump())
	if id := now.topic("u"); id <= topic {
		t.Fatalf("topic %d after %d", id, topic)
	}
	if _, err := old.Read(context.Background(), topic, 0, storage.Page{Rows: 1}, nil); err != nil {
		t.Fatalf("who has no lease can't read what it has written: %v", err)
	}
}
