package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// mount mounts something for the length of the test, or skips it.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("NOT TESTED: this process cannot mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

func TestReadOnlyFileSystemIsAMissingPermission(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mount(t, path, path, "", syscall.MS_BIND, "")
	if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("NOT TESTED: this process cannot remount: %v", err)
	}
	for _, dir := range []string{path, filepath.Join(path, "new")} {
		if _, err := Open(dir); !errors.Is(err, fs.ErrPermission) || !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: got %v, want fs.ErrPermission and EROFS", dir, err)
		}
	}
}

func TestFuseIsRefused(t *testing.T) {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("NOT TESTED: no fuse: %v", err)
	}
	t.Cleanup(func() { _ = device.Close() })
	path := t.TempDir()
	// Nobody answers for this file system, and nobody needs to: it belongs to
	// another user, so the kernel answers statfs by itself.
	mount(t, "test", path, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=65534,group_id=65534", device.Fd()))
	if _, err := Open(path); !errors.Is(err, ErrFileSystem) {
		t.Errorf("got %v, want ErrFileSystem", err)
	}
}

func TestFileSystemIsJudgedBeforeAnythingIsCreated(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "a")
	if err := checkFileSystem(filepath.Join(parent, "b")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that nothing is there", err)
	}
}
