package main

import (
	"syscall"
	"testing"
)

func TestReadOnlyFileSystemExits77(t *testing.T) {
	data := t.TempDir()
	if err := syscall.Mount(data, data, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("NOT TESTED: this process cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(data, syscall.MNT_DETACH) })
	if err := syscall.Mount("", data, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("NOT TESTED: this process cannot remount: %v", err)
	}
	wantFailure(t, run(t, command(t, nil, "--listen=127.0.0.1:0", "--data", data)), exitPermission, "read-only file system")
}
