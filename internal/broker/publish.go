package broker

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Limits of what a message may carry besides its body, in bytes.
const (
	MaxMessageID = 128
	MaxTag       = 127
)

// Publishing is messages on their way into topics: added one by one, handed over
// together, answered together. Everything that is put into a topic goes this way, from every door.
// It can be used again and again. Its methods are for one goroutine at a time; between
// Publish and done it is the broker's.
type Publishing struct {
	b      *Broker
	done   func()
	parts  []*part // one a topic; the first used ones are of this round
	used   int
	items  []published // one a message, in the order of Add
	known  []knownItem // of those that are stored once, in the order of items
	mem    memory      // of the messages for logs; they leave memory in the order of the commits
	atomic bool        // all of it, and extra, happens in one commit or nothing does
	began  time.Time   // the last Publish
	extra  []storage.Op
	err    error // of an atomic one
	own    bool  // the broker stores for itself, also while it is being drained
	over   error // the first message's that is more than the owner of its topic may store

	shares  []*share // one a shard; the first sharing ones are of this round
	sharing int
	open    atomic.Int32 // shares whose fate is not known yet, and one until all are handed over
}

// Message is what is put into a topic.
type Message struct {
	Topic *Topic
	// ID, Tag, Headers and Body. They are copied, but for a body that is given away.
	storage.Record
	Dedup Dedup
	Call  bool // the caller waits for an answer: see [Publishing.Attach]
	// GiveAway says that the broker may keep the body as it is.
	GiveAway bool
	// More is how many bytes the caller expects to add after it, which saves memory and time
	// when it is right.
	More int
}

// Dedup says whether a message is not stored if its topic was given one with its id within
// the window, see [Options.DedupWindow].
type Dedup int8

// What its id does for a message.
const (
	NoDedup     Dedup = iota // nothing: it is not known by it later, either
	DedupKnown               // it is stored once, as far as ids are kept
	DedupAlways              // it is stored once, and refused where ids are not kept
)

// Stored is what became of a message.
type Stored struct {
	ID        string
	Offset    int64
	Time      int64 // Unix milliseconds
	Duplicate bool  // the id was known: nothing was stored, this is the first message
}

// part is the messages for one topic.
type part struct {
	topic *Topic
	share *share
	op    storage.Append
	err   error
	calls []Call // of a topic for calls: one a record
	left  int    // see leaveOut
	mem   memory // of the messages for a memory topic, that stay as long as it likes
	room  kept   // for the messages, until they are stored
}

// stored reports whether there is something to commit.
func (q *part) stored() bool { return !q.topic.Memory() && len(q.op.Records) > 0 }

// memory is what records point into.
type memory struct {
	piece []byte // the last one; full pieces are let go
	kept  int    // bytes of all pieces
}

// published is where a message is, or why it can't be stored.
type published struct {
	id        string
	part, rec int // part is noPart when it is not to be stored
	known     int // 1 + where it is in Publishing.known; 0: it is not
	err       error
}

const noPart = -1

// NewPublishing creates an empty Publishing. done is called once for each Publish,
// when the fate of all its messages is known and on disk as far as the durability
// setting goes. It may be called before Publish returns, and must not block.
func (b *Broker) NewPublishing(done func()) *Publishing {
	return &Publishing{b: b, done: done}
}

// Len is how many messages were added.
func (p *Publishing) Len() int { return len(p.items) }

// Add takes a message.
func (p *Publishing) Add(m Message) {
	t := m.Topic
	err := m.check(p.own)
	once := m.Dedup != NoDedup && t.shard.ids.window > 0 // then it may be stored already: see claim
	var room kept
	if err == nil && !p.own && !once {
		room, err = p.keepRoom(t, m.Size())
	}
	if err != nil {
		p.items = append(p.items, published{id: strings.Clone(m.ID), part: noPart, err: err})
		return
	}
	rec := &m.Record
	it := published{part: p.partOf(t)}
	if once {
		p.known = append(p.known, knownItem{item: len(p.items)})
		it.known = len(p.known)
		if rest, ok := strings.CutPrefix(rec.Headers, nativeHeaders); ok {
			rec.Headers = onceHeaders + rest
		}
	}
	q := p.parts[it.part]
	q.hold(room)
	mem := &p.mem
	if t.Memory() {
		mem = &q.mem
	}
	mem.take(rec, m.GiveAway, m.More)
	it.id, it.rec = rec.ID, len(q.op.Records)
	q.op.Records = append(q.op.Records, *rec)
	q.share.ticket.Bytes += rec.Size() + recordOverhead
	p.items = append(p.items, it)
}

// check refuses what can't be put into its topic. own is what the broker stores for itself.
func (m *Message) check(own bool) error {
	t := m.Topic
	switch {
	case t.gone.Load():
		return topicNotFound(t.name)
	case t.refusal.Load() != nil: // of a storage that has failed its committer tells: some ids are unknown, not refused
		return t.Refused()
	case len(m.ID) > MaxMessageID:
		return errorf(Invalid, "message id has %d bytes: at most %d are allowed", len(m.ID), MaxMessageID)
	case len(m.Tag) > MaxTag:
		return errorf(Invalid, "tag has %d bytes: at most %d are allowed", len(m.Tag), MaxTag)
	case own:
		return nil
	case m.Call && !t.Calls():
		return errorf(Invalid, "Topic(%s) is not for calls: declare one with kind rpc", t.name)
	case !m.Call && t.Calls():
		return errorf(Invalid, "Topic(%s) is for calls: a message in it would have nobody to answer to", t.name)
	case m.Dedup != NoDedup && m.Call:
		return errorf(Invalid, "Topic(%s) is for calls, which are not stored: publish without dedup", t.name)
	case m.Dedup == DedupAlways && t.shard.ids.window == 0:
		return errorf(Invalid, "ids are not kept: start the broker with a --dedup-window, or publish without dedup")
	}
	if limit := t.b.opts.MaxBody; limit > 0 && int64(len(m.Body)) > limit {
		return errorf(TooLarge, "the body of a message has %d bytes: at most %d are allowed", len(m.Body), limit)
	}
	if m.Dedup != NoDedup && t.shard.ids.window > 0 {
		return nil // what is stored already is answered, wherever new messages go: see claimIDs
	}
	return t.publishable()
}

// take copies a record into memory, but for a body that is given away.
func (m *memory) take(rec *storage.Record, giveAway bool, more int) {
	size := int(rec.Size())
	if giveAway {
		size -= len(rec.Body)
	}
	m.reserve(size, more)
	rec.ID, rec.Tag, rec.Headers = m.keep(rec.ID), m.keep(rec.Tag), m.keep(rec.Headers)
	if !giveAway && len(rec.Body) > 0 {
		start := len(m.piece)
		m.piece = append(m.piece, rec.Body...)
		rec.Body = m.piece[start:len(m.piece):len(m.piece)]
	}
}

// reserve makes room for size bytes, and for some of the others that are expected.
// These may be for another consumer, and what is not used is not counted: no more than
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
		q.room.release()
		clear(q.calls)
		*q = part{calls: q.calls[:0]} // the records are the topic's now
	}
	clear(p.items)
	clear(p.known)
	for _, s := range p.shares[:p.sharing] {
		s.reset()
	}
	p.used, p.sharing, p.items, p.mem, p.known, p.over = 0, 0, p.items[:0], memory{}, p.known[:0], nil
}

// Publish stores the messages, each in its topic, in the order of Add. It waits, until ctx ends,
// only for messages that are stored once: where another caller is just storing one of the
// ids, and where those of an earlier process have to be read.
//
// It returns why a message is more than the owner of its topic may store, if one is, as its Result
// does: the caller is to be slowed down, see [access.Cool].
func (p *Publishing) Publish(ctx context.Context) (over error) {
	err := p.refusal()
	if err == nil && len(p.known) > 0 {
		p.claim(ctx)
		err = p.refusal()
	}
	over = p.over // before the shares are handed over: p is the broker's then
	if err != nil {
		p.refuse(err)
		return over
	}
	now := p.b.now()
	p.began = time.Now()
	for _, q := range p.parts[:p.used] {
		for i := range q.op.Records {
			q.op.Records[i].Time = now
		}
		if q.stored() {
			q.share.ticket.Ops = append(q.share.ticket.Ops, &q.op)
		}
	}
	p.open.Store(int32(p.sharing) + 1)
	for _, s := range p.shares[:p.sharing] {
		s.submit()
	}
	p.answer()
	return over
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
		for _, q := range p.parts[:p.used] {
			q.room.release()
		}
		p.done()
	}
}

// Result is what became of message i, or why it was not stored.
func (p *Publishing) Result(i int) (Stored, error) {
	it := &p.items[i]
	switch {
	case it.err != nil:
		return Stored{ID: it.id}, it.err
	case it.part == noPart:
		e := p.known[it.known-1].knownID
		return Stored{it.id, e.offset, e.time, true}, e.err
	}
	q := p.parts[it.part]
	rec := &q.op.Records[it.rec]
	return Stored{ID: it.id, Offset: rec.Offset, Time: rec.Time}, q.err
}

// Unknown reports whether some messages may be stored or not.
func (p *Publishing) Unknown() bool {
	for _, q := range p.parts[:p.used] {
		if q.err != nil && CodeOf(q.err) == Unknown {
			return true
		}
	}
	for _, k := range p.known {
		if err := p.items[k.item].err; err != nil && CodeOf(err) == Unknown {
			return true
		}
	}
	return false
}

// extend moves the head over records that were committed.
func (t *Topic) extend(recs []storage.Record) {
	size := int64(0)
	for i := range recs {
		size += recs[i].Size()
	}
	last := &recs[len(recs)-1]
	t.mu.Lock()
	t.resize(size)
	t.published.Add(int64(len(recs)))
	t.def.LastTime = last.Time
	t.next.Store(last.Offset + 1)
	t.mu.Unlock()
}
