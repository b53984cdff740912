package postgres

import (
	"context"
	"fmt"

	"github.com/rushmore/zbus-go/internal/storage"
)

// blockAt finds the block that holds an offset, or the last one below it, without bodies.
func blockAt(ctx context.Context, c *conn, topic storage.TopicID, offset int64) (b block, found bool, err error) {
	for row, err := range c.rows(ctx, selectBlockAt, int64(topic), offset) {
		if err != nil {
			return b, false, err
		}
		b, found = blockOf(row), true
	}
	return b, found, nil
}

// OffsetAt implements [storage.Store].
func (s *Store) OffsetAt(ctx context.Context, topic storage.TopicID, time int64) (offset int64, err error) {
	t, err := s.recent.of(topic)
	if err != nil {
		return 0, err
	}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		lo, hi := t.first, t.next
		// Blocks that start below lo start earlier than time; none from hi on does. The log may lose
		// its beginning in the meantime; that changes nothing.
		for lo < hi {
			mid := lo + (hi-lo)/2
			b, found, err := blockAt(ctx, c, topic, mid)
			switch {
			case err != nil:
				return err
			case found && b.time >= time:
				hi = min(hi, b.first)
			case found:
				at := b.end()
				if b.last >= time {
					at = b.firstAt(time)
				}
				if lo = max(lo, at); at < b.end() {
					hi = lo
				} else {
					lo = max(lo, mid+1)
				}
			default:
				lo = mid + 1
			}
		}
		offset = max(lo, t.first)
		return nil
	})
	return offset, err
}

// BytesFrom implements [storage.Store].
func (s *Store) BytesFrom(ctx context.Context, topic storage.TopicID, offset int64) (size int64, err error) {
	t, err := s.recent.of(topic)
	if err != nil || offset >= t.next || t.first == t.next {
		return 0, err
	}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		from := max(offset, t.first)
		b, found, err := blockAt(ctx, c, topic, from)
		if err != nil || !found {
			return err
		}
		size = t.total - b.total
		var r storage.Record
		for e := b.entries(); ; {
			_, body, ok := e.next(&r)
			if !ok {
				return nil
			}
			if r.Offset >= from {
				size += r.Size() + int64(body)
			}
		}
	})
	return size, err
}

// searchBlocks is how many blocks FindID looks through at a time.
const searchBlocks = 16

// FindID implements [storage.Store]. Between two steps the connection is free for others: a search
// through a long log must not keep consumers waiting.
func (s *Store) FindID(ctx context.Context, topic storage.TopicID, id string) (offset int64, err error) {
	t, err := s.recent.of(topic)
	if err != nil {
		return 0, err
	}
	found := false
	for hi := t.next; hi > t.first && !found; {
		err = s.read(ctx, func(ctx context.Context, c *conn) error {
			more := int64(0)
			for row, err := range c.rows(ctx, selectBlocksDown, int64(topic), hi, int64(searchBlocks)) {
				if err != nil {
					return err
				}
				if found {
					continue
				}
				b := blockOf(row)
				more = b.first
				offset, found = b.find(id, t.first)
			}
			hi = more
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if !found {
		return 0, fmt.Errorf("message %q of topic %d: %w", id, topic, storage.ErrNotFound)
	}
	return offset, nil
}
