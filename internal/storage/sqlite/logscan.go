package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
)

// round is one use of the log from its beginning: what the head of the file says.
type round struct {
	Salt1, Salt2 uint32 // of every frame that is written in it
	Seq          uint32 // how often the log was started again since the file was created
}

// after reports whether r is a later round of the same file: SQLite counts both numbers
// up by one. By then everything of the earlier rounds is in the database.
func (r round) after(q round) bool {
	n := r.Seq - q.Seq
	return n != 0 && n < 1<<31 && r.Salt1-q.Salt1 == n
}

// parseRound reads it from the head of a log.
func parseRound(head []byte) round {
	return round{Seq: binary.BigEndian.Uint32(head[12:]), Salt1: binary.BigEndian.Uint32(head[16:]), Salt2: binary.BigEndian.Uint32(head[20:])}
}

// headState is what the head of a log looks like.
type headState int

const (
	headNone headState = iota // there is no file, or it is empty
	headBad                   // SQLite passes over the whole file
	headGood
)

// logScan is what the file of a log holds. SQLite takes its frames up to the last whole
// transaction before the first one whose checksum does not hold, and says nothing about
// what comes behind that.
type logScan struct {
	size  int64
	head  headState
	round round // of a good head
	whole int64 // frames from the first on whose checksums hold
	valid int64 // of these, up to the end of the last transaction: what SQLite takes
	// rest are the frames behind those, whatever they are.
	rest []strayFrame
}

// strayFrame is one that SQLite does not read.
type strayFrame struct {
	salt1, salt2 uint32
	last         bool // it ends a transaction
	linked       bool // its checksum continues that of the frame before
}

// of reports whether the frame says that it was written in the round.
func (f *strayFrame) of(r round) bool { return f.salt1 == r.Salt1 && f.salt2 == r.Salt2 }

// beyond counts the frames of a round that are in the file behind the first n and that
// SQLite does not read; with linked only those that continue the one before, which old
// content or half a frame does not.
func (s *logScan) beyond(r round, n int64, linked bool) (frames, transactions int64) {
	for i := range s.rest {
		f := &s.rest[i]
		if s.whole+int64(i) < n || !f.of(r) || linked && !f.linked {
			continue
		}
		frames++
		if f.last {
			transactions++
		}
	}
	return frames, transactions
}

// logSum is the running checksum of a log.
type logSum [2]uint32

// add continues the checksum with data, whose length is a multiple of 8.
func (s *logSum) add(data []byte, bigEndian bool) {
	a, b := s[0], s[1]
	for ; len(data) >= 8; data = data[8:] {
		x, y := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		if bigEndian {
			x, y = bits.ReverseBytes32(x), bits.ReverseBytes32(y)
		}
		a += x + b
		b += y + a
	}
	s[0], s[1] = a, b
}

// sumAt reads a checksum from the head of a log or a frame.
func sumAt(b []byte) logSum {
	return logSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

const (
	logMagic  = 0x377f0682 // the lowest bit says that checksums are big-endian
	maxPage   = 64 << 10
	minPage   = 512
	dbPageAt  = 16 // where the head of a database has the size of a page
	scanAhead = 1 << 20
)

// scanLog reads the whole log of a database, and changes nothing. page is the size of the
// database's pages, for a log whose head is bad.
func scanLog(path string, page int64) (*logScan, error) {
	s := &logScan{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return s, err
	}
	s.size, s.head = info.Size(), headBad
	in := bufio.NewReaderSize(f, scanAhead)
	head := make([]byte, logHead)
	if _, err := io.ReadFull(in, head); err != nil {
		return s, atEnd(err)
	}
	big, seed := hostBigEndian(), sumAt(head[24:])
	if own, ok := checkLogHead(head); ok {
		s.head, s.round = headGood, parseRound(head)
		big, page = head[3]&1 != 0, own
	}
	if err := s.scanFrames(in, page, big, seed); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// logRound is what the head of a log says, or the zero round.
func logRound(path string) (round, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return round{}, nil
	}
	if err != nil {
		return round{}, err
	}
	defer f.Close()
	head := make([]byte, logHead)
	if _, err := io.ReadFull(f, head); err != nil {
		return round{}, atEnd(err)
	}
	if _, ok := checkLogHead(head); !ok {
		return round{}, nil
	}
	return parseRound(head), nil
}

// checkLogHead is what SQLite asks of the head of a log, and the size of its pages.
func checkLogHead(head []byte) (page int64, ok bool) {
	magic := binary.BigEndian.Uint32(head)
	page = int64(binary.BigEndian.Uint32(head[8:]))
	if magic&^1 != logMagic || page < minPage || page > maxPage || page&(page-1) != 0 {
		return 0, false
	}
	var sum logSum
	sum.add(head[:24], magic&1 != 0)
	return page, sum == sumAt(head[24:])
}

func (s *logScan) scanFrames(in io.Reader, page int64, big bool, seed logSum) error {
	frame := make([]byte, frameHead+page)
	broken := s.head != headGood
	for n := int64(1); ; n++ {
		if _, err := io.ReadFull(in, frame); err != nil {
			return atEnd(err)
		}
		sum := seed
		sum.add(frame[:8], big)
		sum.add(frame[frameHead:], big)
		seed = sumAt(frame[16:])
		f := strayFrame{
			salt1: binary.BigEndian.Uint32(frame[8:]), salt2: binary.BigEndian.Uint32(frame[12:]),
			last: binary.BigEndian.Uint32(frame[4:]) != 0, linked: sum == seed,
		}
		broken = broken || !f.linked || !f.of(s.round) || binary.BigEndian.Uint32(frame) == 0
		if broken {
			s.rest = append(s.rest, f)
			continue
		}
		s.whole = n
		if f.last {
			s.valid = n
		}
	}
}

// atEnd takes the end of a file, also in the middle of something, for no error.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func hostBigEndian() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

// pageSize is what the head of a database says, or the size that ours have.
func pageSize(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return pageBytes
	}
	defer f.Close()
	var b [2]byte
	if _, err := f.ReadAt(b[:], dbPageAt); err != nil {
		return pageBytes
	}
	page := int64(binary.BigEndian.Uint16(b[:]))
	if page == 1 {
		return maxPage
	}
	if page < minPage || page&(page-1) != 0 {
		return pageBytes
	}
	return page
}

// The index of the log (the file that ends in -shm) as a killed process leaves it.
const (
	indexHead     = 48  // bytes of its head, of which there are two copies
	indexFrames   = 16  // where the head has the number of frames
	indexSalts    = 32  // where it has the salts of the round
	indexSum      = 40  // where it has the checksum of what comes before
	indexAttempt  = 128 // how far the last checkpoint meant to copy
	indexAttempts = indexAttempt + 4
)

// logIndex is how much of a round was written, and copied or about to be, when a process
// was killed.
type logIndex struct{ frames, attempted int64 }

// readIndex reads the index of a log. It means something only if it is of this round and
// nothing that was written has been lost since: the file is never synced.
func readIndex(path string, r round) (logIndex, bool) {
	f, err := os.Open(path)
	if err != nil {
		return logIndex{}, false
	}
	defer f.Close()
	b := make([]byte, indexAttempts)
	if _, err := io.ReadFull(f, b); err != nil {
		return logIndex{}, false
	}
	return parseIndex(b, r)
}

// parseIndex reads the beginning of an index, if it is whole and of a round.
func parseIndex(b []byte, r round) (logIndex, bool) {
	if string(b[:indexHead]) != string(b[indexHead:2*indexHead]) {
		return logIndex{}, false
	}
	var sum logSum
	sum.add(b[:indexSum], hostBigEndian())
	same := sum == logSum{binary.NativeEndian.Uint32(b[indexSum:]), binary.NativeEndian.Uint32(b[indexSum+4:])}
	if !same || binary.BigEndian.Uint32(b[indexSalts:]) != r.Salt1 || binary.BigEndian.Uint32(b[indexSalts+4:]) != r.Salt2 {
		return logIndex{}, false
	}
	return logIndex{
		frames:    int64(binary.NativeEndian.Uint32(b[indexFrames:])),
		attempted: int64(binary.NativeEndian.Uint32(b[indexAttempt:])),
	}, true
}
