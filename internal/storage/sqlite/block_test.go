package sqlite

import (
	"bytes"
	"database/sql/driver"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rushmore/zbus-go/internal/storage"
)

// rowsFrom makes rows as planning an append does.
func rowsFrom(topic storage.TopicID, first int64, recs []storage.Record) []row {
	var rows []row
	total, last := int64(0), int64(0)
	for i := range recs {
		r := &recs[i]
		r.Offset, r.Time = first+int64(i), max(r.Time, last)
		r.CRC = storage.Checksum(topic, r)
		last, total = r.Time, total+r.Size()
		rows = append(rows, row{keyOf(topic, r.Offset), total, r})
	}
	return rows
}

func anyRecords(t *rapid.T) []storage.Record {
	long := rapid.SampledFrom([]int{0, 1, 11, 12, 255, 256, 300, 1<<16 - 1, 1 << 16, 70_000})
	text := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string { return strings.Repeat("x", long.Draw(t, "long")) }))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.Record {
		return storage.Record{
			Time: rapid.Int64Range(0, 1<<50).Draw(t, "time"),
			ID:   text.Draw(t, "id"), Tag: rapid.String().Draw(t, "tag"), Headers: text.Draw(t, "headers"),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
	}), 1, 40).Draw(t, "records")
}

func TestBlocksGiveBackWhatWasPutIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const topic, first = 7, 1000
		want := anyRecords(t)
		var got []storage.Record
		var b block
		all := rowsFrom(topic, first, want)
		for rows := all; len(rows) > 0; {
			before := len(rows)
			rows = b.fill(rows)
			if b.n != int64(before-len(rows)) || b.n > 1 && len(b.meta)+len(b.body) > maxBlockBytes {
				t.Fatalf("a block of %d messages, %d bytes, for %d", b.n, len(b.meta)+len(b.body), before-len(rows))
			}
			kept := block{key: b.key, n: b.n, time: b.time, total: b.total, meta: bytes.Clone(b.meta), body: bytes.Clone(b.body)}
			var r storage.Record
			for e := kept.entries(); e.record(topic, false, &r); {
				got = append(got, r)
			}
			for i, again := range kept.rows(nil, make([]storage.Record, kept.n)) {
				if was := all[len(all)-before+i]; again.key != was.key || again.total != was.total || again.CRC != was.CRC {
					t.Fatalf("row %d comes back as %+v, want %+v", i, again, was)
				}
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d of %d messages", len(got), len(want))
		}
		for i := range want {
			g, w := got[i], want[i]
			if g.Damaged() || g.Offset != w.Offset || g.Time != w.Time || g.ID != w.ID || g.Tag != w.Tag ||
				g.Headers != w.Headers || !bytes.Equal(g.Body, w.Body) {
				t.Fatalf("message %d is %+v, want %+v", i, g, w)
			}
		}
	})
}

// A batch that is said to be one block has to be one: it is committed without a
// transaction around it.
func TestSingleBatchIsOneBlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBatch(&catalog{}, defaultFresh())
		b.rows = rowsFrom(3, 0, anyRecords(t))
		if b.single() {
			if rest := b.block.fill(b.rows); len(rest) != 0 {
				t.Fatalf("%d messages are left", len(rest))
			}
		}
	})
}

func TestSQLSeesTheMessagesOfABlock(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "orders")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: []storage.Record{
		{Time: 1_700_000_000_000, ID: "a", Tag: "x.y", Headers: `{"k":"v"}`, Body: []byte("first")},
		{Time: 1_700_000_000_005, ID: "b", Body: []byte("second")},
		{Time: 1_700_000_000_005, Body: []byte("third")},
	}})
	reader, err := s.readers.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.readers.put(reader)
	for sql, want := range map[string]any{
		"SELECT count(*) FROM blocks": int64(1),
		`SELECT group_concat("offset" || id || tag || size || body, ' ') FROM message_view`: "0ax.y5first 1b6second 25third",
		"SELECT headers ->> 'k' FROM message_view WHERE id = 'a'":                           "v",
		"SELECT time FROM message_view WHERE id = 'b'":                                      "2023-11-14T22:13:20.005Z",
		"SELECT last_message FROM topic_view":                                               "2023-11-14T22:13:20.005Z",
		"SELECT depth || ' ' || bytes FROM topic_view":                                      "3 30",
	} {
		if got, err := reader.value(sql); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", sql, got, err, want)
		}
	}
}

// Whatever a damaged disk gives back, reading it ends, and what does not match its
// checksum is not handed out.
func FuzzBlock(f *testing.F) {
	var b block
	b.fill(rowsFrom(1, 0, messages(3, 20)))
	f.Add(b.meta, b.body, int64(3))
	f.Add([]byte{0xff, 0xff}, []byte{}, int64(1<<40))
	f.Fuzz(func(t *testing.T, meta, body []byte, n int64) {
		b := blockOf([]driver.Value{keyOf(1, 0), n, int64(0), int64(0), meta, body})
		var r storage.Record
		count := int64(0)
		for e := b.entries(); e.record(1, false, &r); count++ {
			if !r.Damaged() && storage.Checksum(1, &r) != r.CRC {
				t.Fatalf("a damaged message is handed out: %+v", r)
			}
			if r.Offset != count {
				t.Fatalf("offset %d, want %d", r.Offset, count)
			}
		}
		if count > maxBlockRows {
			t.Fatalf("%d messages, of %d", count, b.n)
		}
	})
}
