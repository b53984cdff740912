package broker

import (
	"context"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// log is where a topic has its messages: in its storage, with the newest in memory, or in
// memory alone. Its kind never changes.
type log interface {
	// accept makes messages of a publish visible that have been committed, as far as they are.
	accept(q *part) error
	// read reads records from an offset on that are not in memory.
	read(ctx context.Context, from int64, page storage.Page) ([]storage.Record, error)
	// offsetAt finds the first message not older than a time.
	offsetAt(ctx context.Context, time int64) (int64, error)
	// findID finds the newest message with an id; it is NotFound when there is none.
	findID(ctx context.Context, id string) (int64, error)
	// bytesFrom is the size of the messages from an offset to the end.
	bytesFrom(ctx context.Context, from int64) (int64, error)
	// retain drops messages as the topic's retention says.
	retain(ctx context.Context) error
	// empty drops all messages, with note in the same commit.
	empty(ctx context.Context, note storage.Op) error
	// remove lets go of what is in memory. It is called when the topic's removal is committed.
	remove()
}

// diskLog is the log of a topic whose messages are stored.
type diskLog struct{ t *Topic }

func (l diskLog) accept(q *part) error {
	n, took := int64(len(q.op.Records)), time.Since(q.share.p.began).Microseconds()
	l.t.commits.add(n, took*n, took)
	l.t.shard.tails.push(l.t, q.op.Records)
	l.t.extend(q.op.Records)
	return nil
}

func (l diskLog) read(ctx context.Context, from int64, page storage.Page) ([]storage.Record, error) {
	recs, err := l.t.shard.reader().Read(ctx, l.t.id, from, page, nil)
	// The store shows what is committed; what is not yet synced, and so not
	// announced, may be among it.
	for next := l.t.Next(); len(recs) > 0 && recs[len(recs)-1].Offset >= next; {
		recs = recs[:len(recs)-1]
	}
	upTo(recs, l.t.Next())
	return recs, err
}

func (l diskLog) offsetAt(ctx context.Context, time int64) (int64, error) {
	return l.t.shard.reader().OffsetAt(ctx, l.t.id, time)
}

func (l diskLog) findID(ctx context.Context, id string) (int64, error) {
	return l.t.shard.reader().FindID(ctx, l.t.id, id)
}

func (l diskLog) bytesFrom(ctx context.Context, from int64) (int64, error) {
	return l.t.shard.reader().BytesFrom(ctx, l.t.id, from)
}

func (l diskLog) empty(ctx context.Context, note storage.Op) error {
	return l.t.trimAll(context.WithoutCancel(ctx), note)
}

func (l diskLog) remove() { l.t.shard.tails.forget(l.t) }
