package wal

import (
	"encoding/binary"
	"os"
)

const (
	Head      = 32 // bytes at the beginning of the log
	FrameHead = 24 // bytes before each page in the log
)

// Frame is the head of a frame that ends a transaction: enough to recognise its page
// in the database, should somebody else's program have copied and removed the log.
type Frame struct {
	Page, Size uint32 // as the frame's head has them
	Seed, Sum  Sum    // the checksum before and behind
}

// head is the part of the frame's head that its checksum covers.
func (l Frame) head() (b [8]byte) {
	binary.BigEndian.PutUint32(b[:], l.Page)
	binary.BigEndian.PutUint32(b[4:], l.Size)
	return b
}

// Matches reports whether a page is what the frame holds.
func (l Frame) Matches(page []byte) bool {
	sum, head := l.Seed, l.head()
	sum.add(head[:], hostBigEndian())
	sum.add(page, hostBigEndian())
	return sum == l.Sum
}

// FrameAt reads the head of a frame, counted from 1, of a log that begins
// with head and has pages of that many bytes.
func FrameAt(log *os.File, head []byte, frame, page int64) (Frame, error) {
	size := FrameHead + page
	seed := SumAt(head[24:])
	var b [FrameHead]byte
	if frame > 1 {
		if _, err := log.ReadAt(b[:], Head+(frame-2)*size); err != nil {
			return Frame{}, err
		}
		seed = SumAt(b[16:])
	}
	_, err := log.ReadAt(b[:], Head+(frame-1)*size)
	return Frame{Page: binary.BigEndian.Uint32(b[:]), Size: binary.BigEndian.Uint32(b[4:]), Seed: seed, Sum: SumAt(b[16:])}, err
}

// Position is a place in the log, at the end of a transaction.
type Position struct {
	Round      Round
	Frames     int64 // of the round
	Last       Frame
	Generation int64 // of what is stored up to there: the store counts them
}
