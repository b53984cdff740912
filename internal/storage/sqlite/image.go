package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/rushmore/zbus-go/internal/storage"
)

// An Image is a database at one point in time: everything that is committed when the
// image begins, and nothing later. It is read page by page inside one read transaction,
// so it takes no room on the disk. The transaction keeps the log from starting again, so
// the log grows for as long as it takes to read the image: see maxImageLog.
//
// What is read is a complete database file by itself, without a log next to it.
type Image struct {
	conn  *conn
	store *Store // nil for the image of a file that is not in use
	path  string
	size  int64
	room  bool // there was enough on the disk when it began
}

// maxImageLog is the size of the log at which an image ends, read or not.
const maxImageLog = 1 << 30

// imageChunk is how many bytes of an image are written at a time.
const imageChunk = 256 << 10

// ErrLogTooLarge ends an image that is read too slowly for what is being written.
var ErrLogTooLarge = fmt.Errorf("the log has become too large while the image was read: %w", storage.ErrOverloaded)

// errLowWithImage ends an image that holds the log when the disk is almost full. One that
// began when it was may be what an operator needs.
var errLowWithImage = fmt.Errorf("the disk has become almost full while the image was read: %w", storage.ErrFull)

// Image begins an image of the store. Close ends it. The store's own Close waits for
// that, and lets images be read no further.
func (s *Store) Image() (*Image, error) {
	if err := s.images.begin(); err != nil {
		return nil, err
	}
	im := &Image{store: s, path: s.options.Path, room: !s.Space().Stopped}
	if err := im.open(readerSetup(s.options)); err != nil {
		s.images.end()
		return nil, fmt.Errorf("image of %s: %w", s.options.Path, err)
	}
	return im, nil
}

// OpenImage begins an image of a database that no process has open. What its log holds
// is part of it; if something that was answered is missing from that, it returns a
// [storage.Loss]. Nothing is written to the database or to its log.
func OpenImage(path string) (*Image, error) {
	o := Options{Path: path}.withDefaults()
	setup, err := restingSetup(o)
	if err != nil {
		return nil, err
	}
	useless, err := noLoss(o)
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", path, err)
	}
	setup.immutable = setup.immutable || useless
	im := &Image{path: path}
	if err := im.open(setup); err != nil {
		return nil, fmt.Errorf("image of %s: %w", path, err)
	}
	return im, nil
}

// noLoss reports what is missing from the log of a database. useless is a log that must
// not be read, as the database has more than is left of it.
func noLoss(o Options) (useless bool, err error) {
	m, err := readMark(o.Path)
	if err != nil && !errors.Is(err, errMark) {
		return false, err
	}
	e, err := gatherEvidence(o, m)
	if err != nil {
		return false, err
	}
	v := e.judge()
	if v.loss != nil {
		return false, v.loss
	}
	return v.aside, nil
}

// restingSetup is for reading a file that no process has open.
func restingSetup(o Options) (setup, error) {
	if err := checkMagic(o.Path); err != nil {
		return setup{}, fmt.Errorf("%s: %w", o.Path, err)
	}
	setup := readerSetup(o)
	setup.immutable = size(o.Path+"-wal") == 0
	return setup, nil
}

func (im *Image) open(setup setup) (err error) {
	if im.conn, err = openReader(setup); err != nil {
		return err
	}
	if err := im.begin(); err != nil {
		return errors.Join(translate(err), im.conn.close())
	}
	return nil
}

// begin begins the transaction. What is asked for in it fixes the point in time.
func (im *Image) begin() error {
	if err := im.conn.run("BEGIN"); err != nil {
		return err
	}
	pages, err := im.conn.value("PRAGMA page_count")
	if err != nil {
		return err
	}
	page, err := im.conn.value("PRAGMA page_size")
	im.size = integer(pages) * integer(page)
	if err == nil && im.size == 0 {
		err = fmt.Errorf("no pages: %w", storage.ErrDamaged)
	}
	return err
}

// Size is how many bytes the image has.
func (im *Image) Size() int64 { return im.size }

// Copy writes the image. It is called once.
func (im *Image) Copy(ctx context.Context, w io.Writer) error {
	buf, done := make([]byte, 0, imageChunk), int64(0)
	for row, err := range im.conn.ask("SELECT data FROM sqlite_dbpage ORDER BY pgno") {
		if err != nil {
			return im.failed(err)
		}
		page := pageOf(row, done)
		if len(buf)+len(page) > cap(buf) {
			if err := im.write(ctx, w, buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf, done = append(buf, page...), done+int64(len(page))
	}
	if err := im.write(ctx, w, buf); err != nil {
		return err
	}
	if done != im.size {
		return im.failed(fmt.Errorf("%d bytes instead of %d: %w", done, im.size, storage.ErrDamaged))
	}
	return nil
}

// Bytes 18 and 19 of a database say whether there is a log next to it.
const (
	formatVersions = 18
	withoutLog     = 1
)

// pageOf is the page of a row. The first one says that the database needs no log, so that
// anybody can open a copy, also where nothing may be written.
func pageOf(row []driver.Value, at int64) []byte {
	page := blob(row[0])
	if at == 0 && len(page) > formatVersions+1 {
		page[formatVersions], page[formatVersions+1] = withoutLog, withoutLog
	}
	return page
}

func (im *Image) write(ctx context.Context, w io.Writer, buf []byte) error {
	if err := context.Cause(ctx); err != nil {
		return im.failed(err)
	}
	if err := im.readable(); err != nil {
		return im.failed(err)
	}
	_, err := w.Write(buf)
	return err
}

// readable reports why the image must not be read any further, if it must not.
func (im *Image) readable() error {
	s := im.store
	switch {
	case s == nil:
		return nil
	case s.torn.Load():
		return errTorn
	case s.images.closing():
		return errClosed
	case size(im.path+"-wal") > s.options.imageLog:
		return ErrLogTooLarge
	case im.room && s.Space().Stopped:
		return errLowWithImage
	}
	return nil
}

func (im *Image) failed(err error) error {
	return fmt.Errorf("image of %s: %w", im.path, translate(err))
}

// Close ends the image.
func (im *Image) Close() error {
	err := im.conn.close()
	if im.store != nil {
		im.store.images.end()
	}
	return err
}
