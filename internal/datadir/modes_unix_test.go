//go:build unix

package datadir

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpenCreatesPrivateDirectoryWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		path := filepath.Join(t.TempDir(), "data")
		old := syscall.Umask(mask)
		d, err := Open(path)
		syscall.Umask(old)
		if err != nil {
			t.Fatalf("umask %#o: %v", mask, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("umask %#o: mode %#o, want 0700", mask, got)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenTakesPermissionsFromOthers(t *testing.T) {
	path := t.TempDir()
	modes := map[string]fs.FileMode{"": 0o2775, "zbus.db": 0o664, "zbus.db-wal": 0o644, "lock": 0o666, "ballast": 0o604, "notes": 0o644}
	for name, mode := range modes {
		if name != "" {
			if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := syscall.Chmod(filepath.Join(path, name), uint32(mode)); err != nil {
			t.Fatal(err)
		}
	}
	d := mustOpen(t, path)
	for name := range modes {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]fs.FileMode{"": fs.ModeDir | fs.ModeSetgid | 0o700, "notes": 0o644}[name] // a file that is not the broker's
		if want == 0 {
			want = 0o600
		}
		if info.Mode() != want {
			t.Errorf("%q has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if got := d.Tightened(); len(got) != len(modes)-1 {
		t.Errorf("told of %q", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := mustOpen(t, path).Tightened(); len(got) != 0 {
		t.Errorf("told again of %q", got)
	}
}
