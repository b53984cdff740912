package pages

import (
	"bufio"
	"encoding/binary"
	"io"
)

const (
	logHead   = 32
	frameHead = 24
)

// frameAt is where a frame begins in the log.
func (f *File) frameAt(frame int64) int64 { return logHead + (frame-1)*int64(frameHead+f.size) }

// sum is the checksum of the log, which continues from frame to frame.
type sum struct{ a, b uint32 }

func (s sum) add(order binary.ByteOrder, data []byte) sum {
	for ; len(data) >= 8; data = data[8:] {
		s.a += order.Uint32(data) + s.b
		s.b += order.Uint32(data[4:]) + s.a
	}
	return s
}

func sumOf(stored []byte) sum {
	return sum{binary.BigEndian.Uint32(stored), binary.BigEndian.Uint32(stored[4:])}
}

// readLog finds the newest image of each page, up to the last transaction that is
// complete.
//
// SQLite drops all that is behind damage. Here a frame counts if its own checksum matches,
// which continues from the one that the frame before says: so damage costs one frame, or two.
func (f *File) readLog() error {
	in := bufio.NewReaderSize(f.log, 1<<20)
	head := make([]byte, logHead)
	if _, err := io.ReadFull(in, head); err != nil {
		return short(err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[3]&1 != 0 {
		order = binary.BigEndian
	}
	salt := string(head[16:24])
	if (sum{}).add(order, head[:24]) != sumOf(head[24:]) {
		f.note("the head of the log is damaged")
		salt = ""
	}
	before := sumOf(head[24:])
	pending, frame := map[Number]int64{}, make([]byte, frameHead+f.size)
	var suspects []Image
	for n := int64(1); ; n++ {
		if _, err := io.ReadFull(in, frame); err != nil {
			return short(err)
		}
		if salt == "" {
			salt = string(frame[8:16])
		}
		good := before.add(order, frame[:8]).add(order, frame[frameHead:]) == sumOf(frame[16:]) && string(frame[8:16]) == salt
		before = sumOf(frame[16:])
		page, size := Number(binary.BigEndian.Uint32(frame)), Number(binary.BigEndian.Uint32(frame[4:]))
		switch {
		case string(frame[8:16]) != salt: // of an earlier round, whose frames are behind those of this one
			continue
		case good:
			pending[page] = n
		default:
			suspects = append(suspects, Image{page, n})
		}
		if size == 0 {
			continue
		}
		for p, at := range pending {
			f.newest[p] = at
		}
		clear(pending)
		if good {
			f.count = size
		}
		f.suspect(suspects)
		suspects = nil
	}
}

// suspect takes images in whose checksums do not match.
func (f *File) suspect(images []Image) {
	for _, i := range images {
		f.note("frame %d of the log is damaged", i.Frame)
		if i.Page >= 1 && i.Page <= f.count+1<<10 {
			f.suspects = append(f.suspects, i)
			f.count = max(f.count, i.Page)
		}
	}
}

// short is the error of a log that ends, which is none.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // io.ReadFull returns them as they are
		return nil
	}
	return err
}
