package socket

import (
	"errors"
	"io"
	"time"
)

// How slowly a client may send. What the broker itself takes does not count.
const (
	HeadTimeout = 10 * time.Second // for a whole head, from its first byte
	BodyGrace   = 10 * time.Second // for a body, and a second more for each bodyRate bytes
	bodyRate    = 1 << 10
	mostSilence = 30 * time.Second // in a body, however fast the client was before
)

// Pace is how long a client has been waited for in the middle of a frame. It belongs to the
// goroutine that reads.
type Pace struct{ waited time.Duration }

// Waited adds some time.
func (p *Pace) Waited(d time.Duration) { p.waited += d }

// Head is how much longer the rest of a head may take.
func (p *Pace) Head() time.Duration { return HeadTimeout - p.waited }

// Body is how much longer the rest of a body may take of which so many bytes are there. A
// client that was fast has earned no long silence by it: what it has sent is in memory.
func (p *Pace) Body(read int64) time.Duration {
	left := BodyGrace + time.Duration(read)*(time.Second/bodyRate) - p.waited
	if left > mostSilence {
		p.waited += left - mostSilence
		left = mostSilence
	}
	return left
}

// PacedReader reads a body whose sender has to keep pace. Deadline sets when reads fail; it
// is cleared at the end of the body. After an error it stays for who reads what is left of
// the body.
type PacedReader struct {
	Src      io.Reader
	Deadline func(time.Time) error // what it can't set just takes longer
	pace     Pace
	read     int64
}

// Read reads from the body.
func (p *PacedReader) Read(b []byte) (int, error) {
	began := time.Now()
	_ = p.Deadline(began.Add(p.pace.Body(p.read)))
	n, err := p.Src.Read(b)
	p.pace.Waited(time.Since(began))
	p.read += int64(n)
	if errors.Is(err, io.EOF) {
		_ = p.Deadline(time.Time{})
	}
	return n, err
}
