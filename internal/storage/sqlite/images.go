package sqlite

import "sync"

// images counts the images of a store that are being read.
type images struct {
	mu     sync.Mutex
	none   sync.Cond // on mu
	open   int       // guarded by mu
	closed bool      // guarded by mu: the store is closing
}

func (i *images) begin() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return errClosed
	}
	i.open++
	return nil
}

func (i *images) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open--
	i.none.Broadcast()
}

// held reports whether an image keeps the log from starting again.
func (i *images) held() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.open > 0
}

// closing reports whether images have to end.
func (i *images) closing() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.closed
}

// close lets no image begin, and waits for the end of those that are open.
func (i *images) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for i.open > 0 {
		i.none.Wait()
	}
}
