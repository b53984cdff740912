package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rushmore/zbus-go/internal/storage"
)

func readTests() []test {
	return []test{
		{"a message comes back as it was appended", readRoundTrip},
		{"a page ends after its rows or bytes", readPages},
		{"brief reading leaves out the body", readBrief},
		{"reading what is not there", readMissing},
		{"OffsetAt finds the first message that is not older", readOffsetAt},
		{"OffsetAt after trimming", readOffsetAtTrimmed},
		{"BytesFrom is the sum of the sizes", readBytesFrom},
		{"FindID finds the newest", readFindID},
		{"readers see whole commits only", readWhileCommitting},
	}
}

func readRoundTrip(h *harness) {
	topic := h.topic("t")
	op := &storage.Append{Topic: topic, Records: []storage.Record{
		{Time: 5, ID: "id", Tag: "tag", Headers: `{"a":"b"}`, Body: []byte("body")},
		{Time: 6},
		{Time: 7, ID: "zero\x00inside", Tag: "né\xff", Body: []byte{0, 1, 0xff}},
		{Time: 8, Body: bytes.Repeat([]byte("x"), 3<<20)},
		{Time: 9, Headers: strings.Repeat("h", 30<<10)},
	}}
	h.ok(op)
	check := func() {
		h.Helper()
		got := h.all(topic)
		h.offsets(got, 0, 1, 2, 3, 4)
		for i, want := range op.Records {
			r := got[i]
			if want.CRC == 0 || want.CRC != storage.Checksum(topic, &r) || want.Offset != int64(i) {
				h.Fatalf("record %d: offset %d, checksum %d", i, want.Offset, want.CRC)
			}
			if r.Damaged() || r.CRC != want.CRC || r.Time != want.Time || r.ID != want.ID || r.Tag != want.Tag ||
				r.Headers != want.Headers || !bytes.Equal(r.Body, want.Body) {
				h.Fatalf("record %d came back differently", i)
			}
		}
	}
	check()
	h.reopen()
	check()
}

func readPages(h *harness) {
	topic, other := h.topic("t"), h.topic("other")
	rs := make([]storage.Record, 10)
	for i := range rs {
		rs[i].Body = make([]byte, 100)
	}
	h.ok(&storage.Append{Topic: topic, Records: rs})
	h.fill(other, 3)
	for _, c := range []struct {
		from, bytes int64
		rows        int
		want        []int64
	}{
		{0, 0, 3, []int64{0, 1, 2}},
		{8, 0, 100, []int64{8, 9}},
		{-5, 0, 2, []int64{0, 1}},
		{0, 1, 100, []int64{0}},
		{0, 100, 100, []int64{0}},
		{0, 101, 100, []int64{0, 1}},
		{0, 300, 100, []int64{0, 1, 2}},
		{0, 300, 2, []int64{0, 1}},
		{10, 0, 5, []int64{}},
		{1 << 50, 0, 5, []int64{}},
	} {
		h.offsets(h.read(topic, c.from, storage.Page{Rows: c.rows, Bytes: c.bytes}), c.want...)
	}
	dst, err := h.Read(context.Background(), topic, 4, storage.Page{Rows: 1}, h.read(topic, 0, storage.Page{Rows: 2}))
	if err != nil {
		h.Fatal(err)
	}
	h.offsets(dst, 0, 1, 4)
}

func readBrief(h *harness) {
	topic := h.topic("t")
	op := &storage.Append{Topic: topic, Records: records(3)}
	h.ok(op)
	got := h.read(topic, 1, storage.Page{Rows: 5, Brief: true})
	for i := range got {
		if got[i].Body != nil {
			h.Fatalf("record %d has a body", i)
		}
		if got[i].Omitted != len(op.Records[i+1].Body) || got[i].Size() != op.Records[i+1].Size() {
			h.Fatalf("record %d: omitted %d bytes, size %d", i, got[i].Omitted, got[i].Size())
		}
		got[i].Body, got[i].Omitted = op.Records[i+1].Body, 0
	}
	h.same(op.Records[1:], got)
}

func readMissing(h *harness) {
	ctx := context.Background()
	empty, removed := h.topic("t"), h.topic("u")
	h.fill(removed, 3)
	h.ok(&storage.RemoveTopic{Topic: removed})
	h.offsets(h.all(empty))
	for _, id := range []storage.TopicID{removed, 99, 0, -7, 1 << 62} {
		for _, brief := range []bool{false, true} {
			if _, err := h.Read(ctx, id, 0, storage.Page{Rows: 1, Brief: brief}, nil); !errors.Is(err, storage.ErrNotFound) {
				h.Fatalf("read topic %d: %v", id, err)
			}
		}
		if _, err := h.OffsetAt(ctx, id, 0); !errors.Is(err, storage.ErrNotFound) {
			h.Fatalf("offset at, topic %d: %v", id, err)
		}
		if _, err := h.FindID(ctx, id, "id-0"); !errors.Is(err, storage.ErrNotFound) {
			h.Fatalf("find id, topic %d: %v", id, err)
		}
	}
}

func (h *harness) offsetAt(topic storage.TopicID, time, want int64) {
	h.Helper()
	got, err := h.OffsetAt(context.Background(), topic, time)
	if err != nil || got != want {
		h.Fatalf("offset at %d: %d, %v; want %d", time, got, err, want)
	}
}

func readOffsetAt(h *harness) {
	topic, other := h.topic("t"), h.topic("other")
	h.offsetAt(topic, 0, 0)
	h.offsetAt(topic, 1<<60, 0)
	h.fill(other, 5)
	times := []int64{10, 10, 10, 20, 30, 30, 41, 41, 41, 41, 50}
	op := &storage.Append{Topic: topic}
	for _, t := range times {
		op.Records = append(op.Records, storage.Record{Time: t})
	}
	h.ok(op)
	for time := int64(-1); time < 60; time++ {
		want := int64(len(times))
		for i, t := range times {
			if t >= time {
				want = int64(i)
				break
			}
		}
		h.offsetAt(topic, time, want)
	}
}

func readBytesFrom(h *harness) {
	topic, other := h.topic("t"), h.topic("u")
	check := func() {
		h.Helper()
		all := h.all(topic)
		want := int64(0) // of those from an offset on, which are the last of all
		for from := int64(2002); from >= 0; from-- {
			if n := len(all); n > 0 && all[n-1].Offset == from {
				want += all[n-1].Size()
				all = all[:n-1]
			}
			if from%97 > 2 && from%512 > 2 && from%700 > 2 && from%500 > 2 {
				continue // asking costs more than everything else
			}
			if got, err := h.BytesFrom(context.Background(), topic, from); err != nil || got != want {
				h.Fatalf("from %d: %d, %v; want %d", from, got, err, want)
			}
		}
	}
	check()
	h.fill(topic, 1500)
	h.fill(other, 3)
	h.fill(topic, 1)
	h.fill(topic, 499)
	check()
	h.ok(&storage.Trim{Topic: topic, First: 700, Bytes: 1})
	check()
	h.reopen()
	check()
	if _, err := h.BytesFrom(context.Background(), 99, 0); !errors.Is(err, storage.ErrNotFound) {
		h.Fatalf("topic 99: %v", err)
	}
}

func readOffsetAtTrimmed(h *harness) {
	topic := h.topic("t")
	h.fill(topic, 100) // offset i at 1000+i
	check := func(first int64) {
		h.Helper()
		for i := int64(-1); i <= 101; i++ {
			h.offsetAt(topic, 1000+i, min(max(i, first), 100))
		}
	}
	check(0)
	h.ok(&storage.Trim{Topic: topic, First: 37})
	check(37)
	h.ok(&storage.Purge{Limit: 20})
	check(37)
	h.ok(&storage.Purge{Limit: 20})
	check(37)
	h.ok(&storage.Trim{Topic: topic, First: 100})
	check(100)
	h.ok(&storage.Purge{Limit: 100})
	check(100)
}

func readFindID(h *harness) {
	topic := h.topic("t")
	find := func(id string, want int64) {
		h.Helper()
		got, err := h.FindID(context.Background(), topic, id)
		if want < 0 && !errors.Is(err, storage.ErrNotFound) || want >= 0 && (err != nil || got != want) {
			h.Fatalf("find %q: %d, %v; want %d", id, got, err, want)
		}
	}
	find("id-0", -1)
	h.fill(topic, 10_000)
	find("id-0", 0)
	find("id-1807", 1807)
	find("id-9999", 9999)
	for i := range int64(40) { // a store that searches in pages must not lose what is at their ends
		find(fmt.Sprint("id-", 5880+i), 5880+i)
	}
	find("ID-9999", -1)
	find("", -1)
	h.fill(topic, 10)
	find("id-9", 10_009)
	find("id-10", 10)
	h.ok(&storage.Trim{Topic: topic, First: 500})
	find("id-0", 10_000)
	find("id-10", -1)
	find("id-499", -1)
	find("id-500", 500)
}

// readWhileCommitting commits triples and reads at the same time. The first
// message of a triple names the number of all: whatever is seen of a triple
// must be all of it.
func readWhileCommitting(h *harness) {
	topic := h.topic("t")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var from int64
			for {
				rs, err := h.Read(context.Background(), topic, from, storage.Page{Rows: 300}, nil)
				if err != nil || len(rs)%3 != 0 {
					h.Errorf("%d records, %v", len(rs), err)
					return
				}
				for i, r := range rs {
					if r.Offset != from+int64(i) {
						h.Errorf("offset %d after %d", r.Offset, from+int64(i)-1)
						return
					}
				}
				from += int64(len(rs))
				select {
				case <-stop:
					if len(rs) == 0 {
						return
					}
				default:
				}
			}
		})
	}
	for range 100 {
		h.fill(topic, 3)
	}
	close(stop)
	wg.Wait()
}
