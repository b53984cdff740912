package server

import (
	"strconv"
	"sync"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/wire"
)

// queue is what a session still has to send. Anybody may add to it, without
// waiting. One goroutine at a time sends: it takes everything there is with begin,
// and ends with end. That is the session's writer, or the goroutine that has a lone message for
// it; see session.sendNow.
type queue struct {
	wake chan struct{} // capacity 1: one token tells the writer to look

	mu     sync.Mutex
	items  []item // guarded by mu
	spare  []item // guarded by mu: the slice taken before, to be used again
	bytes  int64  // guarded by mu: what items keep in memory, deliveries aside: they have credit
	many   bool   // guarded by mu: what is there is not one lone message
	busy   bool   // guarded by mu: a goroutine sends what was taken
	handed bool   // guarded by mu: the writer has to continue with what was taken
	closed bool   // guarded by mu: nothing more is taken in
}

// item is one thing to send: some message already encoded, the replies to a
// batch of publishes, or a delivery.
type item struct {
	raw      []byte
	id       string // of the request that raw answers, "" for a push
	produced *produced
	batch    *broker.Batch
	table    *table // what follows raw; released when the item is sent, or can't be
	alone    bool   // sent by a write of its own: see tracker.push
}

// loneBytes is the size up to which a message that is alone is sent by others
// than the writer: waking that costs about as much as encoding and sending so
// much. Where several messages wait, the time until the writer runs is well spent,
// since it sends those that come until then, too.
const loneBytes = 4 << 10

// spareItems is how many items a queue keeps room for while it is empty.
const spareItems = 256

// lone reports whether the item is one message, and a small one.
func (it *item) lone() bool {
	switch {
	case it.table != nil:
		return false
	case it.produced != nil:
		return it.produced.Len() == 1
	case it.batch != nil:
		return len(it.batch.Items) == 1 && it.batch.Bytes() <= loneBytes
	}
	return len(it.raw) <= loneBytes
}

func (q *queue) init() { q.wake = make(chan struct{}, 1) }

// put adds an item and reports false if the queue is closed. Somebody has to see
// to it that it is sent.
func (q *queue) put(it item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, it)
	q.bytes += int64(len(it.raw))
	if it.table != nil {
		q.bytes += int64(len(it.table.body))
	}
	if it.produced != nil {
		q.bytes += it.produced.bytes
	}
	q.many = len(q.items) > 1 || !it.lone()
	return true
}

// push is put, and leaves the sending to the writer.
func (q *queue) push(it item) bool {
	ok := q.put(it)
	if ok {
		q.signal()
	}
	return ok
}

// close lets the writer send what is there and end.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// begin gives the writer what is queued, if no other goroutine sends. It reports false,
// false when there is nothing to do, and over when there never will be.
func (q *queue) begin() (items []item, ok, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.busy && !q.handed:
		return nil, false, false
	case !q.handed && len(q.items) == 0:
		return nil, false, q.closed
	}
	q.busy, q.handed = true, false
	return q.takeLocked(), true, false
}

// beginLone is begin for others than the writer, to whom more than a lone message
// is left.
func (q *queue) beginLone() (items []item, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy || len(q.items) == 0 {
		return nil, false // who is busy looks again
	}
	if q.many {
		q.signal()
		return nil, false
	}
	q.busy = true
	return q.takeLocked(), true
}

func (q *queue) takeLocked() []item {
	items := q.items
	q.items, q.spare = q.spare[:0], nil
	q.bytes, q.many = 0, false
	return items
}

// end is called when what begin gave is sent.
func (q *queue) end(items []item) {
	clear(items)
	if items = items[:0]; cap(items) > spareItems {
		items = nil
	}
	q.mu.Lock()
	q.busy, q.spare = false, items
	more := len(q.items) > 0 || q.closed
	q.mu.Unlock()
	if more {
		q.signal()
	}
}

// handOver leaves it to the writer to continue.
func (q *queue) handOver() {
	q.mu.Lock()
	q.handed = true
	q.mu.Unlock()
	q.signal()
}

// take gives everything that is queued to a caller that does not send it.
func (q *queue) take() (items []item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeLocked(), q.closed
}

// size is how many bytes replies that wait keep in memory.
func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// encoder turns items into bytes. ends has the end of every message in buf,
// because a WebSocket sends each in a frame of its own.
type encoder struct {
	buf  []byte
	ends []int
	// stopAt is the id whose reply is the last one to send ("" for none), and
	// stopped says that it is in buf.
	stopAt  string
	stopped bool
	// http10 asks for "connection: keep-alive" in every message: clients of
	// HTTP/1.0 close the connection without it.
	http10 bool
	// web has deliveries made as HTTP clients get them: see [wire.Inert].
	web bool

	// What the stored headers of the delivery at hand have said. Fields, and
	// header a method, because a closure would cost allocations a message.
	topic, url bool
	header     func(name, value string) bool
}

func (e *encoder) init() { e.header = e.storedHeader }

// storedHeader encodes one header that was stored with a message.
func (e *encoder) storedHeader(name, value string) bool {
	switch name {
	case wire.HeaderTopic:
		e.topic = true
	case wire.HeaderOriginURL:
		e.url = true
	}
	switch {
	case !e.web || wire.Outward(name):
		e.buf = wire.AppendField(e.buf, name, value)
	case name == wire.HeaderContentType && wire.SafeType(value):
		e.buf = wire.AppendField(e.buf, name, value)
	default:
		if name == wire.HeaderContentType {
			e.buf = append(e.buf, "content-type: application/octet-stream\r\ncontent-disposition: attachment\r\n"...)
		}
		e.buf = wire.AppendField(append(e.buf, wire.HeaderEnvelope...), name, value)
	}
	return true
}

func (e *encoder) reset() { e.buf, e.ends = e.buf[:0], e.ends[:0] }

// borrow has the encoder use a buffer that others used before, if it has none.
func (e *encoder) borrow(from *sync.Pool) {
	if e.buf != nil {
		return
	}
	if shared, ok := from.Get().(*[]byte); ok {
		e.buf = (*shared)[:0]
	}
}

// letGo keeps no large buffer. A session that sends nothing would keep it as long as it lives, and
// there may be thousands of them.
func (e *encoder) letGo(to *sync.Pool) {
	size := cap(e.buf)
	if size <= ownBytes {
		return
	}
	if size <= keepBytes {
		shared := e.buf[:0]
		to.Put(&shared)
	}
	e.buf = nil
}

// start begins a message.
func (e *encoder) start(status int) {
	e.buf = wire.AppendStatus(e.buf, status)
	switch {
	case e.stopAt != "":
		e.buf = append(e.buf, "connection: close\r\n"...)
	case e.http10:
		e.buf = append(e.buf, "connection: keep-alive\r\n"...)
	}
}

// end notes that a message is complete.
func (e *encoder) end(id string) {
	e.ends = append(e.ends, len(e.buf))
	if e.stopAt != "" && id == e.stopAt {
		e.stopped = true
	}
}

func (e *encoder) add(it *item) {
	switch {
	case it.produced != nil:
		it.produced.encode(e)
	case it.batch != nil:
		for i := range it.batch.Items {
			e.delivery(it.batch, i)
		}
	default:
		e.buf = append(e.buf, it.raw...)
		if it.table != nil {
			e.buf = append(e.buf, it.table.body...)
		}
		e.end(it.id)
	}
}

// delivery encodes one message of a batch.
func (e *encoder) delivery(b *broker.Batch, i int) {
	d := &b.Items[i]
	r := d.Record
	e.start(200)
	e.buf = wire.AppendField(e.buf, wire.HeaderID, b.ID)
	e.buf = wire.AppendField(e.buf, wire.HeaderOriginID, r.ID)
	if e.web {
		e.buf = append(e.buf, wire.Inert...)
	}
	e.topic, e.url = false, false
	if r.Headers != "" {
		// A damaged header block would have failed the record's checksum.
		_ = wire.RangeJSON(r.Headers, e.header)
	}
	dst := e.buf
	if !e.topic {
		dst = wire.AppendField(dst, wire.HeaderTopic, b.Sub.Group().Topic().Name())
	}
	if !e.url {
		dst = append(dst, wire.HeaderOriginURL+": /\r\n"...)
	}
	if r.Tag != "" {
		dst = wire.AppendField(dst, wire.HeaderTag, r.Tag)
	}
	// Each line costs clients more than it costs here, so none says what goes without
	// saying: a call is delivered once and is in no log.
	if d.Call == nil {
		dst = wire.AppendInt(dst, wire.HeaderOffset, r.Offset)
		dst = wire.AppendInt(dst, wire.HeaderTimestamp, r.Time)
		if d.Count != 1 || !b.Auto {
			dst = wire.AppendInt(dst, wire.HeaderDeliveryCount, d.Count)
		}
	}
	if b.Window > 1 {
		dst = wire.AppendInt(dst, wire.HeaderWindow, d.Credit)
	}
	if !b.Auto {
		dst = wire.AppendField(dst, wire.HeaderHandle, b.Handle(i))
	}
	e.buf = wire.AppendBody(dst, r.Body)
	e.end(b.ID)
}

// reply encodes an answer without a content type (some clients can't read an
// answer that has one), or with the given one.
func reply(status int, id, contentType string, body []byte, err error, keepAlive bool) []byte {
	dst := make([]byte, 0, 160+len(id)+len(body))
	dst = wire.AppendStatus(dst, status)
	dst = wire.AppendField(dst, wire.HeaderID, id)
	if contentType != "" {
		dst = wire.AppendField(dst, wire.HeaderContentType, contentType)
	}
	if wait := access.RetryAfter(err); wait > 0 {
		dst = wire.AppendField(dst, "retry-after", strconv.Itoa(int(wait.Seconds())))
	}
	if servers := movedTo(err); servers != "" {
		dst = wire.AppendField(dst, wire.HeaderServers, servers)
	}
	if keepAlive {
		dst = append(dst, "connection: keep-alive\r\n"...)
	}
	return wire.AppendBody(dst, body)
}

// idSource makes up ids for messages that come without one: unique in this
// process and hard to guess from outside.
type idSource struct {
	once   sync.Once
	prefix string
	mu     sync.Mutex
	n      uint64 // guarded by mu
}

func (s *idSource) next() string {
	s.once.Do(func() { s.prefix = newUUID()[:23] + "-" })
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	var digits [12]byte
	text := strconv.AppendUint(digits[:0], n, 16)
	return s.prefix + "000000000000"[:12-min(len(text), 12)] + string(text)
}
