package broker

import (
	"github.com/rushmore/zbus-go/internal/storage"
)

// share is what of a Publishing goes to one shard: one commit, and the messages for topics in
// memory that are defined there.
type share struct {
	p      *Publishing
	shard  *shard
	ticket storage.Ticket
	claim  *claim // the ids that are known from now on; nil without any
}

// findShare finds the share of a shard, or returns nil.
func (p *Publishing) findShare(s *shard) *share {
	for _, of := range p.shares[:p.sharing] {
		if of.shard == s {
			return of
		}
	}
	return nil
}

// shareOf finds or makes the share of a shard.
func (p *Publishing) shareOf(s *shard) *share {
	if of := p.findShare(s); of != nil {
		return of
	}
	if p.sharing == len(p.shares) {
		of := &share{p: p}
		of.ticket.Done = of.committed
		p.shares = append(p.shares, of)
	}
	of := p.shares[p.sharing]
	of.shard = s
	p.sharing++
	return of
}

// reset empties it for the next round.
func (s *share) reset() {
	clear(s.ticket.Ops)
	s.ticket = storage.Ticket{Ops: s.ticket.Ops[:0], Done: s.ticket.Done}
	s.shard, s.claim = nil, nil
}

// submit hands the share over to its shard.
func (s *share) submit() {
	if p := s.p; p.atomic && len(s.ticket.Ops)+len(p.extra) > 0 {
		s.ticket.Ops = []storage.Op{&storage.Atomic{Ops: append(s.ticket.Ops, p.extra...)}}
	}
	err := s.shard.failure()
	switch {
	case len(s.ticket.Ops) > 0:
		err = s.shard.Submit(&s.ticket)
	case err == nil:
		s.finish()
	}
	if err != nil {
		s.fail(err)
		s.end()
	}
}

// committed is the ticket's Done: the messages are stored and synced.
func (s *share) committed(t *storage.Ticket) {
	errs := t.Errs
	if s.p.atomic {
		s.fail(errs[0])
		s.finish()
		return
	}
	for _, q := range s.p.parts[:s.p.used] {
		if q.share == s && q.stored() {
			q.err, errs = errs[0], errs[1:]
		}
	}
	s.finish()
}

// fail gives all messages of the share the same outcome.
func (s *share) fail(err error) {
	if s.p.atomic {
		s.p.err = err
	}
	for _, q := range s.p.parts[:s.p.used] {
		if q.share == s {
			q.err = err
		}
	}
}

// finish makes the messages visible to consumers and answers the publisher. The
// records of log topics are on disk by now.
func (s *share) finish() {
	for _, q := range s.p.parts[:s.p.used] {
		switch {
		case q.share != s || len(q.op.Records) == 0:
			continue
		case q.err != nil:
		default:
			q.err = q.topic.log.accept(q)
		}
		if q.err == nil {
			q.topic.wake()
		}
	}
	s.end()
}

// end tells that the fate of all messages of the share is known.
func (s *share) end() {
	if s.claim != nil {
		s.shard.ids.resolve(s.claim, s.p)
	}
	s.p.answer()
}

// oneShard refuses topics that are not all in one storage: a commit is of one.
type oneShard struct{ first *Topic }

func (o *oneShard) add(t *Topic) error {
	if o.first == nil {
		o.first = t
	}
	if o.first.shard != t.shard {
		return errorf(Invalid, "Topic(%s) and Topic(%s) are in two storages: one commit can't be of both", o.first.name, t.name)
	}
	return nil
}
