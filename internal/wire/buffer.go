package wire

import (
	"bytes"
	"errors"
	"io"
)

const (
	minBuffer = 1 << 10  // what an idle connection costs
	maxBuffer = 64 << 10 // beyond it the buffer grows only for a frame that needs it

	// quietReads in a row that leave three quarters of the buffer empty give it
	// back down to minBuffer.
	quietReads = 16

	maxEmptyReads = 100 // of a source that returns neither bytes nor an error
)

// buffer holds the bytes of the stream that are not yet messages. It is owned by
// the Reader.
type buffer struct {
	buf        []byte // nil before the first Fill
	start, end int    // the unconsumed bytes are buf[start:end]

	full  bool  // the last read left no room
	quiet int   // reads in a row that used little of the buffer
	empty int   // reads in a row that returned nothing
	later error // came with the bytes of the last read; for the next Fill
}

// Fill reads once from the source into the buffer. Call it after Next has
// returned nil and nil; with a whole message waiting and no room left it returns
// io.ErrShortBuffer. At the end of the stream it returns io.EOF, in the middle
// of a frame io.ErrUnexpectedEOF, and other errors of the source as they are,
// after which Fill may be called again.
func (r *Reader) Fill() error {
	if r.err != nil {
		return r.err
	}
	if err := r.later; err != nil {
		r.later = nil
		return r.sourceError(err)
	}
	if err := r.makeRoom(); err != nil {
		return err
	}
	room := r.buf[r.end:]
	n, err := r.src.Read(room)
	r.end += n
	r.full = n == len(room)
	if r.quiet++; n > len(r.buf)/4 {
		r.quiet = 0
	}
	if n > 0 {
		r.empty, r.later = 0, err
		return nil
	}
	if err != nil {
		return r.sourceError(err)
	}
	if r.empty++; r.empty >= maxEmptyReads {
		return io.ErrNoProgress
	}
	return nil
}

func (r *Reader) sourceError(err error) error {
	if errors.Is(err, io.EOF) && (r.end > r.start || r.skip > 0) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom moves the unconsumed bytes to the front of the buffer and gives it
// the size that the next read should find, with room for a byte at least.
func (r *Reader) makeRoom() error {
	want := 0
	if r.start == 0 && r.end == len(r.buf) && r.end > 0 {
		var err error
		if want, err = r.needed(); err != nil {
			return err
		}
	}
	r.compact()
	size := len(r.buf)
	switch {
	case size == 0:
		return r.resize(minBuffer)
	case r.end == size:
		want = max(want, maxBuffer)
		for want > 2*size { // so that the last step is exactly what is wanted
			want = (want + 1) / 2
		}
		return r.resize(want)
	case r.full && size < maxBuffer:
		r.widen(min(2*size, maxBuffer))
	case r.end == 0 && r.quiet >= quietReads && size > minBuffer:
		return r.resize(minBuffer)
	}
	return nil
}

// widen gives the buffer a size that saves reads. Where there is no memory for it, it stays.
func (r *Reader) widen(size int) {
	if r.reserve != nil {
		if r.reserve(size-len(r.buf)) != nil {
			r.full = false
			return
		}
	}
	r.replace(size)
}

// compact moves the unconsumed bytes to the front and closes the gap that the
// size lines of decoded chunks have left. What it moves is part of one frame, or
// the gap's few bytes behind it, so a slow sender cannot make it move much twice.
func (r *Reader) compact() {
	if r.start > 0 {
		r.end = copy(r.buf, r.Buffered())
		r.start = 0
	}
	if c := &r.chunks; c.next > c.body {
		r.end = c.body + copy(r.buf[c.body:], r.buf[c.next:r.end])
		c.next = c.body
	}
}

// needed returns the most bytes that the frame at the front of the buffer, which
// fills it, may come to. It is an upper bound: the buffer only doubles.
func (r *Reader) needed() (int, error) {
	whole, err := r.scan()
	switch {
	case err != nil:
		return 0, err
	case whole:
		return 0, io.ErrShortBuffer
	case r.head.size == 0:
		return r.lim.Head + 1, nil // one more byte shows that it is too long
	case r.head.chunked:
		return r.head.size + int(r.lim.Body) + maxChunkDigits + len("\r\n"), nil
	}
	return r.head.size + int(r.head.length), nil
}

// resize moves the unconsumed bytes to a buffer of the given size.
func (r *Reader) resize(size int) error {
	if delta := size - len(r.buf); delta != 0 && r.reserve != nil {
		if err := r.reserve(delta); err != nil && delta > 0 {
			r.err = &Error{Status: 503, Reason: "no memory for more input; try again later", cause: err}
			return r.err
		}
	}
	r.replace(size)
	return nil
}

// replace moves the unconsumed bytes to a buffer that is accounted for.
func (r *Reader) replace(size int) {
	var buf []byte
	if size > 0 {
		buf = make([]byte, size)
	}
	r.end = copy(buf, r.Buffered())
	r.start, r.buf = 0, buf
	r.full, r.quiet = false, 0
}

// detach consumes next bytes and returns the first size of them as memory of
// their own. A long frame takes the whole buffer with it instead of being
// copied, unless that would waste more than half of the buffer.
func (r *Reader) detach(size, next int) []byte {
	frame := r.buf[r.start : r.start+size : r.start+size]
	r.start += next
	if len(r.buf) <= maxBuffer || r.end-r.start > maxBuffer {
		return bytes.Clone(frame)
	}
	if size < len(r.buf)/2 {
		frame = bytes.Clone(frame)
	}
	_ = r.resize(max(minBuffer, r.end-r.start)) // smaller than before, so never refused
	return frame
}

// Release gives the buffer back and ends the Reader: whatever is buffered is
// dropped, and every later call returns io.ErrClosedPipe. Messages and slices
// that the Reader returned stay valid.
func (r *Reader) Release() {
	r.start, r.end = 0, 0
	_ = r.resize(0)
	r.err = io.ErrClosedPipe
}
