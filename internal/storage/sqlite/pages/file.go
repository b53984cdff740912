// Package pages reads an SQLite file page by page without SQLite, for files that SQLite
// gives up on. It believes nothing that it can do without: a page, a cell or a chain that
// makes no sense costs what is in it and no more. Nothing is ever written.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Number is the number of a page, from 1.
type Number uint32

// File is a database file with what its log has of it on top. One goroutine uses it.
type File struct {
	main, log *os.File // log is nil without one
	size      int      // of a page
	usable    int      // bytes of a page that SQLite uses
	count     Number   // pages
	newest    map[Number]int64
	suspects  []Image
	notes     []string
	lastPage  Number
	lastData  []byte
}

// Image is what a frame of the log has of a page, or the page as it is in the database
// (frame 0).
type Image struct {
	Page  Number
	Frame int64 // from 1
}

// defaultPage is the size of a page if the file does not say one that is possible.
const defaultPage = 4096

// Open opens a database and, if there is one, the log next to it.
func Open(path string) (*File, error) {
	main, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{main: main, newest: map[Number]int64{}}
	if err := f.open(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *File) open(path string) error {
	head := make([]byte, 100)
	if _, err := io.ReadFull(f.main, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	f.size = int(binary.BigEndian.Uint16(head[16:]))
	if f.size == 1 {
		f.size = 1 << 16
	}
	if f.size < 512 || f.size&(f.size-1) != 0 {
		f.note("the head of the file does not say how large a page is; taken for %d bytes", defaultPage)
		f.size = defaultPage
	}
	f.usable = f.size - int(head[20])
	if f.usable < 480 {
		f.usable = f.size
	}
	info, err := f.main.Stat()
	if err != nil {
		return err
	}
	f.count = Number(min((info.Size()+int64(f.size)-1)/int64(f.size), 1<<32-2))
	f.log, err = os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		f.log = nil
		return nil
	}
	if err != nil {
		return err
	}
	return f.readLog()
}

// Close closes the files.
func (f *File) Close() error {
	err := f.main.Close()
	if f.log != nil {
		err = errors.Join(err, f.log.Close())
	}
	return err
}

func (f *File) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// Notes say what was wrong with the file and its log as a whole.
func (f *File) Notes() []string { return f.notes }

// Count is how many pages there are.
func (f *File) Count() Number { return f.count }

// Suspects are images in the log whose checksums do not match. Of each page, Image with
// frame 0 gives what is known to be right.
func (f *File) Suspects() []Image { return f.suspects }

// Read returns an image. It is good until the next call. What the file is too short for
// reads as zeros.
func (f *File) Read(i Image) ([]byte, error) {
	if i.Page < 1 || i.Page > f.count {
		return nil, fmt.Errorf("page %d of %d", i.Page, f.count)
	}
	if i.Frame == 0 && i.Page == f.lastPage {
		return f.lastData, nil
	}
	if f.lastData == nil {
		f.lastData = make([]byte, f.size)
	}
	from, at := f.main, int64(i.Page-1)*int64(f.size)
	frame := i.Frame
	if frame == 0 {
		frame = f.newest[i.Page]
	}
	if frame > 0 {
		from, at = f.log, f.frameAt(frame)+frameHead
	}
	f.lastPage = 0
	n, err := from.ReadAt(f.lastData, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	clear(f.lastData[n:])
	if i.Frame == 0 {
		f.lastPage = i.Page
	}
	return f.lastData[:f.usable], nil
}
