package postgres

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// FuzzBlock reads blocks and lists of ids that are anything: nothing panics, and no more comes out than
// there is.
func FuzzBlock(f *testing.F) {
	rs := []storage.Record{{Time: 5, ID: "a", Tag: "b", Headers: "{}", Body: []byte("body")}, {Offset: 1, Time: 900, Body: []byte("x")}}
	var rows []row
	for i := range rs {
		rs[i].CRC = storage.Checksum(1, &rs[i])
		rows = append(rows, row{1, 0, &rs[i]})
	}
	b, _ := newBlock(rows)
	f.Add(b.meta, b.body, int64(2))
	f.Add(packIDs([]storage.KeptID{{Offset: 3, Time: 4, ID: "x"}}), []byte{}, int64(1))
	f.Fuzz(func(t *testing.T, meta, body []byte, n int64) {
		b := block{topic: 1, n: min(max(n, 0), maxBlockRows), meta: meta, body: body}
		for _, brief := range []bool{false, true} {
			var r storage.Record
			found := int64(0)
			for e := b.entries(); e.record(brief, &r); found++ {
				if len(r.Body) > len(body) || r.Offset != found || brief && r.Body != nil {
					t.Fatalf("%+v of a block with %d bytes", r, len(body))
				}
			}
			if found != b.n {
				t.Fatalf("%d messages of %d", found, b.n)
			}
		}
		b.firstAt(1)
		b.find("a", 0)
		if ids, err := unpackIDs(meta); err == nil {
			again, err := unpackIDs(packIDs(ids))
			if err != nil || !reflect.DeepEqual(ids, again) {
				t.Fatalf("%v came back as %v, %v", ids, again, err)
			}
		}
	})
}

// A flipped bit makes a message a damaged one, and no other.
func TestDamagedMessages(t *testing.T) {
	r := storage.Record{ID: "a", Body: []byte("body")}
	r.CRC = storage.Checksum(1, &r)
	b, rest := newBlock([]row{{1, 5, &r}})
	if len(rest) != 0 {
		t.Fatal("not all in the block")
	}
	for i := range len(b.meta) + len(b.body) {
		c := b
		c.meta, c.body = bytes.Clone(b.meta), bytes.Clone(b.body)
		if i < len(c.meta) {
			c.meta[i] ^= 1
		} else {
			c.body[i-len(c.meta)] ^= 1
		}
		var got storage.Record
		if e := c.entries(); !e.record(false, &got) || !got.Damaged() || got.Body != nil {
			t.Fatalf("byte %d: %+v", i, got)
		}
	}
}

func TestTextsThatPostgresCannotHold(t *testing.T) {
	for _, s := range []string{"", "a", "né", "\x00", "a\xff", `\x`, `\x00`, `\xzz`, "\\"} {
		if got := text(escape(s)); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
		if bytes.IndexByte(escape(s), 0) >= 0 {
			t.Errorf("%q has a zero byte", escape(s))
		}
	}
}

// A page of large messages is not read eight times over.
func TestNoMoreBlocksAreReadThanThePageTakes(t *testing.T) {
	r := newRig(t, pgtest.Start(t), Options{})
	large := make([]storage.Record, 6)
	for i := range large {
		large[i].Body = make([]byte, 1<<20)
	}
	if errs, err := r.Commit([]storage.Op{&storage.Append{Topic: r.topic, Records: large}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	for bytes, want := range map[int64]int{1: 1, 1 << 20: 1, 5 << 19: 3, 0: 6} {
		p := pageReader{topic: r.topic, shown: shown{next: 6}, page: storage.Page{Bytes: bytes}, rows: 100}
		list, err := p.blocks(context.Background(), r.writer)
		if err != nil || len(list) != want {
			t.Errorf("%d blocks for %d bytes, want %d; %v", len(list), bytes, want, err)
		}
		rs, err := r.Read(context.Background(), r.topic, 0, storage.Page{Rows: 100, Bytes: bytes}, nil)
		if err != nil || len(rs) != want || len(rs[want-1].Body) != 1<<20 {
			t.Errorf("%d messages for %d bytes, want %d; %v", len(rs), bytes, want, err)
		}
	}
}
