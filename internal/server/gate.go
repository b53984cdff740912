package server

import "sync"

// gate counts what is under way and lets goroutines wait until it is little. The
// broker answers everything it was given, at the latest when its writer stops.
type gate struct {
	mu   sync.Mutex
	less sync.Cond
	n    int64 // guarded by mu

	handling bool // guarded by mu: a frame of a WebSocket is being handled
	shut     bool // guarded by mu: no more frames are
}

func (g *gate) init() { g.less.L = &g.mu }

func (g *gate) add(n int64) {
	g.mu.Lock()
	g.n += n
	g.mu.Unlock()
	if n < 0 {
		g.less.Broadcast()
	}
}

// busy reports whether anything is under way.
func (g *gate) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n > 0
}

// wait returns when no more than n are under way.
func (g *gate) wait(n int64) {
	g.mu.Lock()
	for g.n > n {
		g.less.Wait()
	}
	g.mu.Unlock()
}

// begin takes a frame of a WebSocket on, and reports false after shutdown: what can no longer be
// answered must not be done. It does not count as under way, since to handle it may be to wait for
// what is.
func (g *gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handling = !g.shut
	return g.handling
}

// done is called when a frame is handled: what it asked for is answered, or under way.
func (g *gate) done() {
	g.mu.Lock()
	g.handling = false
	g.mu.Unlock()
	g.less.Broadcast()
}

// shutdown lets no more frames be taken on, and returns when nothing is under way.
func (g *gate) shutdown() {
	g.mu.Lock()
	g.shut = true
	for g.handling || g.n > 0 {
		g.less.Wait()
	}
	g.mu.Unlock()
}
