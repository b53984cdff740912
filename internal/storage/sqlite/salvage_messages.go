package sqlite

import (
	"github.com/rushmore/zbus-go/internal/storage"
)

// Messages prove themselves: a checksum covers what a message says, its topic, its offset
// and its time. So whatever is damaged around it, it can be looked for.

// maxSkip is how many messages that can't be made out may be before one that can.
const maxSkip = 64

// intact appends the messages of a block whose checksums match.
func (s *salvager) intact(b *block, dst []storage.Record) []storage.Record {
	before := len(dst)
	if dst = s.messages(b, dst); len(dst) > before {
		return dst
	}
	// Not one: then what the block says of itself may be damaged.
	for bit := range offsetBits + 22 {
		fixed := *b
		fixed.key ^= 1 << bit
		if s.proves(&fixed) {
			return s.messages(&fixed, dst)
		}
	}
	for bit := range 48 {
		fixed := *b
		fixed.time ^= 1 << bit
		if s.proves(&fixed) {
			return s.messages(&fixed, dst)
		}
	}
	return dst
}

// proves reports whether the first message of a block is intact.
func (s *salvager) proves(b *block) bool {
	var r storage.Record
	_, ok := s.entry(b, b.meta[5:], 0, &r)
	return ok
}

// messages appends the messages whose checksums match. Behind one that does not, the next
// one is looked for.
func (s *salvager) messages(b *block, dst []storage.Record) []storage.Record {
	rest := b.meta[5:] // the head of the list, whose length need not be right
	for i, lost := int64(0), false; len(rest) > 0 && i < maxBlockRows; {
		var r storage.Record
		size, ok := s.entry(b, rest, i, &r)
		for skip := int64(1); !ok && lost && size > 0 && skip <= maxSkip; skip++ {
			if size, ok = s.entry(b, rest, i+skip, &r); ok {
				i += skip
			}
		}
		if !ok {
			rest, lost = rest[1:], true
			continue
		}
		dst = append(dst, r)
		rest, i = rest[size:], i+1
		lost = false
	}
	return dst
}

// entry makes r the message at the front of a list, as the i-th of its block. size is how
// many bytes of the list it takes, 0 if it is none; ok says that its checksum matches.
func (s *salvager) entry(b *block, rest []byte, i int64, r *storage.Record) (size int, ok bool) {
	if code := rest[0] >> 4; rest[0]&0xf != jsonbArray || code != size16 && code != size32 {
		return 0, false
	}
	list := jsonb{rest: rest}
	m := jsonb{rest: list.take(jsonbArray)}
	*r = storage.Record{Offset: offsetOf(b.key) + i, Time: b.time + m.int(), CRC: uint32(m.int())}
	r.ID, r.Tag, r.Headers = m.text(), m.text(), m.text()
	at, length := m.int(), m.int()
	if list.bad || m.bad || r.CRC == 0 || r.Offset > storage.MaxOffset {
		return 0, false
	}
	if length > 0 {
		if at > int64(len(b.body)) || length > int64(len(b.body))-at {
			return len(rest) - len(list.rest), false
		}
		r.Body = b.body[at : at+length : at+length]
	}
	topic := storage.TopicID(b.key >> offsetBits)
	return len(rest) - len(list.rest), topic >= 1 && s.sums.Checksum(topic, r) == r.CRC
}
