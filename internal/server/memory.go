package server

import (
	"io"

	"github.com/rushmore/zbus-go/internal/broker"
)

var errNoMemory error = &broker.Error{Code: broker.Unavailable, Text: "receive buffers are at their limit: try again later"}

// reserve accounts for receive buffers. It is a wire.Reader's Reserve.
func (s *Server) reserve(delta int) error {
	if n := s.buffers.Add(int64(delta)); delta > 0 && n > s.opts.RequestBytes {
		s.buffers.Add(int64(-delta))
		return errNoMemory
	}
	return nil
}

// countedReader reads whole bodies and accounts for them until release.
type countedReader struct {
	reserve func(delta int) error
	src     io.Reader
	held    int
}

// Read reads from the present source.
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if n > 0 {
		if e := c.reserve(n); e != nil {
			return 0, e
		}
		c.held += n
	}
	return n, err
}

func (c *countedReader) readAll(src io.Reader) ([]byte, error) {
	c.src = src
	return io.ReadAll(c)
}

// countedBody is the body of a request that a handler reads as it likes.
type countedBody struct {
	countedReader
	io.Closer
}

// Handled says that what was read so far is kept no longer, or accounted for by
// somebody else.
func (c *countedBody) Handled() { c.release() }

// release gives back what was accounted for: the bytes are somebody else's now.
func (c *countedReader) release() {
	_ = c.reserve(-c.held)
	c.held = 0
}
