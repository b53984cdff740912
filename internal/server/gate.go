package server

import "sync"

// gate counts what is under way and lets goroutines wait until it is little. The
// broker answers everything it was given, at the latest when its writer stops.
type gate struct {
	mu   sync.Mutex
	less sync.Cond
	n    int64 // guarded by mu
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
