package wire

import "bytes"

// maxChunkDigits keeps a chunk size within an int64.
const maxChunkDigits = 15

// What can be wrong with a chunked body.
const (
	badSizeLine = "bad chunk size line; write 1 to 15 hex digits and CR LF, no extension"
	badChunkEnd = "chunk longer than its size; end its data with CR LF"
	badTrailer  = "trailer after the last chunk; end the body with an empty line"
)

type chunkPart int

const (
	chunkSize chunkPart = iota // a size line is next
	chunkData                  // bytes of the chunk
	chunkEnd                   // the CR LF after them
	chunkLast                  // the empty line after the chunk of size 0
	chunkDone                  // nothing; the body is complete
)

// chunks is how far a chunked body has been decoded. It is owned by the Reader.
// Positions count from the start of the frame. The data is moved down over the
// size lines, so that the decoded body follows the head in one piece and the
// buffer holds no more of it than has been sent.
type chunks struct {
	part chunkPart
	body int   // end of the decoded body; 0 until decoding begins
	next int   // first byte not yet decoded
	left int64 // bytes missing from the current chunk
}

// decodeChunks continues with the chunked body and reports whether it is complete.
func (r *Reader) decodeChunks() (bool, error) {
	c := &r.chunks
	if c.body == 0 {
		c.body, c.next = r.head.size, r.head.size
	}
	for {
		b := r.Buffered()
		rest := b[c.next:]
		switch c.part {
		case chunkSize:
			if done, err := r.chunkSize(rest); !done {
				return false, err
			}
		case chunkData:
			n := int(min(c.left, int64(len(rest))))
			c.body += copy(b[c.body:], rest[:n])
			c.next += n
			if c.left -= int64(n); c.left > 0 {
				return false, nil
			}
			c.part = chunkEnd
		case chunkEnd, chunkLast:
			if len(rest) > 0 && rest[0] != '\r' || len(rest) > 1 && rest[1] != '\n' {
				return false, r.badChunkEnd()
			}
			if len(rest) < 2 {
				return false, nil
			}
			c.next += 2
			if c.part == chunkLast {
				c.part = chunkDone
			} else {
				c.part = chunkSize
			}
		case chunkDone:
			return true, nil
		}
	}
}

// chunkSize takes a size line, if it has arrived: hex digits and CR LF.
func (r *Reader) chunkSize(rest []byte) (bool, error) {
	const longest = maxChunkDigits + len("\r\n")
	line := rest[:min(len(rest), longest)]
	lf := bytes.IndexByte(line, '\n')
	if lf < 0 && len(line) < longest {
		return false, nil
	}
	if lf < 2 || line[lf-1] != '\r' {
		return false, r.refuse(400, badSizeLine)
	}
	size := int64(0)
	for _, digit := range line[:lf-1] {
		v, ok := hexDigit(digit)
		if !ok {
			return false, r.refuse(400, badSizeLine)
		}
		size = size<<4 | int64(v)
	}
	c := &r.chunks
	if size > r.lim.Body-int64(c.body-r.head.size) {
		return false, r.bodyTooLong()
	}
	c.next += lf + 1
	c.left, c.part = size, chunkData
	if size == 0 {
		c.part = chunkLast
	}
	return true, nil
}

func (r *Reader) badChunkEnd() error {
	if r.chunks.part == chunkLast {
		return r.refuse(400, badTrailer)
	}
	return r.refuse(400, badChunkEnd)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
