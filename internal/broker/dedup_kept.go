package broker

import (
	"context"
	"slices"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Messages may be dropped while their ids have still to be known: a producer that
// sends one again gets the same answer whether the broker was started anew or not. So
// what drops messages stores their ids that are known at this time, in the same
// commit. They go when the process itself has forgotten them, so no more than
// MaxKnownIDs are kept, beyond those that were dropped together with one of them.

// keep lists the ids that are known of a topic's messages from its beginning to an
// offset. ids says which may be known; nil means any. It waits for those that are just
// being stored. Called with t.trimming held.
func (k *knownIDs) keep(ctx context.Context, t *Topic, to int64, ids []string) ([]storage.KeptID, error) {
	if k.window == 0 {
		return nil, nil
	}
	if err := k.recall(ctx, t); err != nil {
		return nil, err
	}
	for {
		kept, busy := k.below(t, to, ids)
		if busy == nil {
			return kept, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (k *knownIDs) below(t *Topic, to int64, ids []string) (kept []storage.KeptID, busy chan struct{}) {
	first := t.First()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	add := func(e *knownID) {
		switch {
		case e == nil || e.key.topic != t.id || e.unknown:
		case !e.stored:
			busy = e.done
		case first <= e.offset && e.offset < to:
			kept = append(kept, storage.KeptID{Offset: e.offset, Time: e.time, ID: e.key.id})
		}
	}
	if ids == nil {
		for _, e := range k.byKey {
			add(e)
		}
	}
	for _, id := range ids {
		add(k.byKey[idKey{t.id, id}])
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].Offset < kept[j].Offset })
	return slices.Compact(kept), busy // one message may share its id with an older one
}

// forgottenTo is the largest offset of a topic whose id was forgotten, or -1.
func (k *knownIDs) forgottenTo(t storage.TopicID) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	if to, ok := k.forgotten[t]; ok {
		return to
	}
	return -1
}

// load takes over the ids that earlier processes kept.
func (k *knownIDs) load(kept []storage.KeptIDs, topics map[storage.TopicID]*Topic) {
	now := k.b.clock()
	for _, some := range kept {
		t := topics[some.Topic]
		if t == nil {
			continue
		}
		for _, r := range some.IDs {
			t.keptTo = max(t.keptTo, r.Offset+1)
			k.remember(some.Topic, r, now)
		}
	}
}

// forgetKept has the store forget the ids that it kept and the process has forgotten.
func (t *Topic) forgetKept(ctx context.Context) error {
	t.trimming.Lock()
	defer t.trimming.Unlock()
	if t.keptTo == 0 || t.shard.ids.forgottenTo(t.id) < t.keptTo-1 {
		return nil
	}
	err := t.shard.Do(ctx, &storage.Trim{Topic: t.id, Forget: t.keptTo})
	if err == nil {
		t.keptTo = 0
	}
	return err
}
