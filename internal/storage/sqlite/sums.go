package sqlite

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/rushmore/zbus-go/internal/storage"
)

// rowSum is the checksum of what a row says. kind keeps rows of one table from being
// taken for those of another. It is never 0.
func rowSum(kind byte, words []int64, texts ...string) int64 {
	b := append(make([]byte, 0, 256), kind)
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, uint64(w))
	}
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // the standard library's own, not a copy
	for _, s := range texts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	}
	c := crc32.Update(0, castagnoli, b)
	for _, s := range texts {
		c = crc32.Update(c, castagnoli, []byte(s))
	}
	return max(int64(c), 1)
}

// topicSum is the checksum of a topic's definition. Who made it, and when, is not in
// it. name is folded: so it says which topic it is.
func topicSum(t *storage.Topic) int64 {
	r, texts := t.Retention, []string{storage.Fold(t.Name), t.Kind.String()}
	if t.Owner != "" { // those without one have the checksum that they had before there were owners
		texts = append(texts, t.Owner)
	}
	return rowSum('T', []int64{
		int64(t.ID), t.LegacyMask, truth(t.Replies), truth(t.Paused), r.MaxAge, r.MaxCount, r.MaxBytes,
	}, texts...)
}

// topicPlaceSum is the checksum of what a topic's row says of its log.
func topicPlaceSum(id storage.TopicID, m *marks) int64 {
	return rowSum('l', []int64{int64(id), m.First, m.Dropped, m.Next, m.Total, m.LastTime, m.Lost})
}

// groupSum is the checksum of a group's definition.
func groupSum(g *storage.Group) int64 {
	return rowSum('G', []int64{
		int64(g.ID), int64(g.Topic), g.LegacyMask, truth(g.Exclusive), truth(g.Paused), truth(g.Ephemeral),
		g.AckTimeout, g.AckWindow, g.MaxDeliver, g.Version,
	}, storage.Fold(g.Name), g.Filter, g.Settle.String())
}

// groupPlaceSum is the checksum of a group's place. settled is as it is stored.
func groupPlaceSum(id storage.GroupID, epoch int64, p *storage.Progress, settled string) int64 {
	return rowSum('p', []int64{int64(id), epoch, p.Cursor, p.Read}, settled)
}

func parkedSum(p *storage.Parked) int64 {
	return rowSum('d', []int64{int64(p.Group), p.Offset, p.Count, p.Due}, p.Cause)
}

func documentSum(d *storage.Document) int64 {
	return rowSum('a', nil, d.Kind, d.Name, d.Value)
}

func clockSum(c *storage.Clock) int64 {
	return rowSum('c', []int64{c.Since, c.Last, c.Ahead, c.Jump, c.Held}, c.Boot)
}

// historySum is the checksum of a chunk, which says what series and level it is of.
func historySum(of storage.Series, level uint8, data []byte) int64 {
	return rowSum('h', []int64{int64(of.Topic), int64(of.Group), int64(level)}, string(data))
}
