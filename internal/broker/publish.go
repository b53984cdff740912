package broker

import (
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Limits of what a message may carry besides its body, in bytes.
const (
	MaxMessageID = 128
	MaxTag       = 127
)

// Publishing is messages on their way into topics: added one by one, handed over
// together, answered together. It can be used again and again. Its methods are for
// one goroutine at a time; between Publish and done it is the broker's.
type Publishing struct {
	b      *Broker
	done   func()
	parts  []*part // one a topic; the first used ones are of this round
	used   int
	items  []published // one a message, in the order of Add
	mem    memory      // of the messages for logs; they leave memory in the order of the commits
	atomic bool        // all of it, and extra, happens in one commit or nothing does
	extra  []storage.Op
	err    error      // of an atomic one
	own    bool       // the broker stores for itself, also while it is being drained
	once   []onceItem // in the order of items

	shares  []*share // one a shard; the first sharing ones are of this round
	sharing int
	open    atomic.Int32 // shares whose fate is not known yet, and one until all are handed over
}

// part is the messages for one topic.
type part struct {
	topic *Topic
	share *share
	op    storage.Append
	err   error
	calls []Call // of a topic for calls: one a record
	mem   memory // of the messages for a memory topic, that stay as long as it likes
}

// memory is what records point into.
type memory struct {
	piece []byte // the last one; full pieces are let go
	kept  int    // bytes of all pieces
}

// published is where a message is, or why it can't be stored. One that was stored before
// has the part noPart, and rec is where it is in Publishing.once.
type published struct {
	id        string
	part, rec int
	err       error
}

const noPart = -1

// NewPublishing makes an empty Publishing. done is called once for each Publish,
// when the fate of all its messages is known and on disk as far as the durability
// setting goes. It may be called before Publish returns, and must not block.
func (b *Broker) NewPublishing(done func()) *Publishing {
	return &Publishing{b: b, done: done}
}

// Len is how many messages were added.
func (p *Publishing) Len() int { return len(p.items) }

// Add takes a message for a topic: ID, Tag, Headers and Body of rec. They are
// copied, but for a body that the caller gives away. more is how many bytes the
// caller expects to add after it, which saves memory and time when it is right.
func (p *Publishing) Add(t *Topic, rec storage.Record, giveAway bool, more int) {
	err := check(t, &rec)
	if err == nil && !p.own {
		err = t.publishable()
	}
	if err != nil {
		p.items = append(p.items, published{id: strings.Clone(rec.ID), err: err})
		return
	}
	i := p.partOf(t)
	q := p.parts[i]
	size := int(rec.Size())
	if giveAway {
		size -= len(rec.Body)
	}
	m := &p.mem
	if t.Memory() {
		m = &q.mem
	}
	m.reserve(size, more)
	rec.ID, rec.Tag, rec.Headers = m.keep(rec.ID), m.keep(rec.Tag), m.keep(rec.Headers)
	if !giveAway && len(rec.Body) > 0 {
		start := len(m.piece)
		m.piece = append(m.piece, rec.Body...)
		rec.Body = m.piece[start:len(m.piece):len(m.piece)]
	}
	q.op.Records = append(q.op.Records, rec)
	p.items = append(p.items, published{id: rec.ID, part: i, rec: len(q.op.Records) - 1})
	q.share.ticket.Bytes += rec.Size() + recordOverhead
}

// reserve makes room for size bytes, and for some of the others that are expected.
// These may be for somebody else, and what is not used is not counted: no more than
// twice what is used, or 1 KiB.
func (m *memory) reserve(size, more int) {
	if cap(m.piece)-len(m.piece) < size {
		m.piece = make([]byte, 0, size+min(max(more, 0), max(2*m.kept, 1<<10)))
	}
	m.kept += size
}

// keep copies a string into memory that has room for it. That memory is never
// written again, so it is right to call it a string.
func (m *memory) keep(s string) string {
	start := len(m.piece)
	m.piece = append(m.piece, s...)
	return unsafe.String(unsafe.SliceData(m.piece[start:]), len(s))
}

// partOf finds or makes the part of a topic. A caller publishes to few topics at a
// time, so they are searched from the last one used.
func (p *Publishing) partOf(t *Topic) int {
	for i := p.used - 1; i >= 0; i-- {
		if p.parts[i].topic == t {
			return i
		}
	}
	if p.used == len(p.parts) {
		p.parts = append(p.parts, new(part))
	}
	q := p.parts[p.used]
	q.topic, q.share, q.op.Topic = t, p.shareOf(t.shard), t.id
	p.used++
	return p.used - 1
}

// Reset empties p for the next round.
func (p *Publishing) Reset() {
	for _, q := range p.parts[:p.used] {
		clear(q.calls)
		*q = part{calls: q.calls[:0]} // the records are the topic's now
	}
	clear(p.items)
	clear(p.once)
	for _, s := range p.shares[:p.sharing] {
		s.reset()
	}
	p.used, p.sharing, p.items, p.mem, p.once = 0, 0, p.items[:0], memory{}, p.once[:0]
}

// Publish stores the messages, each in its topic, in the order of Add.
func (p *Publishing) Publish() {
	if err := p.refusal(); err != nil {
		p.refuse(err)
		return
	}
	now := p.b.now()
	for _, q := range p.parts[:p.used] {
		for i := range q.op.Records {
			q.op.Records[i].Time = now
		}
		if !q.topic.Memory() {
			q.share.ticket.Ops = append(q.share.ticket.Ops, &q.op)
		}
	}
	p.open.Store(int32(p.sharing) + 1)
	for _, s := range p.shares[:p.sharing] {
		s.submit()
	}
	p.answer()
}

// refusal says why nothing at all is stored of an atomic one.
func (p *Publishing) refusal() error {
	if !p.atomic {
		return nil
	}
	for i := range p.items {
		if err := p.items[i].err; err != nil {
			return err
		}
	}
	var in oneShard
	for _, q := range p.parts[:p.used] {
		if err := in.add(q.topic); err != nil {
			return err
		}
	}
	return nil
}

// refuse stores nothing.
func (p *Publishing) refuse(err error) {
	p.open.Store(int32(p.sharing) + 1)
	for _, s := range p.shares[:p.sharing] {
		s.fail(err)
		s.end()
	}
	p.err = err
	p.answer()
}

// answer answers the publisher, when the fate of everything is known.
func (p *Publishing) answer() {
	if p.open.Add(-1) == 0 {
		p.done()
	}
}

// check refuses what no store would take.
func check(t *Topic, r *storage.Record) error {
	switch {
	case t.gone.Load():
		return topicNotFound(t.name)
	case t.refusal.Load() != nil: // of a storage that has failed its committer tells: some ids are unknown, not refused
		return t.Refused()
	case len(r.ID) > MaxMessageID:
		return errorf(Invalid, "message id has %d bytes: at most %d are allowed", len(r.ID), MaxMessageID)
	case len(r.Tag) > MaxTag:
		return errorf(Invalid, "tag has %d bytes: at most %d are allowed", len(r.Tag), MaxTag)
	}
	return nil
}

// Result is what became of message i: its id and its time, or why it was not
// stored.
func (p *Publishing) Result(i int) (id string, time int64, err error) {
	it := &p.items[i]
	if it.err != nil {
		return it.id, 0, it.err
	}
	if it.part == noPart {
		e := p.once[it.rec].knownID
		return it.id, e.time, e.err
	}
	q := p.parts[it.part]
	return it.id, q.op.Records[it.rec].Time, q.err
}

// Unknown reports whether some messages may be stored or not.
func (p *Publishing) Unknown() bool {
	for _, q := range p.parts[:p.used] {
		if q.err != nil && CodeOf(q.err) == Unknown {
			return true
		}
	}
	for _, o := range p.once {
		if err := p.items[o.item].err; err != nil && CodeOf(err) == Unknown {
			return true
		}
	}
	return false
}

// record is message i as it was stored, or why it was not.
func (p *Publishing) record(i int) (*storage.Record, error) {
	it := &p.items[i]
	if it.err != nil {
		return nil, it.err
	}
	q := p.parts[it.part]
	return &q.op.Records[it.rec], q.err
}

// extend moves the head over records that were committed.
func (t *Topic) extend(recs []storage.Record) {
	size := int64(0)
	for i := range recs {
		size += recs[i].Size()
	}
	last := &recs[len(recs)-1]
	t.mu.Lock()
	t.def.Bytes += size
	t.published.Add(int64(len(recs)))
	t.def.LastTime = last.Time
	t.next.Store(last.Offset + 1)
	t.mu.Unlock()
}
