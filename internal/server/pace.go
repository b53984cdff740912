package server

import (
	"errors"
	"io"
	"time"
)

// How slowly a client may send. What the broker itself takes does not count.
const (
	headTimeout = 10 * time.Second // for a whole head, from its first byte
	bodyGrace   = 10 * time.Second // for a body, and a second more for each bodyRate bytes
	bodyRate    = 1 << 10
)

// pace is how long a client has been waited for in the middle of a frame. It belongs to the
// goroutine that reads.
type pace struct{ waited time.Duration }

// head is how much longer the rest of a head may take.
func (p *pace) head() time.Duration { return headTimeout - p.waited }

// body is how much longer the rest of a body may take of which so many bytes are there.
func (p *pace) body(read int64) time.Duration {
	return bodyGrace + time.Duration(read)*(time.Second/bodyRate) - p.waited
}

// pacedReader reads a body whose sender has to keep pace. deadline sets when reads fail; it
// is cleared at the end of the body. After an error it stays for net/http, which reads what
// is left of a body before it answers the next request.
type pacedReader struct {
	src      io.Reader
	deadline func(time.Time) error // what it can't set just takes longer
	pace     pace
	read     int64
}

// Read reads from the body.
func (p *pacedReader) Read(b []byte) (int, error) {
	began := time.Now()
	_ = p.deadline(began.Add(p.pace.body(p.read)))
	n, err := p.src.Read(b)
	p.pace.waited += time.Since(began)
	p.read += int64(n)
	if errors.Is(err, io.EOF) {
		_ = p.deadline(time.Time{})
	}
	return n, err
}
