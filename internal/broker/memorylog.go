package broker

import "github.com/rushmore/zbus-go/internal/storage"

// Default limits of a memory topic that declares no retention.
const (
	memoryCount = 10_000
	memoryBytes = 64 << 20
)

// remember appends records to a memory topic. A call (RPC) is refused when no
// provider is there or too many wait; other memory topics drop their oldest
// messages, as their retention says.
func (t *Topic) remember(recs []storage.Record, calls []Call) error {
	b := t.b
	t.mu.Lock()
	defer t.mu.Unlock()
	rpc := t.Calls()
	if rpc && t.subs.Load() == 0 && !t.expectProvider() {
		return errorf(Unavailable, "Topic(%s) has no provider: start one that consumes it", t.name)
	}
	cost := chunkCost(recs)
	if rpc {
		t.sweep(cost)
	}
	count, bytes := t.memoryLimits()
	if t.next.Load()+int64(len(recs))-t.first.Load() > count || t.tail.bytes+cost > bytes {
		t.forget(t.settledBelow())
		over := max(t.next.Load()+int64(len(recs))-count, t.first.Load())
		if rpc && (over > t.first.Load() || t.tail.bytes+cost > bytes) {
			return errorf(Unavailable, "Topic(%s) has too many calls waiting: try again later", t.name)
		}
		t.forget(over)
		for t.tail.bytes+cost > bytes && len(t.tail.chunks) > 0 {
			t.forget(t.tail.chunks[0][0].Offset + int64(len(t.tail.chunks[0])))
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
func (t *Topic) memoryLimits() (count, bytes int64) {
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
func (t *Topic) settledBelow() int64 {
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
func (t *Topic) forget(first int64) {
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
