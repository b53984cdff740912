package storetest

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/rushmore/zbus-go/internal/storage"
)

func historyTests() []test {
	return []test{
		{"history is read by series and level, oldest first", historyRead},
		{"history goes with its topic and its group", historyGoes},
		{"history of what is not there is refused", historyRefused},
	}
}

// chunks are the chunks of a series up to a level.
func (h *harness) chunks(of storage.Series, level uint8) (ids []int64, data string) {
	h.Helper()
	list, err := h.History(context.Background(), of, 0, level)
	if err != nil {
		h.Fatal(err)
	}
	for _, k := range list {
		ids, data = append(ids, k.ID), data+fmt.Sprintf("%d:%s ", k.Level, k.Data)
	}
	return ids, data
}

// historyOf is all history that a store holds.
func historyOf(s storage.Store) (map[storage.Series][]storage.HistoryChunk, error) {
	all := map[storage.Series][]storage.HistoryChunk{}
	sizes, err := s.HistorySizes(context.Background())
	for i := 0; i < len(sizes) && err == nil; i++ {
		all[sizes[i].Series], err = s.History(context.Background(), sizes[i].Series, 0, 255)
	}
	return all, err
}

// sizes are the bytes of all series.
func (h *harness) sizes() map[storage.Series]int64 {
	h.Helper()
	list, err := h.HistorySizes(context.Background())
	if err != nil {
		h.Fatal(err)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Last < list[j].Last })
	all := map[storage.Series]int64{}
	for _, s := range list {
		if s.Last <= 0 {
			h.Fatalf("%+v has no newest chunk", s)
		}
		all[s.Series] = s.Bytes
	}
	return all
}

func historyRead(h *harness) {
	topic := h.topic("t")
	own, of := storage.Series{Topic: topic}, storage.Series{Topic: topic, Group: h.group(topic, "g").ID}
	for i := range 5 {
		h.ok(&storage.PutHistory{Series: own, Data: fmt.Append(nil, "o", i)}, &storage.PutHistory{Series: of, Level: uint8(i % 2), Data: fmt.Append(nil, "g", i)})
	}
	is := func(of storage.Series, level uint8, want string) {
		h.Helper()
		_, data := h.chunks(of, level)
		h.same(want, data)
	}
	for range 2 {
		is(own, 0, "0:o0 0:o1 0:o2 0:o3 0:o4 ")
		is(of, 0, "0:g0 0:g2 0:g4 ")
		is(of, 2, "1:g1 1:g3 0:g0 0:g2 0:g4 ")
		h.same(map[storage.Series]int64{own: 10 + 5*storage.ChunkCost, of: 10 + 5*storage.ChunkCost}, h.sizes())
		h.reopen()
	}
	ids, _ := h.chunks(own, 0)
	h.ok(&storage.Atomic{Ops: []storage.Op{
		&storage.PutHistory{Series: own, Level: 1, Data: []byte("o0 to o2")}, &storage.DropHistory{Series: own, To: ids[2]},
	}}, &storage.PutHistory{Series: own, Data: []byte("o5")})
	is(own, 1, "1:o0 to o2 0:o3 0:o4 0:o5 ")
	is(own, 0, "0:o3 0:o4 0:o5 ")
	is(of, 1, "1:g1 1:g3 0:g0 0:g2 0:g4 ")
	for level, want := range []string{"g0 g2 g4 ", "g1 g3 ", ""} {
		list, err := h.History(context.Background(), of, uint8(level), uint8(level))
		data := ""
		for _, k := range list {
			data += string(k.Data) + " "
		}
		h.same(want, data)
		h.same(nil, err)
	}
	h.ok(&storage.ForgetHistory{Series: own}, &storage.ForgetHistory{Series: storage.Series{Topic: 99}})
	h.same(map[storage.Series]int64{of: 10 + 5*storage.ChunkCost}, h.sizes())
}

func historyGoes(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	g := h.group(a, "g").ID
	other := h.group(b, "g").ID
	list := []storage.Series{{Topic: a}, {Topic: a, Group: g}, {Topic: b}, {Topic: b, Group: other}}
	for _, of := range list {
		h.ok(&storage.PutHistory{Series: of, Data: []byte("x")}, &storage.PutHistory{Series: of, Level: 2, Data: []byte("y")})
	}
	const both = 2 + 2*storage.ChunkCost
	h.ok(&storage.RemoveGroup{Group: other})
	h.same(map[storage.Series]int64{list[0]: both, list[1]: both, list[2]: both}, h.sizes())
	h.ok(&storage.RemoveTopic{Topic: a})
	h.same(map[storage.Series]int64{list[2]: both}, h.sizes())
	again := h.topic("a")
	_, data := h.chunks(storage.Series{Topic: again}, 255)
	h.same("", data)
}

func historyRefused(h *harness) {
	a, b := h.topic("a"), h.topic("b")
	g := h.group(b, "g").ID
	put := func(t storage.TopicID, g storage.GroupID, n int) storage.Op {
		return &storage.PutHistory{Series: storage.Series{Topic: t, Group: g}, Data: bytes.Repeat([]byte("x"), n)}
	}
	h.refuse(storage.ErrNotFound, put(99, 0, 1))
	h.refuse(storage.ErrNotFound, put(a, 99, 1))
	h.refuse(storage.ErrNotFound, put(a, g, 1))
	h.refuse(storage.ErrInvalid, put(a, 0, 0))
	h.refuse(storage.ErrInvalid, put(a, 0, storage.MaxChunk+1))
	h.ok(put(b, g, storage.MaxChunk))
	h.same(map[storage.Series]int64{{Topic: b, Group: g}: storage.MaxChunk + storage.ChunkCost}, h.sizes())
}
