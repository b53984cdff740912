package wire

import (
	"fmt"
	"io"
	"unsafe"
)

// Limits bound what a Reader accepts. A zero stands for the default.
type Limits struct {
	Head   int   // bytes from the start line to the empty line, both included; default 32 KiB, at most 1 GiB
	Fields int   // header lines, framing ones included; default 64
	Body   int64 // bytes of a decoded body; default 16 MiB, at most 1 TiB
}

func (l Limits) withDefaults() Limits {
	if l.Head <= 0 {
		l.Head = 32 << 10
	}
	if l.Fields <= 0 {
		l.Fields = 64
	}
	if l.Body <= 0 {
		l.Body = 16 << 20
	}
	l.Head, l.Body = min(l.Head, 1<<30), min(l.Body, 1<<40)
	return l
}

// Error is a refused frame. Status is what to answer with: 400 bad framing, 413
// body too long, 431 head too long, 501 unknown transfer-encoding, 503 no
// memory. Where the next frame would start is unknown, so the connection has to
// be closed; but see SkipLong.
type Error struct {
	Status int
	Reason string // what was wrong and what would be right
	ID     string // of the request, where its head is in order and says it

	Command bool // the head has a cmd header; of a body too long

	cause error // of a 503
}

// Error returns the status and the reason.
func (e *Error) Error() string { return fmt.Sprintf("refused with %d: %s", e.Status, e.Reason) }

// Unwrap returns the error of the memory budget, if that was the reason.
func (e *Error) Unwrap() error { return e.cause }

// Reader takes messages off a stream of bytes. It is for one goroutine.
//
// Next, Borrow, Peek and WantsContinue look at what is buffered and never wait; only
// Fill and Read wait. After an *Error the stream is dead and every method that
// returns an error returns that one again. Errors of the source itself, a
// deadline for example, are not remembered.
type Reader struct {
	src     io.Reader
	lim     Limits
	reserve func(delta int) error // nil if memory is not counted
	err     error                 // the *Error that killed the stream, or io.ErrClosedPipe
	skip    int64                 // bytes of a refused frame that are still to come
	skipped int64                 // of it, how many came

	buffer

	// The frame at the front of the buffer.
	head      head
	chunks    chunks
	continued bool // WantsContinue has said yes

	spare *Message // given back by Recycle
}

// NewReader returns a Reader of src. It holds no buffer until the first Fill.
func NewReader(src io.Reader, lim Limits) *Reader {
	return &Reader{src: src, lim: lim.withDefaults()}
}

// Reserve has the size of the buffer counted: reserve is called with the
// difference in bytes before the buffer grows or shrinks, on the goroutine that
// uses the Reader. An error refuses growth and becomes an *Error with status 503
// that wraps it; it is ignored for a negative delta. A message is not counted: it
// belongs to the caller. Call Reserve before the first Fill, and Release at the
// end to have everything given back.
func (r *Reader) Reserve(reserve func(delta int) error) { r.reserve = reserve }

// Next returns the next message if all of it is buffered, else nil and nil. It
// never reads from the source.
func (r *Reader) Next() (*Message, error) {
	whole, err := r.scan()
	if err != nil || !whole {
		return nil, err
	}
	return r.take(), nil
}

// Borrow is like Next, but saves the copy: the message lies in the Reader's buffer
// and is valid until the next call of a method of the Reader. A message that has
// filled most of a large buffer is not borrowed but given, and given is true: it
// belongs to the caller like one of Next.
func (r *Reader) Borrow() (m *Message, given bool, err error) {
	whole, err := r.scan()
	if err != nil || !whole {
		return nil, false, err
	}
	if len(r.buf) > maxBuffer {
		return r.take(), true, nil
	}
	size, next := r.extent()
	frame := r.buf[r.start : r.start+size : r.start+size]
	r.start += next
	return r.message(frame), false, nil
}

// Read returns the next message and waits for it. It returns io.EOF at the end
// of the stream and io.ErrUnexpectedEOF if that is in the middle of a frame.
func (r *Reader) Read() (*Message, error) {
	for {
		m, err := r.Next()
		if m != nil || err != nil {
			return m, err
		}
		if err := r.Fill(); err != nil {
			return nil, err
		}
	}
}

// Buffered returns the bytes that were read and not yet consumed. They are
// valid until the next call. After Peek they are as they arrived, so the
// connection can be handed over; once Next has looked at a chunked body they
// are not.
func (r *Reader) Buffered() []byte { return r.buf[r.start:r.end] }

// Peek returns the head of the next message, from its start line to its empty
// line, if all of it is buffered. It consumes nothing and does not look at the
// body, not even at its announced length, so the caller can still give the
// connection to someone else. The bytes are valid until the next call. If the
// head is bad, ok is false and Next returns the error.
func (r *Reader) Peek() (head []byte, ok bool) {
	if r.skip > 0 {
		if r.discard(); r.skip > 0 {
			return nil, false
		}
	}
	if ok, err := r.scanHead(); err != nil || !ok {
		return nil, false
	}
	return r.Buffered()[:r.head.size], true
}

// PeekURL returns the URL of the message that Peek shows, empty for a response.
func (r *Reader) PeekURL() []byte {
	head, ok := r.Peek()
	if !ok || r.head.start.status != 0 {
		return nil
	}
	return head[r.head.start.url:r.head.start.urlEnd]
}

// PeekMethod returns the method of the message that Peek shows, empty for a response.
func (r *Reader) PeekMethod() []byte {
	head, ok := r.Peek()
	if !ok || r.head.start.status != 0 {
		return nil
	}
	return head[:r.head.start.method]
}

// PeekMinor returns the minor version of HTTP of the message that Peek shows.
func (r *Reader) PeekMinor() int {
	if _, ok := r.Peek(); !ok {
		return 1
	}
	return r.head.start.minor
}

// PeekField returns the last value of a header (name in lower case) of the
// message that Peek shows. The framing headers are not found.
func (r *Reader) PeekField(name string) (value []byte, ok bool) {
	head, ok := r.Peek()
	if !ok {
		return nil, false
	}
	for i := len(r.head.fields) - 1; i >= 0; i-- {
		f := r.head.fields[i]
		if foldEqual(head[f.name:f.colon], name) {
			return head[f.value:f.end], true
		}
	}
	return nil, false
}

// WantsContinue reports, once per message, that the sender waits for a
// 100 Continue: the head says expect: 100-continue and the body is not all here.
func (r *Reader) WantsContinue() bool {
	whole, err := r.scan()
	if whole || err != nil || !r.head.expects || r.head.size == 0 || r.continued {
		return false
	}
	r.continued = true
	return true
}

// SkipLong has the rest of a frame thrown away that was refused with 413, so that the
// stream lives and the next frame is read. It reports false, and the stream stays dead, for
// a body of unknown length, one of more than most bytes, or one that its sender may not
// send, since it has not been told to continue.
func (r *Reader) SkipLong(most int64) bool {
	bad, ok := r.err.(*Error) //nolint:errorlint // it is never wrapped
	if !ok || bad.Status != 413 || r.head.chunked || r.head.expects || r.head.length > most {
		return false
	}
	r.err, r.skip, r.skipped = nil, int64(r.head.size)+r.head.length, 0
	r.head = head{fields: r.head.fields[:0]}
	r.discard()
	return true
}

// Skipping reports whether a frame is being thrown away, and how many bytes of it were.
func (r *Reader) Skipping() (skipped int64, ok bool) { return r.skipped, r.skip > 0 }

// discard throws away what is buffered of a refused frame.
func (r *Reader) discard() {
	n := int(min(r.skip, int64(r.end-r.start)))
	r.start += n
	r.skip -= int64(n)
	r.skipped += int64(n)
}

// scan continues with the frame at the front of the buffer and reports whether
// all of it is there.
func (r *Reader) scan() (bool, error) {
	if r.skip > 0 {
		if r.discard(); r.skip > 0 {
			return false, nil
		}
	}
	if ok, err := r.scanHead(); err != nil || !ok {
		return false, err
	}
	if r.head.chunked {
		return r.decodeChunks()
	}
	if r.head.length > r.lim.Body {
		return false, r.bodyTooLong()
	}
	return int64(r.end-r.start) >= int64(r.head.size)+r.head.length, nil
}

// take removes the frame at the front of the buffer, which is whole, and
// returns it as a message.
func (r *Reader) take() *Message { return r.message(r.detach(r.extent())) }

// extent is how long the message at the front of the buffer is, and how much of
// the buffer is consumed with it.
func (r *Reader) extent() (size, next int) {
	if r.head.chunked {
		return r.chunks.body, r.chunks.next
	}
	size = r.head.size + int(r.head.length)
	return size, size
}

// message makes a message of the frame that was scanned.
func (r *Reader) message(frame []byte) *Message {
	m := r.spare
	if r.spare = nil; m == nil {
		m = new(Message)
	}
	r.head.message(m, frame)
	r.head = head{fields: r.head.fields[:0]}
	r.chunks = chunks{}
	r.continued = false
	return m
}

// Recycle lets the Reader use m for a later message, which saves an allocation of
// half a KiB. m must not be used from then on; the strings and the body that were taken
// from it stay valid.
func (r *Reader) Recycle(m *Message) {
	*m = Message{}
	r.spare = m
}

// message cuts a frame into the parts of m, which owns it from then on. Names become
// lower case in place; after that no byte of the frame is written again, which
// is what makes it right to call its head a string.
func (h *head) message(m *Message, frame []byte) {
	for _, f := range h.fields {
		name := frame[f.name:f.colon]
		for i, c := range name {
			name[i] = lowerToken[c]
		}
	}
	text := unsafe.String(unsafe.SliceData(frame), h.size)
	s := &h.start
	m.Status, m.Minor, m.Malformed = s.status, s.minor, s.malformed
	if s.status == 0 {
		m.Method, m.URL = text[:s.method], text[s.url:s.urlEnd]
	} else {
		m.Reason = text[s.reason:s.end]
	}
	m.Fields = m.inline[:0]
	if len(h.fields) > inlineFields {
		m.Fields = make([]Field, 0, len(h.fields))
	}
	for _, f := range h.fields {
		m.Fields = append(m.Fields, Field{text[f.name:f.colon], text[f.value:f.end]})
	}
	if len(frame) > h.size {
		m.Body = frame[h.size:len(frame):len(frame)]
	}
}

// refuse kills the stream.
func (r *Reader) refuse(status int, reason string) error {
	r.err = &Error{Status: status, Reason: reason}
	return r.err
}

// bodyTooLong refuses a frame by what its head says, so that a client which sends ahead
// of the answers knows which one it was.
func (r *Reader) bodyTooLong() error {
	id, _ := r.PeekField(HeaderID)
	_, command := r.PeekField(HeaderCmd)
	bad := &Error{Status: 413, Reason: fmt.Sprintf("body of more than %d bytes", r.lim.Body), ID: string(id), Command: command}
	r.err = bad
	return bad
}
