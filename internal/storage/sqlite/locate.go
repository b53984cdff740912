package sqlite

import (
	"context"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// OffsetAt implements [storage.Store].
func (s *Store) OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (offset int64, err error) {
	err = s.readLog(ctx, topic, func(l *topicLog) error {
		lo, hi := l.first, l.next
		var err error
		// Blocks that start below lo start earlier than time; none from hi on does.
		// The log may lose its beginning in the meantime; that changes nothing.
		for err == nil && lo < hi {
			mid := lo + (hi-lo)/2
			b, found, e := l.blockAt(mid)
			switch err = e; {
			case found && b.time >= time:
				hi = offsetOf(b.key)
			case found:
				at := b.firstAt(time)
				if lo = max(lo, at); at < offsetOf(b.key)+b.n {
					hi = lo
				} else {
					lo = max(lo, mid+1)
				}
			default:
				lo = mid + 1
			}
		}
		offset = lo
		return err
	})
	return offset, err
}

// BytesFrom implements [storage.Store].
func (s *Store) BytesFrom(ctx context.Context, topic storage.TopicID, offset int64) (size int64, err error) {
	err = s.readLog(ctx, topic, func(l *topicLog) error {
		first := l.first
		if offset >= l.next || first == l.next {
			return nil
		}
		b, found, err := l.blockAt(max(offset, first))
		if err != nil || !found {
			return err
		}
		last, _, err := l.blockAt(storage.MaxOffset)
		size = last.total - b.total
		var r storage.Record
		for e := b.entries(); ; {
			_, body, ok := e.next(&r)
			if !ok {
				return err
			}
			if r.Offset >= max(offset, first) {
				size += r.Size() + body
			}
		}
	})
	return size, err
}

// blockAt finds the block that holds an offset, or the last one below it.
func blockAt(c *conn, topic storage.TopicID, offset int64) (b block, found bool, err error) {
	return blockFrom(c, selectBlockAt, topic, offset)
}

// blockFrom is blockAt with a statement that reads bodies or does not.
func blockFrom(c *conn, st statement, topic storage.TopicID, offset int64) (b block, found bool, err error) {
	for row, err := range c.rows(st, int64(topic), keyOf(topic, offset)) {
		if err != nil {
			return b, false, err
		}
		found = true
		if b, err = c.block(row); err != nil {
			return b, false, err
		}
	}
	return b, found, nil
}

// firstAt is the offset of the first message not older than time, or the one
// behind the block.
func (b *block) firstAt(time int64) int64 {
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			return offsetOf(b.key) + b.n
		}
		if r.Time >= time {
			return r.Offset
		}
	}
}

// searchSpan is how many messages FindID looks through in one read transaction.
const searchSpan = 4096

// FindID implements [storage.Store]. Between two spans the reader is free for
// others: a search through a long log must not keep consumers waiting.
func (s *Store) FindID(ctx context.Context, topic storage.TopicID, id string) (offset int64, err error) {
	var first, hi int64
	found := false
	err = s.readLog(ctx, topic, func(l *topicLog) error {
		first, hi = l.first, l.next
		for i := len(l.pieces) - 1; i >= 0 && !found; i-- {
			b := pieceBlock(l.pieces[i])
			hi = l.pieces[i].First
			offset, found = b.find(id, first)
		}
		return nil
	})
	for err == nil && !found {
		if hi <= first {
			return 0, fmt.Errorf("message %q of topic %d: %w", id, topic, storage.ErrNotFound)
		}
		err = s.read(ctx, func(c *conn) (err error) {
			offset, hi, found, err = findDown(c, topic, id, first, hi)
			return err
		})
	}
	return offset, err
}

// findDown looks for an id in about searchSpan messages from hi downwards, and
// says below which offset to continue.
func findDown(c *conn, topic storage.TopicID, id string, first, hi int64) (offset, rest int64, found bool, err error) {
	stop := max(first, hi-searchSpan)
	for row, err := range c.rows(selectBlocksDown, int64(topic), keyOf(topic, hi)) {
		if err != nil {
			return 0, hi, false, err
		}
		b, err := c.block(row)
		if err != nil {
			return 0, hi, false, err
		}
		offset, found = b.find(id, first)
		if hi = offsetOf(b.key); found || hi <= stop {
			return offset, hi, found, nil
		}
	}
	return 0, first, false, nil
}

// find is the offset of the last message with an id, from first on.
func (b *block) find(id string, first int64) (offset int64, found bool) {
	var r storage.Record
	for e := b.entries(); ; {
		if _, _, ok := e.next(&r); !ok {
			return offset, found
		}
		if r.ID == id && r.Offset >= first {
			offset, found = r.Offset, true
		}
	}
}
