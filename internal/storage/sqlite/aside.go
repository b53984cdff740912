package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// examineLog decides what becomes of the log before SQLite sees it, and does it.
func examineLog(o Options, m *markState) error {
	e, err := gatherEvidence(o, m)
	if err != nil {
		return err
	}
	v := e.judge()
	if v.loss != nil {
		return refuse(o, v.loss, v.aside)
	}
	if v.notice != "" {
		kept, err := keepLog(e.path, v.keep, v.aside, "")
		o.Log.Warn("log is not as it was left: "+v.notice, "path", e.path, "kept", kept, "err", err)
		if err != nil && v.aside {
			return err
		}
	}
	return nil
}

// gatherEvidence reads what is known of the log, and changes nothing.
func gatherEvidence(o Options, m *markState) (*evidence, error) {
	path := o.Path + "-wal"
	scan, err := wal.Scan(path, pageSize(o.Path))
	if err != nil {
		return nil, err
	}
	e := &evidence{path: path, marks: m, scan: scan, copiedElsewhere: func() bool { return m.inDatabase(o.Path) }}
	if m != nil && m.log.Witness != [16]byte{} && m.log.Witness == o.witness {
		if x, ok := wal.ReadIndex(o.Path+"-shm", m.log.Round); ok {
			e.index = &x
		}
	}
	return e, nil
}

// errAccepted: what is missing was accepted, and the files are now as if it had never been.
var errAccepted = errors.New("the loss was accepted")

// refuse returns the loss, or errAccepted when that is what the options say. Then a log
// that must not be seen is set aside and the mark is gone: a crash in between is refused
// again, one after it finds nothing wrong.
func refuse(o Options, loss *storage.Loss, aside bool) error {
	path := o.Path + "-wal"
	accepted := o.AcceptLoss == loss.ID
	kept, err := keepLog(path, true, accepted && aside, loss.ID)
	if !accepted {
		if err != nil {
			loss.What += fmt.Sprintf(" (the log could not be copied: %v)", err)
		}
		if o.AcceptLoss != "" {
			loss.What += fmt.Sprintf(" (what was accepted is another loss, %s)", o.AcceptLoss)
		}
		loss.Copy = kept
		return loss
	}
	if err != nil {
		return err
	}
	o.Log.Warn("continuing with what is left, as told: "+loss.What, "loss", loss.ID, "kept", kept)
	if err := os.Remove(o.Path + markSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(filepath.Dir(o.Path)); err != nil {
		return err
	}
	return errAccepted
}

// keepLog copies the log to a file of its own, or renames it. The name says when it was
// last written and what for, so that the same log is not kept twice.
func keepLog(path string, keep, aside bool, why string) (kept string, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 || !keep && !aside {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	kept = path + info.ModTime().UTC().Format("-20060102T150405Z") // wall clock: for people
	if why != "" {
		kept += "-" + why
	}
	if old, err := os.Stat(kept); err != nil || old.Size() != info.Size() {
		if kept, err = copyAside(path, kept); err != nil {
			return "", err
		}
	}
	if aside {
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	return kept, syncDir(filepath.Dir(path))
}

// copyAside copies a file to a new one, whose name begins with to, for its owner only.
func copyAside(from, to string) (path string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		out, err = os.OpenFile(fmt.Sprintf("%s.%d", to, n), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), nil
}

// inDatabase reports whether the database file has the page that the last synced
// transaction wrote last. A program that removes a log has copied all of it before. If a
// later transaction, which the mark does not know, had written that page again, the
// database may have everything and is refused all the same: nothing proves it.
func (m *markState) inDatabase(path string) bool {
	last := m.synced.Last
	if last.Page == 0 || m.synced.Round != m.log.Round {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	size := pageSize(path)
	page := make([]byte, size)
	if _, err := f.ReadAt(page, (int64(last.Page)-1)*size); err != nil {
		return false
	}
	return last.Matches(page)
}
