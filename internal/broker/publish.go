package broker

import (
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

// Publication is one message on its way into a topic.
type Publication struct {
	Topic  *Topic
	Record storage.Record // Offset and Time are set when done is called without Err
	Err    error          // why the message was not stored

	app, rec int // which append the record is in, and where
}

// publishing is one call of Publish until its commit.
type publishing struct {
	b       *Broker
	pubs    []Publication
	appends []*storage.Append // one a topic
	topics  []*Topic          // of the appends
	errs    []error           // of the appends
	ticket  storage.Ticket
	done    func([]Publication)
}

// Publish stores messages, each in its topic, in the order given. done is called
// once, when the fate of all is known and on disk as far as the durability
// setting goes; it may be called before Publish returns, and must not block.
// Records must not be changed after the call.
func (b *Broker) Publish(pubs []Publication, done func([]Publication)) {
	p := &publishing{b: b, pubs: pubs, done: done}
	now := b.now()
	size := int64(0)
	for i := range pubs {
		pub := &pubs[i]
		pub.Record.Time = now
		pub.Err = check(pub)
		if pub.Err == nil {
			p.add(pub)
			size += pub.Record.Size() + recordOverhead
		}
	}
	if len(p.appends) == 0 {
		done(pubs)
		return
	}
	p.errs = make([]error, len(p.appends))
	if p.onlyMemory() {
		p.finish()
		return
	}
	ops := make([]storage.Op, 0, len(p.appends))
	for i, a := range p.appends {
		if !p.topics[i].memory {
			ops = append(ops, a)
		}
	}
	p.ticket = storage.Ticket{Ops: ops, Bytes: size, Done: p.committed}
	if err := b.writer.Submit(&p.ticket); err != nil {
		for i := range p.errs {
			p.errs[i] = err
		}
		p.answer()
	}
}

// check refuses what no store would take.
func check(pub *Publication) error {
	r := &pub.Record
	switch {
	case pub.Topic.gone.Load():
		return topicNotFound(pub.Topic.name)
	case len(r.ID) > MaxMessageID:
		return errorf(Invalid, "message id has %d bytes: at most %d are allowed", len(r.ID), MaxMessageID)
	case len(r.Tag) > MaxTag:
		return errorf(Invalid, "tag has %d bytes: at most %d are allowed", len(r.Tag), MaxTag)
	}
	return nil
}

// add puts a publication into the append of its topic. A caller publishes to few
// topics at a time, so they are searched from the last one used.
func (p *publishing) add(pub *Publication) {
	i := len(p.topics) - 1
	for i >= 0 && p.topics[i] != pub.Topic {
		i--
	}
	if i < 0 {
		i = len(p.topics)
		p.topics = append(p.topics, pub.Topic)
		p.appends = append(p.appends, &storage.Append{
			Topic: pub.Topic.id, Records: make([]storage.Record, 0, len(p.pubs)),
		})
	}
	a := p.appends[i]
	a.Records = append(a.Records, pub.Record)
	pub.app, pub.rec = i, len(a.Records)-1
}

func (p *publishing) onlyMemory() bool {
	for _, t := range p.topics {
		if !t.memory {
			return false
		}
	}
	return true
}

// committed is the ticket's Done: the messages are stored and synced.
func (p *publishing) committed(t *storage.Ticket) {
	k := 0
	for i, topic := range p.topics {
		if !topic.memory {
			p.errs[i] = t.Errs[k]
			k++
		}
	}
	p.finish()
}

// finish makes the messages visible to consumers and answers the publisher. The
// records of log topics are on disk by now.
func (p *publishing) finish() {
	for i, t := range p.topics {
		recs := p.appends[i].Records
		switch {
		case p.errs[i] != nil:
		case t.memory:
			p.errs[i] = t.remember(recs)
		default:
			p.b.tails.push(t, recs)
			t.extend(recs)
		}
		if p.errs[i] == nil {
			t.wake()
		}
	}
	p.answer()
}

func (p *publishing) answer() {
	for i := range p.pubs {
		pub := &p.pubs[i]
		if pub.Err != nil {
			continue
		}
		if pub.Err = p.errs[pub.app]; pub.Err == nil {
			r := &p.appends[pub.app].Records[pub.rec]
			pub.Record.Offset, pub.Record.Time = r.Offset, r.Time
		}
	}
	p.done(p.pubs)
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
	t.def.LastTime = last.Time
	t.next.Store(last.Offset + 1)
	t.mu.Unlock()
}

// remember appends records to a memory topic. A call (RPC) is refused when no
// provider is there or too many wait; other memory topics drop their oldest
// messages, as their retention says.
func (t *Topic) remember(recs []storage.Record) error {
	b := t.b
	t.mu.Lock()
	defer t.mu.Unlock()
	rpc := t.Calls()
	if rpc && t.subs.Load() == 0 {
		return errorf(Unavailable, "Topic(%s) has no provider: start one that consumes it", t.name)
	}
	cost := chunkCost(recs)
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
	t.b.memory.Add(-t.tail.trim(first))
	t.first.Store(first)
}
