package sqlite

import (
	"encoding/binary"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// KeepIDs keeps and forgets ids of dropped messages.
func (b *batch) KeepIDs(op *storage.Trim) {
	id := int64(op.Topic)
	if op.Forget > 0 {
		b.add(forgetKept, anyRows, id, op.Forget)
	}
	if n := len(op.IDs); n > 0 {
		last := op.IDs[n-1].Offset
		b.add(putKept, 1, id, last, sealIDs(id, last, encodeIDs(op.IDs)))
	}
}

// sealIDs puts a checksum in front of a row's list: of all that the row says.
func sealIDs(topic, last int64, list []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(list)), uint64(rowSum('k', []int64{topic, last}, string(list))))
	return append(b, list...)
}

// openIDs reads a row's list, unless it is damaged.
func openIDs(topic, last int64, b []byte) ([]storage.KeptID, bool) {
	if len(b) < 8 || binary.LittleEndian.Uint64(b) != uint64(rowSum('k', []int64{topic, last}, string(b[8:]))) {
		return nil, false
	}
	ids, err := decodeIDs(b[8:])
	return ids, err == nil && len(ids) > 0
}

// encodeIDs writes ids as the table "kept_ids" has them.
func encodeIDs(ids []storage.KeptID) (b []byte) {
	var before storage.KeptID
	for _, k := range ids {
		b = binary.AppendVarint(b, k.Offset-before.Offset)
		b = binary.AppendVarint(b, k.Time-before.Time)
		b = binary.AppendUvarint(b, uint64(len(k.ID)))
		b = append(b, k.ID...)
		before = k
	}
	return b
}

// decodeIDs reads what encodeIDs wrote.
func decodeIDs(b []byte) (ids []storage.KeptID, err error) {
	var k storage.KeptID
	for len(b) > 0 {
		var numbers [2]int64
		for i := range numbers {
			v, n := binary.Varint(b)
			if n <= 0 {
				return nil, fmt.Errorf("kept ids: %w", storage.ErrDamaged)
			}
			numbers[i], b = v, b[n:]
		}
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("kept ids: %w", storage.ErrDamaged)
		}
		k.Offset, k.Time = k.Offset+numbers[0], k.Time+numbers[1]
		k.ID, b = string(b[n:n+int(size)]), b[n+int(size):]
		ids = append(ids, k)
	}
	return ids, nil
}

// readKept reads the kept ids. A row that is damaged does not count: a message that is
// sent again may be stored again.
func (l *loaded) readKept(c *conn) error {
	for row, err := range c.rows(selectKept) {
		if err != nil {
			return err
		}
		id, last := integer(row[0]), integer(row[1])
		ids, ok := openIDs(id, last, blob(row[2]))
		if !ok {
			l.findings = append(l.findings, Finding{
				Kind: FoundStructure, Text: fmt.Sprintf("the kept ids of messages up to %d of topic %d are damaged: such a message is stored once more when it is sent again", last, id),
			})
			continue
		}
		l.state.Kept = append(l.state.Kept, storage.KeptIDs{Topic: storage.TopicID(id), IDs: ids})
	}
	return nil
}
