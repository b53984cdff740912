package stats

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What is stored, when, and for how long. Times are milliseconds of the broker's own clock.
const (
	saveEvery = 5 * time.Second
	saveAge   = 60_000 // chunks are stored when their first moment is so old
	saveMost  = 160    // in a commit: what is stored must not be in the way of messages

	// What grows old is put together into longer intervals: seconds after a quarter of an hour,
	// quarters of a minute after a day. It waits until there are some chunks of it.
	fineAge, roughAge       = 15 * 60_000, 24 * 3600_000
	fineChunks, roughChunks = 15, 24

	wholeAge = 30 * 24 * 3600_000 // then what is put together is dropped

	// MostHistory is how many bytes are kept of all topics and groups together.
	MostHistory = 64 << 20
	sizeEvery   = time.Hour // how often is asked what is kept: it goes with topics and groups, too
)

// The levels of what is stored, and how long their intervals are in milliseconds.
const (
	fineLevel, roughLevel, wholeLevel = 0, 1, 2
	fineStep, roughStep, wholeStep    = 1000, 15_000, 600_000
)

// keeper stores what the sampler records. It is owned by one goroutine.
type keeper struct {
	s      *Sampler
	broker *broker.Broker
	log    *slog.Logger
	most   int64 // bytes of all
	kept   map[storage.Series]*kept
	total  int64     // bytes of all
	asked  time.Time // when total was read
	told   time.Time // when it was last said that there is no room for some
}

// kept is what is known of what is stored of a series.
type kept struct {
	bytes, last int64
	fine, rough int // how many chunks were stored at a level since it was put together
}

func newKeeper(s *Sampler) *keeper {
	return &keeper{s: s, broker: s.broker, log: s.log, most: MostHistory, kept: map[storage.Series]*kept{}}
}

// run stores until ctx ends, and then what is left.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.step(ctx, k.broker.Micros()/1000)
		case <-ctx.Done():
			k.store(0)
			return
		}
	}
}

// step stores what is due at a time by the broker's own clock.
func (k *keeper) step(ctx context.Context, now int64) {
	if k.asked.IsZero() || time.Since(k.asked) >= sizeEvery {
		k.ask(ctx)
	}
	var list []change
	for _, of := range k.store(now - saveAge) {
		x := k.kept[of]
		if x.fine >= fineChunks {
			x.fine = 0
			list = append(list, k.join(ctx, of, fineLevel, roughStep, now-fineAge)...)
		}
		if x.rough >= roughChunks {
			x.rough = 0
			list = append(list, k.join(ctx, of, roughLevel, wholeStep, now-roughAge)...)
			list = append(list, k.expire(ctx, of, now-wholeAge)...)
		}
	}
	k.save(list)
	if k.total > k.most {
		k.shrink(ctx)
	}
	if n := k.s.unkept(); n > 0 && (k.told.IsZero() || time.Since(k.told) >= sizeEvery) {
		k.told = time.Now()
		k.log.Warn("too much happens at a time to keep the history of all: charts of the others have gaps", "without", n)
	}
}

// ask reads how much is kept of everything, and reports whether it could.
func (k *keeper) ask(ctx context.Context) bool {
	sizes, err := k.broker.HistorySizes(ctx)
	if err != nil {
		k.failed(err)
		return false
	}
	before := k.kept
	k.kept, k.total, k.asked = make(map[storage.Series]*kept, len(sizes)), 0, time.Now()
	for _, s := range sizes {
		x := before[s.Series]
		if x == nil { // of an earlier process: it may be time for what that has left
			x = &kept{fine: fineChunks, rough: roughChunks}
		}
		x.bytes, x.last = s.Bytes, s.Last
		k.kept[s.Series] = x
		k.total += s.Bytes
	}
	return true
}

// failed says that something could not be kept, which harms nothing else.
func (k *keeper) failed(err error) {
	k.log.Debug("history of figures not kept", "err", err)
}

// change is an op, and what it makes of what is kept of a series.
type change struct {
	storage.Op

	of    storage.Series
	bytes int64 // so many more are kept
	rough int   // so many more chunks of the rough level
}

// save has changes stored, in some commits, and returns an error for each.
func (k *keeper) save(list []change) []error {
	errs := make([]error, 0, len(list))
	for part := range slices.Chunk(list, saveMost) {
		ops, bytes := make([]storage.Op, len(part)), int64(0)
		for i := range part {
			ops[i], bytes = part[i].Op, bytes+max(0, part[i].bytes)
		}
		for i, err := range k.broker.SaveHistory(ops, bytes) {
			if errs = append(errs, err); err != nil {
				k.failed(err)
				continue
			}
			x := k.kept[part[i].of]
			if x == nil {
				x = &kept{}
				k.kept[part[i].of] = x
			}
			x.bytes, x.rough = x.bytes+part[i].bytes, x.rough+part[i].rough
			k.total += part[i].bytes
		}
	}
	return errs
}

// store stores what is due by a time, and says of which series. What there is no room for is kept
// and tried again.
func (k *keeper) store(by int64) (stored []storage.Series) {
	for {
		due, again := k.s.due(by)
		list := make([]change, 0, len(due))
		for of, c := range due {
			list = append(list, change{Op: &storage.PutHistory{Series: of, Level: fineLevel, Data: c.data}, of: of, bytes: cost(c.data)})
		}
		over := make([]storage.Series, 0, len(list))
		for i, err := range k.save(list) {
			of := list[i].of
			if err == nil {
				k.kept[of].fine++
				stored = append(stored, of)
			}
			if err == nil || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrInvalid) {
				over = append(over, of)
			}
		}
		k.s.saved(over)
		if !again || len(over) < len(list) {
			return stored
		}
	}
}

func cost(data []byte) int64 { return int64(len(data)) + storage.ChunkCost }

// past reads those chunks of a level that a view which begins at a time has no use for. It has one
// for the last that began before: that says what remained then.
func (k *keeper) past(ctx context.Context, of storage.Series, level uint8, begin int64) []storage.HistoryChunk {
	list, err := k.broker.History(ctx, of, level, level)
	if err != nil {
		k.failed(err)
	}
	n := 0
	for n+1 < len(list) && firstOf(list[n+1].Data) < begin {
		n++
	}
	return list[:n]
}

// join puts the chunks of a level that a view which begins at a time has no use for into ones of
// the next.
func (k *keeper) join(ctx context.Context, of storage.Series, level uint8, step, begin int64) []change {
	list := k.past(ctx, of, level, begin)
	for len(list) > 0 && list[len(list)-1].Data == nil {
		list = list[:len(list)-1] // it stays until there is a moment behind it, which says that it was there
	}
	if len(list) == 0 {
		return nil
	}
	c, j := change{of: of}, joiner{step: step}
	for i := range list {
		j.hole = decode(list[i].Data, j.add) != nil || j.hole
		c.bytes -= cost(list[i].Data)
	}
	ops := []storage.Op{&storage.DropHistory{Series: of, Level: level, To: list[len(list)-1].ID}}
	for _, joined := range j.end() {
		ops = append(ops, &storage.PutHistory{Series: of, Level: level + 1, Data: joined.data})
		c.bytes += cost(joined.data)
	}
	if level == fineLevel {
		c.rough = len(ops) - 1
	}
	c.Op = &storage.Atomic{Ops: ops}
	return []change{c}
}

// expire drops what is kept longest, and a view that begins at a time has no use for.
func (k *keeper) expire(ctx context.Context, of storage.Series, begin int64) []change {
	list := k.past(ctx, of, wholeLevel, begin)
	if len(list) == 0 {
		return nil
	}
	c := change{Op: &storage.DropHistory{Series: of, Level: wholeLevel, To: list[len(list)-1].ID}, of: of}
	for i := range list {
		c.bytes -= cost(list[i].Data)
	}
	return []change{c}
}

// shrink forgets those to which nothing has happened for longest, until there is room for a while.
func (k *keeper) shrink(ctx context.Context) {
	if !k.ask(ctx) || k.total <= k.most {
		return
	}
	list := make([]storage.Series, 0, len(k.kept))
	for of := range k.kept {
		list = append(list, of)
	}
	sort.Slice(list, func(i, j int) bool { return k.kept[list[i]].last < k.kept[list[j]].last })
	var forget []change
	left := k.total
	for _, of := range list {
		if left <= k.most-k.most/16 {
			break
		}
		forget = append(forget, change{Op: &storage.ForgetHistory{Series: of}, of: of, bytes: -k.kept[of].bytes})
		left -= k.kept[of].bytes
	}
	for i, err := range k.save(forget) {
		if err == nil {
			delete(k.kept, forget[i].of)
		}
	}
}

// joiner puts moments together into ones of longer intervals.
type joiner struct {
	step   int64
	now    moment // at: the last millisecond of its interval
	some   bool
	hole   bool   // what came after last can't be read
	last   moment // as it was given
	chunks []*chunk
}

func (j *joiner) add(m *moment) {
	if j.hole {
		behind := *m
		behind.behind(&j.last, j.some)
		m, j.hole = &behind, false
	}
	j.last = *m
	end := m.at - m.at%j.step + j.step - 1
	if j.some && end == j.now.at {
		j.now.Figures.add(&m.Figures)
		j.now.lost = cmp.Or(j.now.lost, m.lost)
	} else {
		j.flush()
		j.now, j.some = *m, true
		j.now.at = end
	}
	j.now.ahead, j.now.began, j.now.ran = m.ahead, m.began, m.ran
}

func (j *joiner) flush() {
	if !j.some {
		return
	}
	if n := len(j.chunks); n == 0 || j.chunks[n-1].full() || j.now.at <= j.chunks[n-1].last.at {
		j.chunks = append(j.chunks, &chunk{})
	}
	j.chunks[len(j.chunks)-1].add(&j.now)
}

func (j *joiner) end() []*chunk {
	j.flush()
	return j.chunks
}
