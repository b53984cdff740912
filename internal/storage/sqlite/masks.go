package sqlite

import (
	"database/sql/driver"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Rows of schemas before the sixth have what topics and groups are as bits of a mask, and
// checksums over that. Once such a row was read, it is written with columns of their own.

// The bits.
const (
	maskRPC       = 2
	maskProxy     = 4
	maskPause     = 8
	maskExclusive = 16
	maskEphemeral = 32
	maskExplicit  = 64
)

// topicFromMask fills in what the mask of a topic says.
func topicFromMask(t *storage.Topic, memory bool) {
	switch calls := t.LegacyMask & (maskRPC | maskProxy); {
	case !memory:
		t.Replies = calls != 0
	case calls&maskProxy != 0:
		t.Kind = storage.KindProxy
	case calls != 0:
		t.Kind = storage.KindRPC
	default:
		t.Kind = storage.KindMemory
	}
}

// groupFromMask fills in what the mask of a group says.
func groupFromMask(g *storage.Group) {
	is := func(bit int64) bool { return g.LegacyMask&bit != 0 }
	if is(maskExplicit) {
		g.Settle = storage.SettleExplicit
	}
	g.Paused, g.Exclusive, g.Ephemeral = is(maskPause), is(maskExclusive), is(maskEphemeral)
}

// topicMaskSum is the checksum that the definition of such a topic has.
func topicMaskSum(t *storage.Topic, memory bool) int64 {
	r := t.Retention
	return rowSum('t', []int64{
		int64(t.ID), t.LegacyMask, truth(memory), truth(t.Paused), r.MaxAge, r.MaxCount, r.MaxBytes,
	}, storage.Fold(t.Name))
}

// groupMaskSum is the checksum that the definition of such a group has.
func groupMaskSum(g *storage.Group) int64 {
	return rowSum('g', []int64{
		int64(g.ID), int64(g.Topic), g.LegacyMask, g.AckTimeout, g.AckWindow, g.MaxDeliver, g.Version,
	}, storage.Fold(g.Name), g.Filter)
}

// described is what a row says of a topic or group.
type described struct {
	old     bool  // there are no columns but the mask
	sum     int64 // what the row's checksum has to be
	damaged bool  // a text means nothing
}

// topicDefinition reads the columns of a topic that came later, into t.
func topicDefinition(t *storage.Topic, memory bool, kind, replies driver.Value) described {
	if kind == nil {
		topicFromMask(t, memory)
		return described{old: true, sum: topicMaskSum(t, memory)}
	}
	var known bool
	t.Kind, known = storage.ParseKind(text(kind))
	t.Replies = integer(replies) != 0
	return described{sum: topicSum(t), damaged: !known}
}

// groupDefinition reads the columns of a group that came later, into g.
func groupDefinition(g *storage.Group, columns []driver.Value) described {
	if columns[0] == nil {
		groupFromMask(g)
		return described{old: true, sum: groupMaskSum(g)}
	}
	var known bool
	g.Settle, known = storage.ParseSettle(text(columns[0]))
	g.Exclusive, g.Paused, g.Ephemeral = integer(columns[1]) != 0, integer(columns[2]) != 0, integer(columns[3]) != 0
	return described{sum: groupSum(g), damaged: !known}
}
