package wal

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

// Round is one use of the log from its beginning: what the head of the file says.
type Round struct {
	Salt1, Salt2 uint32 // of every frame that is written in it
	Seq          uint32 // how often the log was started again since the file was created
}

// After reports whether r is a later round of the same file: SQLite counts both numbers
// up by one. By then everything of the earlier rounds is in the database.
func (r Round) After(q Round) bool {
	n := r.Seq - q.Seq
	return n != 0 && n < 1<<31 && r.Salt1-q.Salt1 == n
}

// ParseRound reads it from the head of a log.
func ParseRound(head []byte) Round {
	return Round{Seq: binary.BigEndian.Uint32(head[12:]), Salt1: binary.BigEndian.Uint32(head[16:]), Salt2: binary.BigEndian.Uint32(head[20:])}
}

// HeadState is what the head of a log looks like.
type HeadState int

const (
	NoHead  HeadState = iota // there is no file, or it is empty
	BadHead                  // SQLite passes over the whole file
	GoodHead
)

// Scanned is what the file of a log holds. SQLite takes its frames up to the last whole
// transaction before the first one whose checksum does not hold, and says nothing about
// what comes behind that.
type Scanned struct {
	Size  int64
	Head  HeadState
	Round Round // of a good head
	Whole int64 // frames from the first on whose checksums hold
	Valid int64 // of these, up to the end of the last transaction: what SQLite takes
	// Rest are the frames behind those, whatever they are.
	Rest []StrayFrame
}

// StrayFrame is one that SQLite does not read.
type StrayFrame struct {
	Salt1, Salt2 uint32
	Last         bool // it ends a transaction
	Linked       bool // its checksum continues that of the frame before
}

// Of reports whether the frame says that it was written in the round.
func (f *StrayFrame) Of(r Round) bool { return f.Salt1 == r.Salt1 && f.Salt2 == r.Salt2 }

// Beyond counts the frames of a round that are in the file behind the first n and that
// SQLite does not read; with linked only those that continue the one before, which old
// content or half a frame does not.
func (s *Scanned) Beyond(r Round, n int64, linked bool) (frames, transactions int64) {
	for i := range s.Rest {
		f := &s.Rest[i]
		if s.Whole+int64(i) < n || !f.Of(r) || linked && !f.Linked {
			continue
		}
		frames++
		if f.Last {
			transactions++
		}
	}
	return frames, transactions
}

// Transactions counts those that end behind what SQLite takes, up to a frame.
func (s *Scanned) Transactions(frame int64) (n int64) {
	for i := range s.Rest {
		if s.Whole+int64(i) < frame && s.Rest[i].Last && s.Rest[i].Of(s.Round) {
			n++
		}
	}
	return n
}

// Sum is the running checksum of a log.
type Sum [2]uint32

// add continues the checksum with data, whose length is a multiple of 8.
func (s *Sum) add(data []byte, bigEndian bool) {
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

// SumAt reads a checksum from the head of a log or a frame.
func SumAt(b []byte) Sum {
	return Sum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

const (
	logMagic  = 0x377f0682 // the lowest bit says that checksums are big-endian
	MaxPage   = 64 << 10
	MinPage   = 512
	scanAhead = 1 << 20
)

// Scan reads the whole log of a database, and changes nothing. page is the size of the
// database's pages, for a log whose head is bad.
func Scan(path string, page int64) (*Scanned, error) {
	s := &Scanned{}
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
	s.Size, s.Head = info.Size(), BadHead
	in := bufio.NewReaderSize(f, scanAhead)
	head := make([]byte, Head)
	if _, err := io.ReadFull(in, head); err != nil {
		return s, atEnd(err)
	}
	big, seed := hostBigEndian(), SumAt(head[24:])
	if own, ok := checkLogHead(head); ok {
		s.Head, s.Round = GoodHead, ParseRound(head)
		big, page = head[3]&1 != 0, own
	}
	if err := s.scanFrames(in, page, big, seed); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// ReadRound is what the head of a log says, or the zero round.
func ReadRound(path string) (Round, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Round{}, nil
	}
	if err != nil {
		return Round{}, err
	}
	defer f.Close()
	head := make([]byte, Head)
	if _, err := io.ReadFull(f, head); err != nil {
		return Round{}, atEnd(err)
	}
	if _, ok := checkLogHead(head); !ok {
		return Round{}, nil
	}
	return ParseRound(head), nil
}

// checkLogHead is what SQLite asks of the head of a log, and the size of its pages.
func checkLogHead(head []byte) (page int64, ok bool) {
	magic := binary.BigEndian.Uint32(head)
	page = int64(binary.BigEndian.Uint32(head[8:]))
	if magic&^1 != logMagic || page < MinPage || page > MaxPage || page&(page-1) != 0 {
		return 0, false
	}
	var sum Sum
	sum.add(head[:24], magic&1 != 0)
	return page, sum == SumAt(head[24:])
}

func (s *Scanned) scanFrames(in io.Reader, page int64, big bool, seed Sum) error {
	frame := make([]byte, FrameHead+page)
	broken := s.Head != GoodHead
	for n := int64(1); ; n++ {
		if _, err := io.ReadFull(in, frame); err != nil {
			return atEnd(err)
		}
		sum := seed
		sum.add(frame[:8], big)
		sum.add(frame[FrameHead:], big)
		seed = SumAt(frame[16:])
		f := StrayFrame{
			Salt1: binary.BigEndian.Uint32(frame[8:]), Salt2: binary.BigEndian.Uint32(frame[12:]),
			Last: binary.BigEndian.Uint32(frame[4:]) != 0, Linked: sum == seed,
		}
		broken = broken || !f.Linked || !f.Of(s.Round) || binary.BigEndian.Uint32(frame) == 0
		if broken {
			s.Rest = append(s.Rest, f)
			continue
		}
		s.Whole = n
		if f.Last {
			s.Valid = n
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

// The index of the log (the file that ends in -shm) as a killed process leaves it.
const (
	indexHead    = 48  // bytes of its head, of which there are two copies
	indexFrames  = 16  // where the head has the number of frames
	indexSalts   = 32  // where it has the salts of the round
	indexSum     = 40  // where it has the checksum of what comes before
	indexAttempt = 128 // how far the last checkpoint meant to copy
	IndexBytes   = indexAttempt + 4
)

// Index is how much of a round was written, and copied or about to be, when a process
// was killed: both in frames.
type Index struct{ Frames, Attempted int64 }

// ReadIndex reads the index of a log. It means something only if it is of this round and
// nothing that was written has been lost since: the file is never synced.
func ReadIndex(path string, r Round) (Index, bool) {
	f, err := os.Open(path)
	if err != nil {
		return Index{}, false
	}
	defer f.Close()
	b := make([]byte, IndexBytes)
	if _, err := io.ReadFull(f, b); err != nil {
		return Index{}, false
	}
	return ParseIndex(b, r)
}

// ParseIndex reads the beginning of an index, if it is whole and of a round.
func ParseIndex(b []byte, r Round) (Index, bool) {
	if string(b[:indexHead]) != string(b[indexHead:2*indexHead]) {
		return Index{}, false
	}
	var sum Sum
	sum.add(b[:indexSum], hostBigEndian())
	same := sum == Sum{binary.NativeEndian.Uint32(b[indexSum:]), binary.NativeEndian.Uint32(b[indexSum+4:])}
	if !same || binary.BigEndian.Uint32(b[indexSalts:]) != r.Salt1 || binary.BigEndian.Uint32(b[indexSalts+4:]) != r.Salt2 {
		return Index{}, false
	}
	return Index{
		Frames:    int64(binary.NativeEndian.Uint32(b[indexFrames:])),
		Attempted: int64(binary.NativeEndian.Uint32(b[indexAttempt:])),
	}, true
}
