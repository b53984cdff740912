//go:build unix

package main

import "syscall"

// keepFilesPrivate has what this process creates be for its owner only. SQLite creates the
// database's files, and asks for no mode of its own.
func keepFilesPrivate() { syscall.Umask(0o077) }
