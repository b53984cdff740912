package wire

// Follower looks at the requests of a stream that another one parses, and finds what a
// Reader would refuse, so that both agree on where each request ends. It keeps heads while
// they arrive, and no bodies. It is for one goroutine.
//
// Behind a request to upgrade to another protocol it looks at nothing.
type Follower struct {
	r    Reader // has the head that is arriving in its buffer
	part followed
	left int64 // missing bytes of the body, or of the chunk
	line int   // digits and CR of the size line so far
	size int64 // of the size line so far
	err  error
}

// followed is the part of a request that is next.
type followed int

const (
	followHead followed = iota
	followBody
	followSize    // digits of a chunk's size, or their CR
	followSizeLF  // the LF behind them
	followData    // bytes of a chunk
	followEnd     // CR of the empty line behind the data
	followEndLF   // its LF
	followFinal   // CR of the empty line that ends the body
	followFinalLF // its LF
	followNothing // the connection is another protocol's
)

// NewFollower returns a Follower that holds no buffer until it sees something.
func NewFollower(lim Limits) *Follower { return &Follower{r: Reader{lim: lim.withDefaults()}} }

// InHead reports whether a head is next, or arriving.
func (f *Follower) InHead() bool { return f.part == followHead }

// See looks at the next bytes of the stream and returns how many of them may be passed on.
// Those are fewer only with an *Error, which it returns ever after: what is behind them
// would be taken for another request than it is.
func (f *Follower) See(p []byte) (n int, err error) {
	for f.err == nil && n < len(p) {
		rest := p[n:]
		switch f.part {
		case followHead:
			n += f.head(rest)
		case followNothing:
			n = len(p)
		case followBody, followData:
			some := min(int64(len(rest)), f.left)
			n += int(some)
			if f.left -= some; f.left == 0 {
				f.next()
			}
		default:
			f.framing(rest[0])
			n++
		}
	}
	if f.err != nil {
		return n, f.err
	}
	return n, nil
}

// head takes bytes of a head, and returns how many.
func (f *Follower) head(p []byte) int {
	r := &f.r
	before := r.end
	r.buf = append(r.buf[:r.end], p...)
	r.end = len(r.buf)
	whole, err := r.scanHead()
	switch {
	case err != nil:
		f.err = err
		return 0
	case !whole:
		return len(p)
	}
	h := &r.head
	switch {
	case upgrades(r):
		f.part = followNothing
	case h.chunked:
		f.part = followSize
	case h.length > 0:
		f.part, f.left = followBody, h.length
	}
	taken := r.start + h.size - before
	*r = Reader{lim: r.lim, buffer: buffer{buf: spare(r.buf)}, head: head{fields: h.fields[:0]}}
	return taken
}

// upgrades reports whether the request wants another protocol from its end on.
func upgrades(r *Reader) bool {
	v, ok := r.PeekField(HeaderUpgrade)
	return ok && foldEqual(v, "websocket")
}

// spare is the buffer of a head to be used for the next, unless it is large.
func spare(buf []byte) []byte {
	if cap(buf) > 2*minBuffer {
		return nil
	}
	return buf[:0]
}

// next moves behind the last byte of a body or a chunk.
func (f *Follower) next() {
	if f.part == followBody {
		f.part = followHead
	} else {
		f.part = followEnd
	}
}

// framing takes a byte of what frames chunks.
func (f *Follower) framing(c byte) {
	want := byte('\n')
	switch f.part {
	case followSize:
		f.digit(c)
		return
	case followEnd, followFinal:
		want = '\r'
	}
	if c != want {
		f.refuse()
		return
	}
	switch f.part {
	case followSizeLF:
		f.part, f.left = followData, f.size
		if f.size == 0 {
			f.part = followFinal
		}
		f.line, f.size = 0, 0
	case followEndLF:
		f.part = followSize
	case followFinalLF:
		f.part = followHead
	default: // the CR of an empty line
		f.part++
	}
}

// digit takes a byte of the digits of a chunk's size.
func (f *Follower) digit(c byte) {
	v, ok := hexDigit(c)
	switch {
	case c == '\r' && f.line > 0:
		f.part = followSizeLF
	case !ok || f.line == maxChunkDigits:
		f.refuse()
	default:
		f.line++
		f.size = f.size<<4 | int64(v)
	}
}

func (f *Follower) refuse() {
	reason := badSizeLine
	switch f.part {
	case followEnd, followEndLF:
		reason = badChunkEnd
	case followFinal, followFinalLF:
		reason = badTrailer
	}
	f.err = &Error{Status: 400, Reason: reason}
}
