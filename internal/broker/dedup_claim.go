package broker

import (
	"context"
	"strings"
)

// claim is the ids of one share that are new: nobody else stores a message with one of them
// before its fate is known.
type claim struct {
	ids  []claimed
	done chan struct{}
}

// claimed is an id, and which message of the Publishing has it.
type claimed struct {
	*knownID
	item int
}

// knownItem is a message of a Publishing that is stored once, and what is known of its id.
type knownItem struct {
	item int
	*knownID
	moved error // why nothing new is stored in its topic
}

// claim finds out which messages were stored before, which are left out, and claims the ids of
// the others. A message of which that can't be known has an error then.
func (p *Publishing) claim(ctx context.Context) {
	for _, s := range p.b.shards { // in one order for all: who waits has only claims of shards before
		if of := p.findShare(s); of != nil {
			of.claimIDs(ctx)
		}
	}
	for _, k := range p.known {
		it := &p.items[k.item]
		if it.err != nil || k.knownID != nil {
			continue
		}
		q := p.parts[it.part]
		var room kept
		room, it.err = p.keepRoom(q.topic, q.op.Records[it.rec].Size())
		q.hold(room)
	}
	p.leaveOut()
}

func (s *share) claimIDs(ctx context.Context) {
	p := s.p
	for i := range p.known {
		k := &p.known[i]
		q := p.parts[p.items[k.item].part]
		if q.share != s {
			continue
		}
		if !p.own {
			k.moved = q.topic.publishable()
		}
		if !q.topic.recalled.Load() {
			p.items[k.item].err = s.shard.ids.recall(ctx, q.topic)
		}
	}
	for busy := s.tryClaim(); busy != nil; busy = s.tryClaim() {
		select {
		case <-busy: // at the latest when the committer stops
		case <-ctx.Done(): // the other caller may store the message yet
			s.eachKnown(func(_ *knownItem, it *published) { it.err = abandoned(ctx) })
			return
		}
	}
}

// eachKnown visits the messages of the share that are stored once and have no error.
func (s *share) eachKnown(visit func(*knownItem, *published)) {
	p := s.p
	for i := range p.known {
		k := &p.known[i]
		if it := &p.items[k.item]; it.err == nil && p.parts[it.part].share == s {
			visit(k, it)
		}
	}
}

// tryClaim takes the ids of the share that are not known. Of one of which it is not known
// whether its message is stored, no is not to be said. If one is just being stored by another
// caller, it takes none and returns what is closed when that is over: a second caller that
// waited while holding ids of its own could wait forever. Nor does it take any when nothing
// is stored at all.
func (s *share) tryClaim() (busy chan struct{}) {
	k, p := &s.shard.ids, s.p
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire()
	s.eachKnown(func(known *knownItem, it *published) {
		switch e := k.byKey[idKey{p.parts[it.part].topic.id, it.id}]; {
		case e == nil:
			it.err = known.moved
		case e.stored:
		case e.unknown:
			it.err = unknownID(it.id)
		default:
			busy = e.done
		}
	})
	if busy != nil || p.refusal() != nil {
		return busy
	}
	s.eachKnown(func(known *knownItem, it *published) {
		key := idKey{p.parts[it.part].topic.id, it.id}
		e := k.byKey[key]
		if e == nil {
			if s.claim == nil {
				s.claim = &claim{done: make(chan struct{})}
			}
			key.id = strings.Clone(key.id) // it outlives the message
			e = &knownID{key: key, done: s.claim.done}
			k.byKey[key] = e
			s.claim.ids = append(s.claim.ids, claimed{e, known.item})
			return
		}
		known.knownID = e // of an earlier message, or of one in this share
	})
	return nil
}

// leaveOut takes the records out that are not to be stored.
func (p *Publishing) leaveOut() {
	for _, q := range p.parts[:p.used] {
		q.left = 0
	}
	for i := range p.items {
		it := &p.items[i]
		if it.part == noPart {
			continue
		}
		q := p.parts[it.part]
		rec := &q.op.Records[it.rec]
		if it.err != nil || it.known > 0 && p.known[it.known-1].knownID != nil {
			q.share.ticket.Bytes -= rec.Size() + recordOverhead
			it.part = noPart
			continue
		}
		q.op.Records[q.left] = *rec
		it.rec = q.left
		q.left++
	}
	for _, q := range p.parts[:p.used] {
		clear(q.op.Records[q.left:])
		q.op.Records = q.op.Records[:q.left]
	}
}
