//go:build !linux

package datadir

// dying reports whether a process is known to be on its way out.
func dying(int) bool { return false }
