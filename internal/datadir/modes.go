package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// others are the permissions that only the owner has.
const others fs.FileMode = 0o077

// tighten takes permissions away that others have on the directory and on what brokers keep
// in it. It refuses a directory that every user may write to and that can't be the broker's alone:
// its owner is another, or it is shared, such as /tmp.
func (d *Dir) tighten() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if info.Mode()&others != 0 {
		err := fs.ErrPermission
		if info.Mode()&fs.ModeSticky == 0 {
			err = os.Chmod(d.path, info.Mode()&^others)
		}
		switch {
		case err == nil:
			d.tightened = append(d.tightened, d.path)
		case info.Mode()&0o002 != 0:
			return fmt.Errorf("%s: every user may write there (mode %v): choose a directory that is the broker's alone: %w", d.path, info.Mode(), err)
		}
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && kept(e.Name()) && info.Mode().IsRegular() && info.Mode()&others != 0 {
			if err := d.tightenFile(e.Name(), info.Mode()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tightenFile does that with a file, which others must not write in any case.
func (d *Dir) tightenFile(name string, mode fs.FileMode) error {
	path := d.Path(name)
	switch err := os.Chmod(path, mode.Perm()&^others); {
	case err == nil:
		d.tightened = append(d.tightened, path)
	case errors.Is(err, fs.ErrNotExist):
	case mode&0o022 != 0:
		return fmt.Errorf("others may write to it (mode %v): %w", mode, err)
	}
	return nil
}

// kept reports whether a file of the directory is a broker's.
func kept(name string) bool {
	return name == lockName || name == cleanName || name == "ballast" || strings.HasPrefix(name, "zbus.db")
}

// Tightened lists what Open has found with permissions for others, and taken them away.
func (d *Dir) Tightened() []string { return d.tightened }
