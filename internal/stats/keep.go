package stats

import (
	"context"
	"log/slog"
	"sort"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

// What is stored, when, and for how long. Times are milliseconds of the broker's own clock.
const (
	saveEvery = 5 * time.Second
	saveAge   = 60_000 // chunks are stored when their first moment is so old
	saveMost  = 160    // at a time: what is stored must not be in the way of messages

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
			k.store(context.WithoutCancel(ctx), k.s.due(0, mostOpen))
			return
		}
	}
}

// step stores what is due at a time by the broker's own clock.
func (k *keeper) step(ctx context.Context, now int64) {
	if k.asked.IsZero() || time.Since(k.asked) >= sizeEvery {
		k.ask(ctx)
	}
	for _, of := range k.store(ctx, k.s.due(now-saveAge, saveMost)) {
		x := k.kept[of]
		if x.fine >= fineChunks {
			x.fine = 0
			x.rough += k.join(ctx, of, fineLevel, roughStep, now-fineAge)
		}
		if x.rough >= roughChunks {
			x.rough = 0
			k.join(ctx, of, roughLevel, wholeStep, now-roughAge)
			k.expire(ctx, of, now-wholeAge)
		}
	}
	if k.total > k.most {
		k.shrink(ctx)
	}
}

// ask reads how much is kept of everything.
func (k *keeper) ask(ctx context.Context) {
	sizes, err := k.broker.HistorySizes(ctx)
	if err != nil {
		k.failed(err)
		return
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
}

// failed says that something could not be kept, which harms nothing else.
func (k *keeper) failed(err error) {
	k.log.Debug("history of figures not kept", "err", err)
}

// store stores chunks, and says of which series.
func (k *keeper) store(ctx context.Context, list map[storage.Series]*chunk) []storage.Series {
	if len(list) == 0 {
		return nil
	}
	ops, stored := make([]storage.Op, 0, len(list)), make([]storage.Series, 0, len(list))
	for of, c := range list {
		ops, stored = append(ops, &storage.PutHistory{Series: of, Level: fineLevel, Data: c.data}), append(stored, of)
	}
	if err := k.broker.SaveHistory(ctx, ops); err != nil {
		k.failed(err)
	}
	for of, c := range list {
		x := k.kept[of]
		if x == nil {
			x = &kept{}
			k.kept[of] = x
		}
		x.fine++
		k.grow(x, int64(len(c.data)))
	}
	k.s.saved()
	return stored
}

func (k *keeper) grow(x *kept, bytes int64) {
	x.bytes += bytes
	k.total += bytes
}

// join puts the chunks of a level whose moments all ended before a time into one of the next,
// and returns how many that are.
func (k *keeper) join(ctx context.Context, of storage.Series, level uint8, step, before int64) int {
	list, err := k.broker.History(ctx, of, level)
	if err != nil {
		k.failed(err)
		return 0
	}
	var j joiner
	j.step = step
	bytes, to := int64(0), int64(0)
	for i := range list {
		c := &list[i]
		if c.Level != level {
			continue
		}
		if last := lastOf(c.Data); last >= before {
			break
		}
		_ = decode(c.Data, j.add) // what can't be read is not kept
		bytes, to = bytes+int64(len(c.Data)), c.ID
	}
	if to == 0 {
		return 0
	}
	ops := []storage.Op{&storage.DropHistory{Series: of, Level: level, To: to}}
	for _, c := range j.end() {
		ops = append(ops, &storage.PutHistory{Series: of, Level: level + 1, Data: c.data})
		bytes -= int64(len(c.data))
	}
	if err := k.broker.SaveHistory(ctx, []storage.Op{&storage.Atomic{Ops: ops}}); err != nil {
		k.failed(err)
		return 0
	}
	k.grow(k.kept[of], -bytes)
	return len(ops) - 1
}

// lastOf is when the last moment of a chunk ended.
func lastOf(data []byte) (at int64) {
	_ = decode(data, func(m *moment) { at = m.at })
	return at
}

// expire drops what is kept longest and ended before a time.
func (k *keeper) expire(ctx context.Context, of storage.Series, before int64) {
	list, err := k.broker.History(ctx, of, wholeLevel)
	bytes, to := int64(0), int64(0)
	for i := 0; i < len(list) && list[i].Level == wholeLevel && lastOf(list[i].Data) < before; i++ {
		bytes, to = bytes+int64(len(list[i].Data)), list[i].ID
	}
	if err == nil && to > 0 {
		err = k.broker.SaveHistory(ctx, []storage.Op{&storage.DropHistory{Series: of, Level: wholeLevel, To: to}})
		k.grow(k.kept[of], -bytes)
	}
	if err != nil {
		k.failed(err)
	}
}

// shrink forgets those to which nothing has happened for longest, until there is room for a while.
func (k *keeper) shrink(ctx context.Context) {
	k.ask(ctx)
	list := make([]storage.Series, 0, len(k.kept))
	for of := range k.kept {
		list = append(list, of)
	}
	sort.Slice(list, func(i, j int) bool { return k.kept[list[i]].last < k.kept[list[j]].last })
	var ops []storage.Op
	for _, of := range list {
		if k.total <= k.most-k.most/16 {
			break
		}
		ops = append(ops, &storage.ForgetHistory{Series: of})
		k.total -= k.kept[of].bytes
		delete(k.kept, of)
	}
	for len(ops) > 0 {
		n := min(len(ops), saveMost)
		if err := k.broker.SaveHistory(ctx, ops[:n]); err != nil {
			k.failed(err)
			return
		}
		ops = ops[n:]
	}
}

// joiner puts moments together into ones of longer intervals.
type joiner struct {
	step   int64
	now    moment // at: the last millisecond of its interval
	some   bool
	chunks []*chunk
}

func (j *joiner) add(m *moment) {
	end := m.at - m.at%j.step + j.step - 1
	if j.some && end == j.now.at {
		j.now.Figures.add(&m.Figures)
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

// due takes what is to be stored: chunks whose first moment ended by a time, or by the last
// sample when it is 0, the oldest first and at most so many.
func (s *Sampler) due(by int64, most int) map[storage.Series]*chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []storage.Series
	for of, c := range s.record.open {
		if by == 0 || c.first <= by || c.full() {
			list = append(list, of)
		}
	}
	sort.Slice(list, func(i, j int) bool { return s.record.open[list[i]].first < s.record.open[list[j]].first })
	taken := map[storage.Series]*chunk{}
	for _, of := range list[:min(len(list), most)] {
		taken[of] = s.record.open[of]
		delete(s.record.open, of)
	}
	s.record.saving = taken
	return taken
}

// saved notes that what was taken is stored.
func (s *Sampler) saved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.saving = nil
}
