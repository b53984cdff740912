package stats

import (
	"encoding/binary"
	"errors"
)

// Figures are what happened to a topic or a group in some time, and how it stood.
type Figures struct {
	In        int64 // messages that came; of a group those that pass its filter; of a service its calls
	Out       int64 // deliveries
	Again     int64 // of these, the repeated ones
	Failed    int64 // messages given up; of a service calls that had no answer, or a failed one
	Timed     int64 // how many things Took and Longest are of: see Sampler.History
	Took      int64 // microseconds, of all together
	Longest   int64 // microseconds, of one
	Lag       int64 // messages still to settle, the most there were; of a service calls that wait for a provider
	Remaining int64 // Lag in the end
	Age       int64 // milliseconds, of the next message to settle, the most there were
}

// add has the figures be those of a longer time, of which o is the later part.
func (f *Figures) add(o *Figures) {
	f.In += o.In
	f.Out += o.Out
	f.Again += o.Again
	f.Failed += o.Failed
	f.Timed += o.Timed
	f.Took += o.Took
	f.Longest, f.Lag, f.Age = max(f.Longest, o.Longest), max(f.Lag, o.Lag), max(f.Age, o.Age)
	f.Remaining = o.Remaining
}

// moment is the figures of an interval. Those in which nothing happened are not kept: what
// remained before it remained all the time.
type moment struct {
	at    int64 // its end by the broker's own clock, in milliseconds; from one to the next it grows
	ahead int64 // of that clock is the wall clock, in milliseconds: to show when it was
	began int64 // by the same clock: when this process first looked
	ran   int64 // by the same clock: up to then nothing is missing of earlier ones
	lost  int64 // by the same clock: from then on nothing is known of what was before it; 0: all is
	Figures
}

// behind notes that moments between the last one, if there is one, and m are damaged.
func (m *moment) behind(last *moment, some bool) {
	from := m.began - 1
	if some {
		from = last.at
	}
	if from = max(from, 1); m.lost == 0 || from < m.lost {
		m.lost = from
	}
}

// The largest a chunk of moments becomes, and how many are read from one.
const (
	mostBytes   = 32 << 10
	mostMoments = 1 << 16
)

const columns = 14

// values are the figures as they are written. In a chunk they differ little from those of the
// moment before: so it has the differences, and none where there is no difference.
func (m *moment) values() [columns]int64 {
	return [columns]int64{m.In, m.Out, m.Again, m.Failed, m.Timed, m.Took, m.Longest, m.Lag, m.Lag - m.Remaining, m.Age, m.ahead, m.began, m.ran, m.lost}
}

func momentOf(at int64, v *[columns]int64) moment {
	return moment{at: at, ahead: v[10], began: v[11], ran: v[12], lost: v[13], Figures: Figures{
		In: v[0], Out: v[1], Again: v[2], Failed: v[3], Timed: v[4], Took: v[5], Longest: v[6], Lag: v[7], Remaining: v[7] - v[8], Age: v[9],
	}}
}

// chunkFormat is the first byte of a chunk.
const chunkFormat = 1

// chunk is moments as they are stored: of each the time since the one before, which columns
// differ from that, and by how much.
type chunk struct {
	data  []byte
	first int64 // when the first moment ended, by the broker's own clock
	last  moment
}

func (k *chunk) add(m *moment) {
	if len(k.data) == 0 {
		k.data, k.first, k.last = append(k.data, chunkFormat), m.at, moment{}
	}
	was, is := k.last.values(), m.values()
	k.data = binary.AppendUvarint(k.data, uint64(m.at-k.last.at))
	differ := uint64(0)
	for i := range is {
		if is[i] != was[i] {
			differ |= 1 << i
		}
	}
	k.data = binary.AppendUvarint(k.data, differ)
	for i := range is {
		if is[i] != was[i] {
			k.data = binary.AppendVarint(k.data, is[i]-was[i])
		}
	}
	k.last = *m
}

// full reports whether the chunk takes no more.
func (k *chunk) full() bool { return len(k.data) >= mostBytes }

// firstOf is when the first moment of a chunk ended.
func firstOf(data []byte) int64 {
	if len(data) == 0 {
		return 0
	}
	at, _ := binary.Uvarint(data[1:])
	return int64(at)
}

var errChunk = errors.New("not a chunk of history")

// decode calls each with the moments of a chunk.
func decode(data []byte, each func(m *moment)) error {
	if len(data) == 0 || data[0] != chunkFormat {
		return errChunk
	}
	at, v := int64(0), [columns]int64{}
	data = data[1:]
	for n := 0; len(data) > 0; n++ {
		step, size := binary.Uvarint(data)
		if size <= 0 || n == mostMoments {
			return errChunk
		}
		data = data[size:]
		differ, size := binary.Uvarint(data)
		if size <= 0 || differ >= 1<<columns || step > 1<<62 {
			return errChunk
		}
		data = data[size:]
		for i := range v {
			if differ&(1<<i) == 0 {
				continue
			}
			d, size := binary.Varint(data)
			if size <= 0 {
				return errChunk
			}
			v[i] += d
			data = data[size:]
		}
		at += int64(step)
		m := momentOf(at, &v)
		each(&m)
	}
	return nil
}
