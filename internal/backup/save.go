// Package backup takes copies of a broker's database and puts them back: from a running
// broker or a directory that no broker uses, on request or by a schedule.
//
// A backup is one file, a complete SQLite database as of one moment. It is written under
// another name, synced and checked before it has its own name, so that a file of that name
// is always a complete one.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// partial is added to the name of a file that is not complete.
const partial = ".partial"

// syncEvery is how many bytes are written before they are synced. Otherwise the broker's
// next sync would have to wait for all of them.
const syncEvery = 16 << 20

// Image is a database as of one moment.
type Image interface {
	// Size is how many bytes Copy writes.
	Size() int64
	// Copy writes the image. An error leaves it incomplete.
	Copy(ctx context.Context, w io.Writer) error
	Close() error
}

// Save creates a file with mode 0600, writes the image to it that begin begins, and checks
// it. The report says what the file has; one with findings is of a database that is
// damaged, and the file is there all the same. progress is called now and then, if it is
// given.
//
// A file that exists is never replaced: see [fs.ErrExist]. After an error there is no file
// of that name.
func Save(ctx context.Context, target string, begin func() (Image, error), progress func(done, all int64)) (report sqlite.Report, err error) {
	if err := absent(target); err != nil {
		return report, err
	}
	f, err := create(target + partial)
	if err != nil {
		return report, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = errors.Join(write(ctx, f, begin, progress), f.Sync()); err == nil {
		report, err = check(ctx, f.Name())
	}
	if err == nil {
		err = publish(f.Name(), target)
	}
	return report, errors.Join(err, f.Close())
}

func write(ctx context.Context, f *os.File, begin func() (Image, error), progress func(done, all int64)) error {
	im, err := begin()
	if err != nil {
		return err
	}
	w := &steadyWriter{file: f, all: im.Size(), progress: progress}
	err = im.Copy(ctx, w)
	if err == nil && w.done != im.Size() {
		err = fmt.Errorf("%d bytes instead of %d: %w", w.done, im.Size(), io.ErrUnexpectedEOF)
	}
	return errors.Join(err, im.Close())
}

// check reads a copy back. That a file is of another version is no error: it can't be
// checked by this one.
func check(ctx context.Context, path string) (sqlite.Report, error) {
	report, err := sqlite.Verify(ctx, path, sqlite.VerifyOptions{})
	if errors.Is(err, storage.ErrInvalid) && report.Schema != 0 {
		err = nil
	}
	return report, err
}

func absent(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// create creates a file, or takes over one that a process which has ended left.
func create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = datadir.TryLock(f)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: another backup is writing it: %w", path, fs.ErrExist)
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Chmod(0o600))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// publish gives a complete file its name, unless there is one of that name by now.
func publish(from, to string) error {
	err := os.Link(from, to)
	switch {
	case errors.Is(err, fs.ErrExist):
		return err
	case err == nil:
		err = os.Remove(from)
	default: // the file system has no links
		if err = absent(to); err == nil {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// steadyWriter writes a file and syncs it in between.
type steadyWriter struct {
	file     *os.File
	done     int64
	synced   int64
	all      int64
	progress func(done, all int64)
}

func (w *steadyWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.done += int64(n)
	if err == nil && w.done-w.synced >= syncEvery {
		w.synced = w.done
		err = w.file.Sync()
	}
	if err == nil && w.progress != nil {
		w.progress(w.done, w.all)
	}
	return n, err
}

// wrong is the first finding of a report as an error, nil if there is none.
func wrong(r *sqlite.Report) error {
	if r.Sound() {
		return nil
	}
	more := ""
	if n := int64(len(r.Findings)) - 1 + r.More; n > 0 {
		more = fmt.Sprintf(", and %d findings more", n)
	}
	return fmt.Errorf("%s: %s%s: %w", r.Path, r.Findings[0].String(), more, storage.ErrDamaged)
}
