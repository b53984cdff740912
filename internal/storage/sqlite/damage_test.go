package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/rules"
)

// A log of which something was lost is read to its end: offsets follow one another,
// what is intact is handed out, and the rest is damage.
func TestHolesInALogAreReadAsDamage(t *testing.T) {
	key := func(offset int64) int64 { return keyOf(1, offset) }
	for name, c := range map[string]struct {
		sql  string
		lost int64 // the most messages that are not handed out
	}{
		"nothing":                    {"", 0},
		"the first block":            {fmt.Sprintf("DELETE FROM blocks WHERE key = %d", key(0)), 10},
		"a block in the middle":      {fmt.Sprintf("DELETE FROM blocks WHERE key = %d", key(20)), 10},
		"the last block":             {fmt.Sprintf("DELETE FROM blocks WHERE key = %d", key(50)), 10},
		"all blocks":                 {"DELETE FROM blocks", 60},
		"a count too small":          {fmt.Sprintf("UPDATE blocks SET n = 3 WHERE key = %d", key(20)), 0},
		"the last count too small":   {fmt.Sprintf("UPDATE blocks SET n = 2 WHERE key = %d", key(50)), 0},
		"a count of nothing":         {fmt.Sprintf("UPDATE blocks SET n = 0 WHERE key = %d", key(20)), 0},
		"a count too large":          {fmt.Sprintf("UPDATE blocks SET n = 522 WHERE key = %d", key(20)), 0},
		"a negative count":           {fmt.Sprintf("UPDATE blocks SET n = -1 WHERE key = %d", key(20)), 0},
		"a key a little too large":   {fmt.Sprintf("UPDATE blocks SET key = key + 1 WHERE key = %d", key(20)), 10},
		"a key of long ago":          {fmt.Sprintf("UPDATE blocks SET key = key - 17 WHERE key = %d", key(20)), 10},
		"a key of a million years":   {fmt.Sprintf("UPDATE blocks SET key = key + (1 << 39) WHERE key = %d", key(20)), 10},
		"a key of another topic":     {fmt.Sprintf("UPDATE blocks SET key = key + (1 << 41) WHERE key = %d", key(20)), 10},
		"a block without contents":   {fmt.Sprintf("UPDATE blocks SET meta = x'', bodies = x'' WHERE key = %d", key(20)), 10},
		"contents of another block":  {fmt.Sprintf("UPDATE blocks SET meta = (SELECT meta FROM blocks WHERE key = %d) WHERE key = %d", key(30), key(20)), 10},
		"a list without its end":     {fmt.Sprintf("UPDATE blocks SET meta = substr(meta, 1, 150) WHERE key = %d", key(20)), 10},
		"something else than a list": {fmt.Sprintf("UPDATE blocks SET meta = x'07ff' WHERE key = %d", key(20)), 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
			topic := addTopic(t, s, "t")
			var all []storage.Record
			for range 6 {
				rs := messages(10, 20)
				mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
				all = append(all, rs...)
			}
			if c.sql != "" {
				if err := s.writer.run(c.sql); err != nil {
					t.Fatal(err)
				}
			}
			for _, rows := range []int{1, 7, 10, 1000} {
				for from := int64(0); from <= int64(len(all)); from += 6 {
					checkLog(t, s, topic, from, rows, all, c.lost)
				}
			}
		})
	}
}

// checkLog reads a log from an offset to its end, with pages of so many rows.
func checkLog(t *testing.T, s *Store, topic storage.TopicID, from int64, rows int, all []storage.Record, most int64) {
	t.Helper()
	at, lost := from, int64(0)
	for {
		page, err := s.Read(context.Background(), topic, at, storage.Page{Rows: rows}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			r := &page[i]
			if r.Offset != at || r.End() > int64(len(all)) {
				t.Fatalf("from %d, %d a page: %d to %d instead of %d", from, rows, r.Offset, r.End(), at)
			}
			at = r.End()
			if r.Damaged() {
				lost += r.End() - r.Offset
				continue
			}
			if want := &all[r.Offset]; r.ID != want.ID || r.CRC != want.CRC || !bytes.Equal(r.Body, want.Body) {
				t.Fatalf("message %d is not what was stored", r.Offset)
			}
		}
	}
	if from > 0 || rows < len(all) {
		most = max(2*most, 9) // a damaged page, or a block with a wrong key, may hide intact messages of the block before, at the beginning or end of a page
	}
	if at != int64(len(all)) || lost > most || from == 0 && rows > len(all) && lost < most {
		t.Fatalf("from %d, %d a page: up to %d with %d of at most %d damaged", from, rows, at, lost, most)
	}
}

// A gap of any size is one record, and messages behind it are found.
func TestGapOfABillionMessagesIsOneRecord(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(10, 20)})
	const gap = 1_000_000_000
	s.catalog.Topics[topic].Next += gap // as if they had been there
	mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(10, 20)})
	got, err := s.Read(t.Context(), topic, 5, storage.Page{Rows: 100}, nil)
	if err != nil || len(got) != 16 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	if r := got[5]; !r.Damaged() || r.Offset != 10 || r.Missing != gap || r.Size() != 0 {
		t.Errorf("the gap is %+v", r)
	}
	if r := got[6]; r.Damaged() || r.Offset != gap+10 {
		t.Errorf("behind the gap is %+v", r)
	}
}

// What retention drops while a page is read is no damage.
func TestMessagesDroppedMeanwhileAreNoDamage(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	for range 6 {
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(10, 20)})
	}
	for _, c := range []struct {
		name        string
		first, rest int64
	}{{"some", 20, 40}, {"all", 60, 0}} { // in this order: what is dropped stays so
		err := s.readLog(t.Context(), topic, func(l *topicLog) error {
			mustCommit(t, s, &storage.Trim{Topic: topic, First: c.first + 5}, &storage.Purge{Limit: 1000})
			got, err := l.read(0, storage.Page{Rows: 100}, nil)
			if int64(len(got)) != c.rest || len(got) > 0 && got[0].Offset != c.first {
				t.Errorf("%s: %d messages", c.name, len(got))
			}
			for i := range got {
				if got[i].Damaged() {
					t.Errorf("%s: message %d is damaged", c.name, got[i].Offset)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(c.name, err)
		}
	}
}

// What contradicts itself refuses its topic, and no other.
func TestDamagedRowsRefuseTheirTopic(t *testing.T) {
	orders := func(offset int64) int64 { return keyOf(1, offset) }
	for sql, want := range map[string]string{
		"": "",
		"UPDATE groups SET cursor = 18, read = 40 WHERE id = 1":                          "the place of its group billing is damaged",
		"UPDATE groups SET settled = '12-1' WHERE id = 1":                                "the place of its group billing is damaged",
		"UPDATE groups SET epoch = 7 WHERE id = 1":                                       "the place of its group billing is damaged",
		"UPDATE groups SET filter = 'other' WHERE id = 1":                                "the definition of its group billing is damaged",
		"UPDATE groups SET topic_id = 1, name = 'other' WHERE id = 2":                    "the definition of its group other is damaged",
		"UPDATE topics SET first = 8 WHERE id = 1":                                       "the extent of its log",
		"UPDATE topics SET next = 16 WHERE id = 1":                                       "the extent of its log",
		"UPDATE topics SET max_age = 1 WHERE id = 1":                                     "its definition is damaged",
		"UPDATE topics SET name = 'ordert' WHERE id = 1":                                 "its definition is damaged",
		fmt.Sprintf("DELETE FROM fresh; DELETE FROM blocks WHERE key >= %d", orders(40)): "the end of its log is missing: messages 40 to 59",
		"DELETE FROM fresh":                                                                "the end of its log is missing: messages 40 to 59",
		"DELETE FROM blocks; DELETE FROM fresh":                                            "the end of its log is missing: messages 0 to 59",
		"UPDATE parked SET count = 100 WHERE group_id = 1":                                 "",
		"INSERT INTO dropped VALUES (1 << 40, (1 << 40) + 9)":                              "",
		"UPDATE sqlite_sequence SET seq = 0":                                               "",
		fmt.Sprintf("UPDATE blocks SET n = 3 WHERE key = %d", orders(20)):                  "",
		fmt.Sprintf("UPDATE blocks SET total = 1 << 40 WHERE key = %d", orders(20)):        "",
		fmt.Sprintf("UPDATE blocks SET key = key + (1 << 30) WHERE key = %d", orders(20)):  "where its log ends can't be told",
		fmt.Sprintf("UPDATE blocks SET time = 1 << 50, n = 900 WHERE key = %d", orders(0)): "",
	} {
		path := smallDatabase(t)
		c, err := open(writerSetup(Options{Path: path}.withDefaults()))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range strings.Split(sql, ";") {
			if err := c.run(one); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, Options{Path: path})
		state, err := s.Load(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		orders := state.Topics[0]
		if !strings.Contains(orders.Damage, want) || (want == "") != (orders.Damage == "") {
			t.Errorf("%s: damage %q, want %q", sql, orders.Damage, want)
		}
		if want == "" && (orders.First != 0 || orders.Next != 60 || orders.Bytes != 60*320) {
			t.Errorf("%s: topic %+v", sql, orders)
		}
		if n := len(s.catalog.Dropped); n != 0 {
			t.Errorf("%s: %d spans would be deleted", sql, n)
		}
		if strings.Contains(sql, "sequence") && s.catalog.Last[rules.TopicIDs] != 2 {
			t.Errorf("the last topic is %d", s.catalog.Last[rules.TopicIDs])
		}
		if strings.Contains(sql, "parked") && len(state.Parked) != 0 {
			t.Errorf("parked is %+v", state.Parked)
		}
	}
}

// A page that says it has fewer rows than it has makes no topic and no group disappear.
func TestRowsThatAPageHidesAreMissed(t *testing.T) {
	for _, table := range []string{"topics", "groups"} {
		path := smallDatabase(t)
		c, err := open(readerSetup(Options{Path: path}.withDefaults()))
		if err != nil {
			t.Fatal(err)
		}
		page, err := c.value("SELECT rootpage FROM sqlite_schema WHERE name = '" + table + "'")
		if err := errors.Join(err, c.close()); err != nil {
			t.Fatal(err)
		}
		const cells = 3 // where a page has their number, two bytes
		overwrite(t, path, (integer(page)-1)*4096+cells, []byte{0, 1})
		if s, err := Open(t.Context(), Options{Path: path}); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", table, err)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// Damaged ids of dropped messages cost a second copy at most, and are found.
func TestDamagedKeptIDsAreFoundAndDoNotCount(t *testing.T) {
	ids := []storage.KeptID{{Offset: 3, Time: 1000, ID: "abc"}, {Offset: 9, Time: 1001, ID: ""}}
	good := sealIDs(1, 9, encodeIDs(ids))
	if got, ok := openIDs(1, 9, good); !ok || len(got) != 2 || got[0] != ids[0] || got[1] != ids[1] {
		t.Fatalf("read back: %+v, %t", got, ok)
	}
	for bit := range len(good) * 8 {
		bad := append([]byte(nil), good...)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, ok := openIDs(1, 9, bad); ok {
			t.Errorf("bit %d: read as %+v", bit, got)
		}
	}
	for n := range good {
		if got, ok := openIDs(1, 9, good[:n]); ok {
			t.Errorf("cut to %d bytes: read as %+v", n, got)
		}
	}
	if _, ok := openIDs(2, 9, good); ok {
		t.Error("the row of another topic was taken")
	}
}
