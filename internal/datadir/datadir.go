// Package datadir holds the directory that a broker keeps everything in: it
// makes the directory, keeps every other broker out of it, and remembers
// whether the last one stopped gracefully.
//
//	lock   locked while a broker runs; says which process, since when, and
//	       which database the directory has
//	clean  there between an orderly stop and the next start
//
// The kernel releases the lock when the process ends, however it ends. The file
// stays: to remove it would let two brokers lock two files of one name.
package datadir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The errors of Open, to be tested with errors.Is. Another one is
// fs.ErrPermission: this process may not write there, or no process may because the
// file system is read-only.
var (
	// ErrInUse: another broker has the directory. The text names its process.
	ErrInUse = errors.New("in use by another broker")
	// ErrFileSystem: the directory is on a file system, most likely across a
	// network, where locks, syncs or shared memory are not reliable.
	ErrFileSystem = errors.New("unsuitable file system")
)

const (
	lockName  = "lock"
	cleanName = "clean"
)

// How long Open tries to take a lock that is held, how long while its holder is dying, and how
// often.
const (
	lockPatience  = time.Second
	dyingPatience = 30 * time.Second
	lockInterval  = 10 * time.Millisecond
)

// Dir is a data directory that belongs to this process alone. Its methods are
// for the one goroutine that starts and stops the broker; only Path may be
// called by any.
type Dir struct {
	path  string
	lock  *os.File // open, and so locked, until Close
	clean bool     // as found by Open
	used  bool     // a broker has stopped here in order

	since    time.Time // wall clock, for people: when the lock was taken
	database string    // see Database

	tightened []string // see Tightened
}

// Open takes the directory for this process. A lock that is held it tries for
// lockPatience, because the kernel releases that of a killed process only when it has
// freed its memory: a supervisor that restarts at once comes earlier. Open creates the
// directory with mode 0700 whatever the umask, and takes permissions away that others have
// on an existing one; see Tightened. The mark of an orderly stop is gone, also from the disk, before Open
// returns: a crash from here on will be recognised.
func Open(path string) (*Dir, error) {
	d, err := open(filepath.Clean(path))
	if errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w: %w", err, fs.ErrPermission)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

func open(path string) (*Dir, error) {
	if err := checkFileSystem(path); err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	// The lock file may be writable in a directory that is not.
	if err := mayWrite(path); err != nil {
		return nil, &fs.PathError{Op: "write to", Path: path, Err: err}
	}
	d := &Dir{path: path}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	if err := d.tighten(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.takeMark(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Hold takes an existing directory for this process without waiting, as long as no
// broker runs there. It leaves the mark of an orderly stop as it is: it is for those
// who read what a broker left. Close lets the next one in.
func Hold(path string) (*Dir, error) {
	d := &Dir{path: filepath.Clean(path)}
	info, err := os.Stat(d.path)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: d.path, Err: syscall.ENOTDIR}
	}
	if err == nil {
		err = d.takeLock()
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

// Share keeps brokers out of a directory that exists and is only read, unless one runs
// there: nothing in it is changed. Others may share it, too. Only Close may be called.
func Share(path string) (*Dir, error) {
	d := &Dir{path: filepath.Clean(path)}
	f, err := os.Open(d.Path(lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil // no broker has been there
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := tryLock(f, shared); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%s: %w (%s)", d.path, ErrInUse, readHolder(f))
		}
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d.lock = f
	return d, nil
}

func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := os.Mkdir(path, 0o700)
	if err == nil {
		return os.Chmod(path, 0o700) // what the umask took away
	}
	if info, serr := os.Stat(path); serr == nil && info.IsDir() {
		return nil
	}
	return err
}

func (d *Dir) takeLock() error {
	f, err := os.OpenFile(d.Path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	switch err := lock(f); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		defer f.Close()
		return fmt.Errorf("%s: %w (%s)", d.path, ErrInUse, readHolder(f))
	case err != nil:
		defer f.Close()
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	d.lock, d.since, d.database = f, time.Now(), readDatabase(f)
	// A full disk, which keeps the text from being written, must not keep the broker
	// from starting.
	_ = d.describe()
	return nil
}

// describe writes over what the lock says. The file is never shorter than what it has to
// say: a process that is killed here leaves the name of the database.
func (d *Dir) describe() error {
	text := fmt.Sprintf("pid %d\nsince %s\n", os.Getpid(), d.since.UTC().Format(time.RFC3339))
	if d.database != "" {
		text += "database " + d.database + "\n"
	}
	if _, err := d.lock.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return d.lock.Truncate(int64(len(text)))
}

// readDatabase finds the line of the database, whatever else the lock says.
func readDatabase(f io.ReaderAt) string {
	lines := bufio.NewScanner(io.NewSectionReader(f, 0, 1<<10))
	for lines.Scan() {
		if id, found := strings.CutPrefix(lines.Text(), "database "); found {
			return id
		}
	}
	return ""
}

// TryLock locks a file for this process alone until it is closed. It fails with
// EWOULDBLOCK while another process has it locked.
func TryLock(f *os.File) error { return tryLock(f, exclusive) }

// How a file may be locked.
const (
	shared    = false
	exclusive = true
)

// lock locks a file, and gives up with EWOULDBLOCK after lockPatience, or when its holder is
// dying after dyingPatience.
func lock(f *os.File) error {
	for start := time.Now(); ; time.Sleep(lockInterval) {
		err := tryLock(f, exclusive)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		switch waited := time.Since(start); {
		case waited < lockPatience:
		case waited >= dyingPatience:
			return err
		default:
			if pid, _ := holder(f); !dying(pid) {
				return tryLock(f, exclusive) // it may have ended since
			}
		}
	}
}

// holder reads who holds the lock, and since when. For an instant after the lock was taken it
// can be none, with a pid of 0, or a process that is dead.
func holder(f io.ReaderAt) (pid int, since string) {
	if _, err := fmt.Fscanf(io.NewSectionReader(f, 0, 1<<10), "pid %d\nsince %s\n", &pid, &since); err != nil {
		return 0, ""
	}
	return pid, since
}

// readHolder says who holds the lock.
func readHolder(f io.ReaderAt) string {
	pid, since := holder(f)
	if pid == 0 {
		return "pid unknown"
	}
	return fmt.Sprintf("pid %d, since %s", pid, since)
}

// takeMark finds out how the last broker stopped, and removes the mark. An
// orderly stop is also assumed where no broker left a file.
func (d *Dir) takeMark() error {
	switch err := os.Remove(d.Path(cleanName)); {
	case err == nil:
		d.clean, d.used = true, true
		return d.sync()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := os.ReadDir(d.path)
	d.clean = true
	for _, e := range entries {
		if e.Name() != lockName && !e.IsDir() { // a new disk has lost+found
			d.clean = false
		}
	}
	return err
}

// Path is the path of a file in the directory.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Clean reports whether the last broker stopped gracefully, or none ever ran
// here. Otherwise what it left has to be checked.
func (d *Dir) Clean() bool { return d.clean }

// Used reports whether a broker is known to have stopped here in order: then what it kept
// has to be here, too.
func (d *Dir) Used() bool { return d.used }

// Database is the identity of the database that the directory had last, "" if that is not
// known.
func (d *Dir) Database() string { return d.database }

// SetDatabase records, durably, which database the directory has. With "" it forgets it.
func (d *Dir) SetDatabase(id string) error {
	if d.database == id {
		return nil
	}
	d.database = id
	if err := errors.Join(d.describe(), d.lock.Sync()); err != nil {
		return fmt.Errorf("name of the database in %s: %w", d.lock.Name(), err)
	}
	return nil
}

// MarkClean records, durably, that this broker stops gracefully. It is called
// after everything in the directory was written and closed, before Close.
func (d *Dir) MarkClean() error {
	f, err := os.OpenFile(d.Path(cleanName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("mark of an orderly stop: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close(), d.sync()); err != nil {
		return fmt.Errorf("mark of an orderly stop: %w", err)
	}
	return nil
}

// PutBack records the orderly stop of the last broker again, if Open found it: nothing in
// the directory was changed since.
func (d *Dir) PutBack() error {
	if !d.used {
		return nil
	}
	return d.MarkClean()
}

// sync makes the names in the directory durable.
func (d *Dir) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close lets the next broker in. Only the first call does something; later ones
// report os.ErrClosed.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}
