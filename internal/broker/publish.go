package broker

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Limits of what a message may carry besides its body, in bytes.
const (
	MaxMessageID = 128
	MaxTag       = 127
)

// Default limits of a memory topic that declares no retention.
const (
	memoryCount = 10_000
	memoryBytes = 64 << 20
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
	bytes  int64
	ticket storage.Ticket
	atomic bool // all of it, and extra, happens in one commit or nothing does
	extra  []storage.Op
	err    error      // of an atomic one
	own    bool       // the broker stores for itself, also while it is being drained
	claim  *claim     // the ids that are known from now on; nil without any
	once   []onceItem // in the order of items
}

// part is the messages for one topic.
type part struct {
	topic *Topic
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
	p := &Publishing{b: b, done: done}
	p.ticket.Done = p.committed
	return p
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
	p.bytes += rec.Size() + recordOverhead
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
	q.topic, q.op.Topic = t, t.id
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
	clear(p.ticket.Ops)
	p.used, p.items, p.bytes, p.mem = 0, p.items[:0], 0, memory{}
	p.claim, p.once = nil, p.once[:0]
	p.ticket.Ops, p.ticket.Errs = p.ticket.Ops[:0], nil
}

// Publish stores the messages, each in its topic, in the order of Add.
func (p *Publishing) Publish() {
	refused := slices.IndexFunc(p.items, func(it published) bool { return it.err != nil })
	if p.atomic && refused >= 0 {
		p.fail(p.items[refused].err)
		p.end()
		return
	}
	now := p.b.now()
	for _, q := range p.parts[:p.used] {
		for i := range q.op.Records {
			q.op.Records[i].Time = now
		}
		if !q.topic.Memory() {
			p.ticket.Ops = append(p.ticket.Ops, &q.op)
		}
	}
	if p.atomic && len(p.ticket.Ops)+len(p.extra) > 0 {
		p.ticket.Ops = []storage.Op{&storage.Atomic{Ops: append(p.ticket.Ops, p.extra...)}}
	}
	if len(p.ticket.Ops) == 0 {
		p.finish()
		return
	}
	p.ticket.Bytes = p.bytes
	if err := p.b.writer.Submit(&p.ticket); err != nil {
		p.fail(err)
		p.end()
	}
}

// end answers the publisher, once the fate of everything is known.
func (p *Publishing) end() {
	if p.claim != nil {
		p.b.ids.resolve(p.claim, p)
	}
	p.done()
}

// check refuses what no store would take.
func check(t *Topic, r *storage.Record) error {
	switch {
	case t.gone.Load():
		return topicNotFound(t.name)
	case t.refusal.Load() != nil:
		return t.Refused()
	case len(r.ID) > MaxMessageID:
		return errorf(Invalid, "message id has %d bytes: at most %d are allowed", len(r.ID), MaxMessageID)
	case len(r.Tag) > MaxTag:
		return errorf(Invalid, "tag has %d bytes: at most %d are allowed", len(r.Tag), MaxTag)
	}
	return nil
}

// committed is the ticket's Done: the messages are stored and synced.
func (p *Publishing) committed(t *storage.Ticket) {
	errs := t.Errs
	if p.atomic {
		p.fail(errs[0])
		p.finish()
		return
	}
	for _, q := range p.parts[:p.used] {
		if !q.topic.Memory() {
			q.err, errs = errs[0], errs[1:]
		}
	}
	p.finish()
}

// fail gives all messages the same outcome.
func (p *Publishing) fail(err error) {
	p.err = err
	for _, q := range p.parts[:p.used] {
		q.err = err
	}
}

// finish makes the messages visible to consumers and answers the publisher. The
// records of log topics are on disk by now.
func (p *Publishing) finish() {
	for _, q := range p.parts[:p.used] {
		recs := q.op.Records
		switch {
		case q.err != nil:
		case q.topic.Memory():
			q.err = q.topic.remember(recs, q.calls)
		default:
			p.b.tails.push(q.topic, recs)
			q.topic.extend(recs)
		}
		if q.err == nil {
			q.topic.wake()
		}
	}
	p.end()
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

// remember appends records to a memory topic. A call (RPC) is refused when no
// provider is there or too many wait; other memory topics drop their oldest
// messages, as their retention says.
func (t *Topic) remember(recs []storage.Record, calls []Call) error {
	b := t.b
	t.mu.Lock()
	defer t.mu.Unlock()
	rpc := t.Calls()
	if rpc && t.subs.Load() == 0 && !t.expectProvider() {
		return errorf(Unavailable, "Topic(%s) has no provider: start one that consumes it", t.name)
	}
	cost := chunkCost(recs)
	if rpc {
		t.sweep(cost)
	}
	count, bytes := t.memoryLimits()
	if t.next.Load()+int64(len(recs))-t.first.Load() > count || t.tail.bytes+cost > bytes {
		t.forget(t.settledBelow())
		over := max(t.next.Load()+int64(len(recs))-count, t.first.Load())
		if rpc && (over > t.first.Load() || t.tail.bytes+cost > bytes) {
			return errorf(Unavailable, "Topic(%s) has too many calls waiting: try again later", t.name)
		}
		t.forget(over)
		for t.tail.bytes+cost > bytes && len(t.tail.chunks) > 0 {
			t.forget(t.tail.chunks[0][0].Offset + int64(len(t.tail.chunks[0])))
		}
	}
	if b.memory.Add(cost) > b.opts.MemoryBytes {
		b.memory.Add(-cost)
		return errorf(Unavailable, "memory topics are at their limit of %d bytes: try again later", b.opts.MemoryBytes)
	}
	next := t.next.Load()
	for i := range recs {
		recs[i].Offset = next + int64(i)
		recs[i].Time = max(recs[i].Time, t.def.LastTime)
		recs[i].CRC = 1
		t.def.Bytes += recs[i].Size()
	}
	t.def.LastTime = recs[len(recs)-1].Time
	t.tail.push(recs)
	if rpc {
		t.calls.push(next, calls, len(recs))
	}
	t.published.Add(int64(len(recs)))
	t.next.Store(next + int64(len(recs)))
	return nil
}

// memoryLimits are the message and byte limits of a memory topic.
func (t *Topic) memoryLimits() (count, bytes int64) {
	count, bytes = t.def.Retention.MaxCount, t.def.Retention.MaxBytes
	if count == 0 {
		count = memoryCount
	}
	if bytes == 0 {
		bytes = memoryBytes
	}
	return count, bytes
}

// settledBelow is the offset below which every group is done; without a group
// nobody is. Called with t.mu held; it reads the groups' cursors without their
// locks, which may make it too low, never too high.
func (t *Topic) settledBelow() int64 {
	if len(t.groups) == 0 {
		return t.first.Load()
	}
	low := t.next.Load()
	for _, g := range t.groups {
		low = min(low, g.settledTo.Load())
	}
	return low
}

// forget drops a memory topic's messages below an offset. Called with t.mu held.
func (t *Topic) forget(first int64) {
	first = min(first, t.next.Load())
	if first <= t.first.Load() {
		return
	}
	for _, chunk := range t.tail.chunks {
		if chunk[0].Offset >= first {
			break
		}
		for i := range chunk {
			if chunk[i].Offset < first {
				t.def.Bytes -= chunk[i].Size()
			}
		}
	}
	t.calls.trim(first)
	t.b.memory.Add(-t.tail.trim(first))
	t.first.Store(first)
	t.dropped()
}
