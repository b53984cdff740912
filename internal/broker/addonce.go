package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/rushmore/zbus-go/internal/storage"
)

// onceItem is a message that is stored once by its id.
type onceItem struct {
	item  int // in Publishing.items
	first bool
	*knownID
}

// Recalled reports whether [Topic.Recall] has nothing to do.
func (t *Topic) Recalled() bool { return t.Memory() || t.recalled.Load() }

// Recall reads the ids that an earlier process was given. It is needed once before
// [Publishing.AddOnce], and takes as long as reading what came within the window.
func (t *Topic) Recall(ctx context.Context) error { return t.shard.ids.recall(ctx, t) }

// AddOnce is Add for a message that is not stored if its topic was given its id within
// the window: by this method, or to [Broker.Store]. When another caller is just storing
// one with that id, it adds nothing and returns a channel that is closed when that is
// over. Publish p before waiting for it, since others may wait for the ids in p.
func (p *Publishing) AddOnce(t *Topic, rec storage.Record, giveAway bool, more int) (busy <-chan struct{}) {
	err := check(t, &rec)
	k := &t.shard.ids
	switch {
	case err != nil:
	case k.window == 0:
		err = errorf(Invalid, "ids are not kept: start the broker with a --dedup-window, or publish without dedup")
	default:
		var o onceItem
		if o, busy, err = k.claimOne(p, t, rec.ID); busy != nil {
			return busy
		}
		if err == nil {
			p.addOnce(t, rec, giveAway, more, o)
			return nil
		}
	}
	p.once = append(p.once, onceItem{item: len(p.items)})
	p.items = append(p.items, published{id: strings.Clone(rec.ID), err: err})
	return nil
}

// addOnce adds a message, or what is known of it.
func (p *Publishing) addOnce(t *Topic, rec storage.Record, giveAway bool, more int, o onceItem) {
	p.once = append(p.once, o)
	if !o.first {
		p.items = append(p.items, published{id: strings.Clone(rec.ID), part: noPart, rec: len(p.once) - 1})
		return
	}
	if rest, ok := strings.CutPrefix(rec.Headers, nativeHeaders); ok {
		rec.Headers = onceHeaders + rest
	}
	p.Add(t, rec, giveAway, more)
}

// claimOne is claim for the next message of p. Of ids that p has claimed before it may be
// one: their fate is known when p's is.
func (k *knownIDs) claimOne(p *Publishing, t *Topic, id string) (o onceItem, busy chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	s := p.shareOf(t.shard)
	o.item = len(p.items)
	o.knownID = k.byKey[idKey{t.id, id}]
	switch e := o.knownID; {
	case e == nil:
		if s.claim == nil {
			s.claim = &claim{done: make(chan struct{})}
		}
		o.first = true
		o.knownID = s.claim.add(k, idKey{t.id, strings.Clone(id)}, o.item)
	case e.stored || s.claim != nil && e.done == s.claim.done:
	case e.unknown:
		err = unknownID(id)
	default:
		busy = e.done
	}
	return o, busy, err
}

// Place says where message i is in the log, if it did not fail; and of one that was added with
// AddOnce, whether it was there before.
func (p *Publishing) Place(i int) (offset int64, duplicate, once bool) {
	n, once := slices.BinarySearchFunc(p.once, i, func(o onceItem, i int) int { return cmp.Compare(o.item, i) })
	if once && p.once[n].knownID != nil {
		return p.once[n].offset, !p.once[n].first, true
	}
	if rec, err := p.record(i); err == nil {
		offset = rec.Offset
	}
	return offset, false, false
}
