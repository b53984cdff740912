package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Size is how large a disk is, in bytes: xfs wants no less than 300 MiB. Its file takes
// as much as is written to it.
const Size = 512 << 20

// Kinds are the file systems that New knows.
func Kinds() []string { return []string{"ext4", "xfs", "btrfs"} }

// Disk is a mounted file system. It is for one goroutine.
type Disk struct {
	Path    string // where it is mounted
	image   string
	under   *Disk // what image lies on and is cut instead; nil: the disk itself is cut
	mounted bool
}

// New creates a file system of a kind in a directory and mounts it. An error says what
// the machine lacks for that. Close has to be called also after an error.
func New(kind, dir string) (*Disk, error) {
	d := &Disk{Path: filepath.Join(dir, kind), image: filepath.Join(dir, kind+".image")}
	size := int64(Size)
	if kind == "btrfs" { // it has no shutdown
		var err error
		if d.under, err = New("xfs", dir); err != nil {
			return d, err
		}
		d.image, size = filepath.Join(d.under.Path, "image"), Size*3/4
	}
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return d, err
	}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, size)); err != nil {
		return d, err
	}
	if out, err := exec.Command("mkfs."+kind, "-q", d.image).CombinedOutput(); err != nil {
		return d, fmt.Errorf("mkfs.%s: %w: %s", kind, err, out)
	}
	if d.under != nil {
		if out, err := exec.Command("sync", d.image).CombinedOutput(); err != nil {
			return d, fmt.Errorf("sync: %w: %s", err, out)
		}
	}
	return d, d.mount()
}

func (d *Disk) mount() error {
	if d.mounted {
		return nil
	}
	if d.under != nil {
		if err := d.under.mount(); err != nil {
			return err
		}
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Path).CombinedOutput(); err != nil {
		return fmt.Errorf("mount %s: %w: %s", d.image, err, out)
	}
	d.mounted = true
	return nil
}

// unmount also gives the loop device back.
func (d *Disk) unmount() error {
	if d.mounted {
		if err := unix.Unmount(d.Path, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", d.Path, err)
		}
		d.mounted = false
	}
	if d.under != nil {
		return d.under.unmount()
	}
	return nil
}

// Cut shuts the file system down: nothing reaches the device from then on, not even what is
// in the journal. A process that has files open there sees errors.
//
// Pulling a plug takes no time; this does, and a sync that meets it can report success
// for what is dropped (ext4 in Linux 6.18: one in twelve). So what a process was told
// after Cut was called says nothing.
func (d *Disk) Cut() error {
	if d.under != nil {
		return d.under.Cut()
	}
	const (
		shutdown   = 0x8004587d // FS_IOC_SHUTDOWN
		noLogFlush = 2
	)
	dir, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	var inside, outside unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &inside); err != nil {
		return err
	}
	if err := unix.Stat(d.image, &outside); err != nil {
		return err
	}
	if inside.Dev == outside.Dev {
		return fmt.Errorf("%s is not a file system of its own", d.Path) // it is the one we live on
	}
	return os.NewSyscallError("shutdown of "+d.Path, unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush))
}

// Remount gives the disk its power back after Cut. Nothing may have files open there.
func (d *Disk) Remount() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}

// Close unmounts the disk, also while files are open there.
func (d *Disk) Close() error {
	if d == nil {
		return nil
	}
	var err error
	if d.mounted {
		err = unix.Unmount(d.Path, unix.MNT_DETACH)
		d.mounted = err != nil
	}
	return errors.Join(err, d.under.Close())
}
