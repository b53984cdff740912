package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// Database is the name of the database in a data directory.
const Database = "zbus.db"

// OfDirectory begins an image of the database in a directory that no broker uses, and
// keeps brokers out until it is closed. See [datadir.ErrInUse].
func OfDirectory(path string) (Image, error) {
	dir, err := datadir.Hold(path)
	if err != nil {
		return nil, err
	}
	im, err := sqlite.OpenImage(dir.Path(Database))
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &resting{im, dir}, nil
}

// resting is the image of a directory that no broker uses.
type resting struct {
	*sqlite.Image
	dir *datadir.Dir
}

// Close ends the image and lets brokers in.
func (r *resting) Close() error { return errors.Join(r.Image.Close(), r.dir.Close()) }

// restored is added to the name of a database that is being restored.
const restored = ".restored"

// Restore creates a data directory of a backup. The directory is created when it is missing.
// The database is checked under another name before it has its own: either all of it is
// there, or nothing.
//
// It never replaces a database, or a log that has lost its database: see [fs.ErrExist]. A
// backup with findings is refused with [storage.ErrDamaged].
func Restore(ctx context.Context, from, to string) (report sqlite.Report, err error) {
	source, err := os.Open(from)
	if err != nil {
		return report, err
	}
	defer source.Close()
	err = fill(to, restored, func(draft string) error {
		if err := copyFile(source, draft); err != nil {
			return err
		}
		if err := sqlite.Adopt(ctx, draft); err != nil {
			return fmt.Errorf("restore %s: %w", from, err)
		}
		if report, err = sqlite.Verify(ctx, draft, sqlite.VerifyOptions{}); err != nil {
			return err
		}
		report.Path = from
		return wrong(&report)
	})
	return report, err
}

// fill gives a directory, created when it is missing, the database that write puts into a file.
// The file has another name until it is complete. It never replaces a database, and leaves the
// directory as it was when it fails.
func fill(to, suffix string, write func(draft string) error) (err error) {
	// First of all: opening the directory changes it.
	if err := vacant(func(name string) string { return filepath.Join(to, name) }); err != nil {
		return err
	}
	dir, err := datadir.Open(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.PutBack())
		}
		err = errors.Join(err, dir.Close())
	}()
	if err := vacant(dir.Path); err != nil {
		return err
	}
	draft := dir.Path(Database + suffix)
	defer removeDatabase(draft)
	removeDatabase(draft)
	if err := write(draft); err != nil {
		return err
	}
	return take(dir, draft)
}

// take makes a complete database that of a directory. What the directory knew of one that
// it has lost is not true of this one.
func take(dir *datadir.Dir, draft string) error {
	if err := dir.SetDatabase(""); err != nil {
		return err
	}
	if err := os.Rename(draft, dir.Path(Database)); err != nil {
		return err
	}
	if err := os.Remove(dir.Path(Database + "-mark")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dir.MarkClean()
}

// vacant refuses a directory with a database, or with what is left of one.
func vacant(path func(name string) string) error {
	for _, name := range []string{Database, Database + "-wal"} {
		if err := absent(path(name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from io.Reader, to string) error {
	f, err := create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(&steadyWriter{file: f}, from)
	return errors.Join(err, f.Sync(), f.Close())
}

// removeDatabase removes a database that was not completed.
func removeDatabase(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + suffix)
	}
}
