package broker

import (
	"slices"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

// tail is the newest part of a topic's log in memory: chunks of records as they
// were committed, without holes, ending at the topic's head. For a memory topic
// it is the whole log. Guarded by Topic.mu.
type tail struct {
	chunks [][]storage.Record // none is empty
	bytes  int64              // cost of the chunks
}

// recordOverhead is what a record costs in memory beyond its content.
const recordOverhead = 128

func chunkCost(chunk []storage.Record) int64 {
	n := int64(0)
	for i := range chunk {
		n += chunk[i].Size() + recordOverhead
	}
	return n
}

// push appends a chunk. One that does not follow directly (it cannot happen to a
// single writer; after a failed commit the process stops) starts the tail anew.
func (t *tail) push(chunk []storage.Record) {
	if n := len(t.chunks); n > 0 {
		last := t.chunks[n-1]
		if last[len(last)-1].Offset+1 != chunk[0].Offset {
			t.chunks, t.bytes = nil, 0
		}
	}
	t.chunks = append(t.chunks, chunk)
	t.bytes += chunkCost(chunk)
}

// shift drops the oldest chunk and returns what it cost.
func (t *tail) shift() int64 {
	if len(t.chunks) == 0 {
		return 0
	}
	cost := chunkCost(t.chunks[0])
	t.chunks[0] = nil
	t.chunks = t.chunks[1:]
	t.bytes -= cost
	return cost
}

// view returns the records from an offset to the end of the chunk that holds it,
// or nil when the offset is not in the tail. The caller must not change them.
func (t *tail) view(from int64) []storage.Record {
	n := len(t.chunks)
	if n == 0 || from < t.chunks[0][0].Offset {
		return nil
	}
	i := sort.Search(n, func(i int) bool { return t.chunks[i][0].Offset > from }) - 1
	chunk := t.chunks[i]
	k := from - chunk[0].Offset
	if k >= int64(len(chunk)) {
		return nil
	}
	return chunk[k:]
}

// trim drops every record below first and returns what they cost. A chunk is cut
// in two where first lies inside it.
func (t *tail) trim(first int64) int64 {
	before := t.bytes
	for len(t.chunks) > 0 {
		chunk := t.chunks[0]
		if chunk[len(chunk)-1].Offset < first {
			t.shift()
			continue
		}
		if k := first - chunk[0].Offset; k > 0 {
			t.bytes -= chunkCost(chunk[:k])
			// A copy, so that the dropped records are really let go.
			t.chunks[0] = slices.Clone(chunk[k:])
		}
		break
	}
	return before - t.bytes
}

// tailBudget keeps the tails of all log topics under one byte limit: the oldest
// chunk of all goes first. It is used by commit callbacks only, of which the
// storage writer makes one at a time.
type tailBudget struct {
	limit int64
	used  int64
	queue []tailChunk // one entry a chunk, oldest first, and some that are void
	swept int         // length of queue after it was last rid of void entries
}

// tailChunk names a chunk of a topic's tail. The entry is void once the chunk was
// trimmed away.
type tailChunk struct {
	topic *Topic
	last  int64 // offset of its last record
}

func (c tailChunk) void() bool {
	c.topic.mu.RLock()
	defer c.topic.mu.RUnlock()
	chunks := c.topic.tail.chunks
	return len(chunks) == 0 || chunks[0][0].Offset > c.last
}

// sweepChunks is the least growth of the queue after which it is swept.
const sweepChunks = 1024

// push adds a chunk to a topic's tail and evicts the oldest ones over the limit.
func (b *tailBudget) push(t *Topic, chunk []storage.Record) {
	cost := chunkCost(chunk)
	t.mu.Lock()
	t.tail.push(chunk)
	t.mu.Unlock()
	b.used += cost
	b.queue = append(b.queue, tailChunk{t, chunk[len(chunk)-1].Offset})
	for b.used > b.limit && len(b.queue) > 0 {
		oldest := b.queue[0]
		b.queue[0] = tailChunk{}
		b.queue = b.queue[1:]
		if oldest.void() {
			continue
		}
		oldest.topic.mu.Lock()
		b.used -= oldest.topic.tail.shift()
		oldest.topic.mu.Unlock()
	}
	if len(b.queue) > 2*b.swept+sweepChunks {
		// Retention trims without looking for entries here.
		b.queue = slices.DeleteFunc(b.queue, tailChunk.void)
		b.swept = len(b.queue)
	}
}

// forget drops the tail of a topic that was removed, and all that names it: an entry
// would keep the topic, its groups and their last consumers in memory.
func (b *tailBudget) forget(t *Topic) {
	t.mu.Lock()
	b.used -= t.tail.bytes
	t.tail = tail{}
	t.mu.Unlock()
	b.queue = slices.DeleteFunc(b.queue, func(c tailChunk) bool { return c.topic == t })
	b.swept = min(b.swept, len(b.queue))
}
