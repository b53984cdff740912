package vfs

import (
	"sync"
	"testing"

	"modernc.org/libc"
)

// SQLite has one list of file systems in a process. Stores that open and close at the
// same time, and readers that are opened when they are needed, share it. Only a run
// with the race detector says much.
func TestFileSystemsComeAndGoAtTheSameTime(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				v, err := New(func(*libc.TLS, uintptr, int32) {})
				if err != nil {
					t.Error(err)
					return
				}
				v.Close()
			}
		})
	}
	all.Wait()
}
