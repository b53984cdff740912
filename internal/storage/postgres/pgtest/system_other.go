//go:build !unix

package pgtest

import "syscall"

// No server is started on these systems: see Start.

func as(int, int) *syscall.SysProcAttr { return nil }

func give(string, *syscall.SysProcAttr) error { return nil }

func pause([]int, bool) {}
