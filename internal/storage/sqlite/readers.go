package sqlite

import (
	"context"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"

	"github.com/rushmore/zbus-go/internal/storage"
)

// maxReaders is how many reads can run at a time.
const maxReaders = 4

var errClosed = fmt.Errorf("store is closed: %w", storage.ErrUnavailable)

// readers are the connections that read. One is opened with the store, the others when
// they are needed for the first time: a broker whose consumers keep up hardly ever
// needs them, and each has a cache.
type readers struct {
	setup  setup
	idle   chan *conn
	unused chan struct{} // a token for each that may still be opened
	closed chan struct{} // closed before the readers are collected
}

func newReaders(s setup) *readers {
	r := &readers{
		setup:  s,
		idle:   make(chan *conn, maxReaders),
		unused: make(chan struct{}, maxReaders),
		closed: make(chan struct{}),
	}
	for range maxReaders {
		r.unused <- struct{}{}
	}
	return r
}

// take waits for a reader. It has to be put back.
func (r *readers) take(ctx context.Context) (*conn, error) {
	select {
	case c := <-r.idle: // rather than one that has to be opened
		return c, nil
	default:
	}
	select {
	case <-r.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case c := <-r.idle:
		return c, nil
	case <-r.unused:
		c, err := r.open()
		if err == nil {
			return c, nil
		}
		r.unused <- struct{}{}
	}
	// No more can be opened, for want of files perhaps. There is one at least.
	select {
	case <-r.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case c := <-r.idle:
		return c, nil
	}
}

// openFirst opens the one that is always there.
func (r *readers) openFirst() error {
	c, err := r.open()
	if err == nil {
		<-r.unused
		r.idle <- c
	}
	return err
}

// open opens one.
func (r *readers) open() (*conn, error) { return openReader(r.setup) }

// openReader opens a connection that reads ahead, with a VFS of its own.
func openReader(setup setup) (*conn, error) {
	if setup.plain {
		return open(setup)
	}
	a, err := vfs.NewReadahead()
	if err != nil {
		return nil, err
	}
	setup.vfs = a.Name()
	c, err := open(setup)
	if err != nil {
		a.Close()
		return nil, err
	}
	c.readahead = a
	return c, nil
}

func (r *readers) put(c *conn) { r.idle <- c }

// close lets no reader begin, waits for those that have, and gives what is open.
func (r *readers) close() (open []*conn) {
	close(r.closed)
	for range maxReaders {
		select {
		case c := <-r.idle:
			open = append(open, c)
		case <-r.unused:
		}
	}
	return open
}
