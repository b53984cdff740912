package storage

import (
	"encoding/binary"
	"hash/crc32"
	"unsafe"
)

// Summer computes checksums of records without allocating. The zero value is ready
// to use, by one goroutine at a time; it does not change what is computed.
type Summer struct{ head [36]byte }

// Checksum is the CRC-32C over topic, offset, time, id, tag, headers and body of
// a record. It covers the position as well as the content, so that a row which
// turns up under another key is found out, and the lengths, so that bytes cannot
// move from one field to the next unnoticed. It is never 0: a record without a
// checksum is a damaged one.
func (s *Summer) Checksum(topic TopicID, r *Record) uint32 {
	b := &s.head
	binary.LittleEndian.PutUint64(b[0:], uint64(topic))
	binary.LittleEndian.PutUint64(b[8:], uint64(r.Offset))
	binary.LittleEndian.PutUint64(b[16:], uint64(r.Time))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(r.ID)))
	binary.LittleEndian.PutUint32(b[28:], uint32(len(r.Tag)))
	binary.LittleEndian.PutUint32(b[32:], uint32(len(r.Headers)))
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // the standard library's own, not a copy
	c := crc32.Update(0, castagnoli, b[:])
	c = crc32.Update(c, castagnoli, unsafe.Slice(unsafe.StringData(r.ID), len(r.ID)))
	c = crc32.Update(c, castagnoli, unsafe.Slice(unsafe.StringData(r.Tag), len(r.Tag)))
	c = crc32.Update(c, castagnoli, unsafe.Slice(unsafe.StringData(r.Headers), len(r.Headers)))
	c = crc32.Update(c, castagnoli, r.Body)
	if c == 0 {
		return 1
	}
	return c
}

// Checksum is [Summer.Checksum] for one record.
func Checksum(topic TopicID, r *Record) uint32 { return new(Summer).Checksum(topic, r) }

// Damaged reports whether the record was read with a checksum that did not match.
func (r *Record) Damaged() bool { return r.CRC == 0 }
