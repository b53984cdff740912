package broker

import (
	"context"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

// Default limits of a memory topic that declares no retention.
const (
	memoryCount = 10_000
	memoryBytes = 64 << 20
)

// memoryLog is the log of a topic whose messages are kept in memory only, and go with the process.
type memoryLog struct{ t *Topic }

func (l memoryLog) accept(q *part) error { return l.remember(q.op.Records, q.calls) }

// read finds nothing: there are no messages but those in memory.
func (memoryLog) read(context.Context, int64, storage.Page) ([]storage.Record, error) {
	return nil, nil
}

func (l memoryLog) offsetAt(_ context.Context, time int64) (int64, error) {
	t := l.t
	first, n := t.First(), int(t.Next()-t.First())
	i := sort.Search(n, func(i int) bool {
		v := t.view(first + int64(i))
		return len(v) == 0 || v[0].Time >= time
	})
	return first + int64(i), nil
}

func (l memoryLog) findID(_ context.Context, id string) (int64, error) {
	t := l.t
	for at := t.Next() - 1; at >= t.First(); at-- {
		if v := t.view(at); len(v) > 0 && v[0].ID == id {
			return at, nil
		}
	}
	return 0, storage.ErrNotFound
}

func (l memoryLog) bytesFrom(ctx context.Context, from int64) (size int64, err error) {
	t := l.t
	_, _, err = t.Scan(ctx, Scan{From: from, To: t.Next()}, func(r *storage.Record) bool {
		size += r.Size()
		return true
	})
	return size, err
}

func (l memoryLog) retain(context.Context) error {
	t := l.t
	def := t.Definition()
	limit, aged, old := t.age(&def)
	t.mu.Lock()
	defer t.mu.Unlock()
	l.forget(l.settledBelow())
	l.forget(aged)
	for old && len(t.tail.chunks) > 0 {
		chunk := t.tail.chunks[0]
		if chunk[len(chunk)-1].Time >= limit {
			break
		}
		l.forget(chunk[0].Offset + int64(len(chunk)))
	}
	return nil
}

func (l memoryLog) empty(ctx context.Context, note storage.Op) error {
	t := l.t
	err := t.shard.commit(ctx, note)
	if err == nil {
		l.remove()
	}
	return err
}

func (l memoryLog) remove() {
	t := l.t
	t.mu.Lock()
	l.forget(t.next.Load())
	t.mu.Unlock()
}

// remember appends records to a memory topic. A call (RPC) is refused when no
// provider is there or too many wait; other memory topics drop their oldest
// messages, as their retention says.
func (l memoryLog) remember(recs []storage.Record, calls []Call) error {
	t := l.t
	b := t.b
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone.Load() { // nothing would drop them again
		return topicNotFound(t.name)
	}
	rpc := t.Calls()
	if rpc && t.subs.Load() == 0 && !t.expectProvider() {
		return errorf(Unavailable, "Topic(%s) has no provider: start one that consumes it", t.name)
	}
	cost := chunkCost(recs)
	if rpc {
		t.sweep(cost)
	}
	count, bytes := l.memoryLimits()
	if t.next.Load()+int64(len(recs))-t.first.Load() > count || t.tail.bytes+cost > bytes {
		l.forget(l.settledBelow())
		over := max(t.next.Load()+int64(len(recs))-count, t.first.Load())
		if rpc && (over > t.first.Load() || t.tail.bytes+cost > bytes) {
			return errorf(Unavailable, "Topic(%s) has too many calls waiting: try again later", t.name)
		}
		l.forget(over)
		for t.tail.bytes+cost > bytes && len(t.tail.chunks) > 0 {
			l.forget(t.tail.chunks[0][0].Offset + int64(len(t.tail.chunks[0])))
		}
	}
	if b.memory.Add(cost) > b.opts.MemoryBytes {
		b.memory.Add(-cost)
		return errorf(Unavailable, "memory topics are at their limit of %d bytes: try again later", b.opts.MemoryBytes)
	}
	next := t.next.Load()
	for i := range recs {
		recs[i].Offset = next + int64(i)
		recs[i].Time = max(recs[i].Time, t.def.LastTime)
		recs[i].CRC = 1
		t.def.Bytes += recs[i].Size()
	}
	t.def.LastTime = recs[len(recs)-1].Time
	t.tail.push(recs)
	if rpc {
		t.calls.push(next, calls, len(recs))
	}
	t.published.Add(int64(len(recs)))
	t.next.Store(next + int64(len(recs)))
	return nil
}

// memoryLimits are the message and byte limits of a memory topic.
func (l memoryLog) memoryLimits() (count, bytes int64) {
	t := l.t
	count, bytes = t.def.Retention.MaxCount, t.def.Retention.MaxBytes
	if count == 0 {
		count = memoryCount
	}
	if bytes == 0 {
		bytes = memoryBytes
	}
	return count, bytes
}

// settledBelow is the offset below which every group is done; without a group
// nobody is. Called with t.mu held; it reads the groups' cursors without their
// locks, which may make it too low, never too high.
func (l memoryLog) settledBelow() int64 {
	t := l.t
	if len(t.groups) == 0 {
		return t.first.Load()
	}
	low := t.next.Load()
	for _, g := range t.groups {
		low = min(low, g.settledTo.Load())
	}
	return low
}

// forget drops a memory topic's messages below an offset. Called with t.mu held.
func (l memoryLog) forget(first int64) {
	t := l.t
	first = min(first, t.next.Load())
	if first <= t.first.Load() {
		return
	}
	for _, chunk := range t.tail.chunks {
		if chunk[0].Offset >= first {
			break
		}
		for i := range chunk {
			if chunk[i].Offset < first {
				t.def.Bytes -= chunk[i].Size()
			}
		}
	}
	t.calls.trim(first)
	t.b.memory.Add(-t.tail.trim(first))
	t.first.Store(first)
	t.dropped()
}
